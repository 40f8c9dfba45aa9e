//! The driver's controllers are killed in the middle of what Azure is doing for them, and the pod that leads is deleted.
//! Azure goes on; the next controller must find out what became of it.

use super::scene::Scene;
use crate::Failure;
use crate::trial::machines::Role;
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};
use crate::trial::world::{EXT4, READY};

/// How long Azure's operations take meanwhile.
const SLOW: u64 = 3000;

pub(super) async fn killed(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let azure = &scene.world.azure;
    let usual = azure.latency().await?;
    azure.set_latency(SLOW).await?;
    let broken = break_all(scene, report).await;
    azure.set_latency(usual).await?;
    broken
}

async fn break_all(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let renewed = scene.world.renew_drivers(Role::Controller, None);
    report.step("the controllers' pods replaced by new ones", renewed).await?;
    let creating = async {
        scene.begin_pod("created", EXT4, scene.here).await?;
        azure_works(scene, 1).await?;
        kill(scene).await?;
        scene.pod_works("created").await
    };
    report.step("the controllers killed while a disk is made: its pod starts", creating).await?;
    let attaching = async {
        scene.begin_pod("attached", EXT4, scene.there).await?;
        attach_is_sent(scene, "attached").await?;
        kill(scene).await?;
        scene.pod_works("attached").await
    };
    report.step("the controllers killed in the middle of an attach: the pod starts", attaching).await?;
    let detaching = async {
        let arguments = ["delete", "pod/attached", "--namespace", scene.namespace];
        scene.world.kubernetes.run(&arguments, "").await?;
        azure_works(scene, 1).await?;
        kill(scene).await?;
        scene.end_pod("attached").await
    };
    report.step("the controllers killed in the middle of a detach: the disk goes", detaching).await?;
    let replaced = async {
        scene.begin_pod("replaced", EXT4, scene.there).await?;
        attach_is_sent(scene, "replaced").await?;
        let leader = leader(scene).await?;
        let arguments = ["delete", "pod", &leader, "--namespace=kube-system", "--grace-period=0", "--force"];
        scene.world.kubernetes.run(&arguments, "").await?;
        scene.pod_works("replaced").await
    };
    report
        .step("the pod that leads deleted in the middle of an attach: the other one ends it", replaced)
        .await?;
    report.step("the writer beside it goes on", scene.goes_on()).await
}

/// The pods stay, and with them who leads: new ones would wait until the lease of the old ones is over.
async fn kill(scene: &Scene<'_>) -> Result<(), Failure> {
    let before = scene.world.drivers(Role::Controller, None).await?;
    scene.world.kill_drivers(&before)?;
    scene.world.drivers_again(Role::Controller, None, &before).await
}

/// Waits until Azure does at least `operations` things.
async fn azure_works(scene: &Scene<'_>, operations: u64) -> Result<(), Failure> {
    until("Azure works", READY, async || {
        let running = scene.world.holdings().await?.running;
        holds(running >= operations, || format!("{running} operations run"))
    })
    .await
}

/// Waits until Azure was asked to attach the volume of a claim and has not done it.
async fn attach_is_sent(scene: &Scene<'_>, claim: &str) -> Result<(), Failure> {
    until("an attach runs", READY, async || {
        let volume = scene.world.volume_of(scene.namespace, claim).await?;
        let attachments = scene.world.kubernetes.attachments().await?;
        let is_its = |one: &&serde_json::Value| one["spec"]["source"]["persistentVolumeName"] == volume;
        let its = attachments.iter().find(is_its).ok_or("there is no attachment")?;
        holds(its["status"]["attached"] != true, || "it was attached before it was seen".to_owned())?;
        let running = scene.world.holdings().await?.running;
        holds(running > 0, || "Azure was not asked yet".to_owned())
    })
    .await
}

/// The pod whose attacher leads.
async fn leader(scene: &Scene<'_>) -> Result<String, Failure> {
    let leases =
        scene.world.kubernetes.list("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases").await?;
    let is_attacher = |lease: &&serde_json::Value| {
        lease["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("external-attacher-leader"))
    };
    let lease = leases.iter().find(is_attacher).ok_or("no attacher leads")?;
    let holder = lease["spec"]["holderIdentity"].as_str().ok_or("nobody leads the attachers")?;
    let controllers = scene.world.drivers(Role::Controller, None).await?;
    let leads = controllers.into_iter().find(|one| holder.contains(&one.pod));
    Ok(leads.ok_or_else(|| format!("{holder} is no pod of ours"))?.pod)
}
