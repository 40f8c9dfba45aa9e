//! The API server is down for a minute. Nothing that runs may notice; what waits goes on afterwards.

use std::time::Duration;

use super::scene::Scene;
use crate::Failure;
use crate::trial::machines::{self, Hold};
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};
use crate::trial::world::{EXT4, READY};

const COMPONENT: &str = "kube-apiserver";

/// How often the writer is listened to while the API server is down, and how long it is left alone in between.
const LISTENS: u32 = 6;
const PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn down(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let before = scene.writer().await?;
    let minute = async {
        // A pod is on its way when the API server goes.
        scene.begin_pod("on-its-way", EXT4, scene.here).await?;
        let hold = Hold::of(&scene.world.cluster, COMPONENT)?;
        scene.world.cluster.kill_component(COMPONENT).await?;
        for _ in 0..LISTENS {
            tokio::time::sleep(PAUSE).await;
            scene.goes_on().await?;
        }
        holds(machines::pid(COMPONENT).is_err(), || "the API server ran meanwhile".to_owned())?;
        drop(hold);
        Ok(())
    };
    report.step("the API server down for a minute: the writer writes all the while", minute).await?;
    let back = async {
        until("the API server is ready", READY, async || {
            scene.world.kubernetes.run(&["get", "--raw", "/readyz"], "").await
        })
        .await?;
        scene.world.kubernetes.node_is(scene.here, "True", READY).await?;
        scene.world.kubernetes.node_is(scene.there, "True", READY).await
    };
    report.step("the API server is back, and both nodes are ready", back).await?;
    report.step("the pod that was on its way starts", scene.pod_works("on-its-way")).await?;
    let undisturbed = async {
        scene.goes_on().await?;
        let after = scene.writer().await?;
        holds(before == after, || format!("the writer was {before:?} and is {after:?}"))
    };
    report.step("the writer was never disturbed", undisturbed).await
}
