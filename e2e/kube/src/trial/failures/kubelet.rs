//! The kubelet is killed: while all is well, and while a pod comes and goes. The containers go on without it.

use super::scene::Scene;
use crate::Failure;
use crate::trial::machines::kubelet;
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};
use crate::trial::world::{EXT4, READY};

pub(super) async fn killed(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let node = scene.here;
    let undisturbed = async {
        let before = scene.writer().await?;
        kill(scene).await?;
        scene.world.kubernetes.node_is(node, "True", READY).await?;
        scene.goes_on().await?;
        let after = scene.writer().await?;
        holds(before == after, || format!("the writer was {before:?} and is {after:?}"))
    };
    report
        .step(&format!("the kubelet of {node} killed: it comes back, the writer never stopped"), undisturbed)
        .await?;
    let starting = async {
        scene.begin_pod("starting", EXT4, node).await?;
        attachment_appears(scene, "starting").await?;
        kill(scene).await?;
        scene.pod_works("starting").await
    };
    report.step("the kubelet killed while a volume comes: its pod starts", starting).await?;
    let ending = async {
        let arguments = ["delete", "pod/starting", "--namespace", scene.namespace, "--wait=false"];
        scene.world.kubernetes.run(&arguments, "").await?;
        kill(scene).await?;
        scene.end_pod("starting").await?;
        scene.goes_on().await
    };
    report.step("the kubelet killed while a volume goes: it is gone", ending).await
}

async fn kill(scene: &Scene<'_>) -> Result<(), Failure> {
    scene.world.restart(&kubelet(scene.here)).await
}

async fn attachment_appears(scene: &Scene<'_>, claim: &str) -> Result<(), Failure> {
    until("an attachment appears", READY, async || {
        let volume = scene.world.volume_of(scene.namespace, claim).await?;
        let attachments = scene.world.kubernetes.attachments().await?;
        let names = attachments.iter().map(|one| &one["spec"]["source"]["persistentVolumeName"]);
        holds(names.into_iter().any(|name| *name == volume), || format!("none of {volume}"))
    })
    .await
}
