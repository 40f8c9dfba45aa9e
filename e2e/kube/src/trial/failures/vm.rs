//! A machine goes: stopped, with Kubernetes told that it is out of service; or deleted, in Azure and in Kubernetes. Its pod
//! comes up elsewhere with its data, and the machine, once back, is of use again.

use std::time::Duration;

use super::scene::Scene;
use crate::Failure;
use crate::trial::machines;
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};
use crate::trial::world::{EXT4, READY};

/// How long Kubernetes may take to bring the pod up on the other machine.
const MOVED: Duration = Duration::from_mins(3);

/// What an administrator says of a machine that will not come back by itself.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

pub(super) async fn stopped(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let (world, node, other) = (scene.world, scene.here, scene.there);
    let stop = async {
        machines::crash_node(&world.place, node)?;
        world.azure.vm(node, "powerOff").await?;
        world.kubernetes.node_is(node, "Unknown", READY).await
    };
    report.step(&format!("the VM {node} stopped: Kubernetes misses it"), stop).await?;
    let moved = async {
        let taint = format!("{OUT_OF_SERVICE}=stopped:NoExecute");
        world.kubernetes.run(&["taint", "node", node, &taint], "").await?;
        moves(scene).await
    };
    report.step(&format!("{node} out of service: the writer writes on {other}"), moved).await?;
    let back = async {
        world.azure.vm(node, "start").await?;
        machines::start_node(&world.place, node)?;
        world.kubernetes.node_is(node, "True", READY).await?;
        world.kubernetes.run(&["taint", "node", node, &format!("{OUT_OF_SERVICE}-")], "").await?;
        is_of_use(scene).await
    };
    report.step(&format!("the VM {node} started: a new pod has its volume there"), back).await
}

pub(super) async fn deleted(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let (world, node, other) = (scene.world, scene.here, scene.there);
    let vm = world.azure.described(node).await?;
    let gone = async {
        machines::crash_node(&world.place, node)?;
        world.azure.delete_vm(node).await?;
        world.kubernetes.run(&["delete", "node", node], "").await?;
        moves(scene).await
    };
    report.step(&format!("the VM {node} and the Node deleted: the writer writes on {other}"), gone).await?;
    let free = until("no attachment names the node", READY, async || {
        let attachments = world.kubernetes.attachments().await?;
        let left = attachments.iter().filter(|one| one["spec"]["nodeName"] == node).count();
        holds(left == 0, || format!("{left} do"))
    });
    report.step(&format!("nothing is attached to {node} any more"), free).await?;
    let anew = async {
        world.azure.add_vm(&vm).await?;
        machines::start_node(&world.place, node)?;
        world.kubernetes.node_is(node, "True", READY).await?;
        is_of_use(scene).await
    };
    report.step(&format!("the VM {node} made anew: a new pod has its volume there"), anew).await
}

/// The writer comes up on the other machine, and Azure has its disk there only.
async fn moves(scene: &Scene<'_>) -> Result<(), Failure> {
    scene.writes_on(scene.there, MOVED).await?;
    let volume = scene.writers_volume().await?;
    let holdings = scene.world.holdings().await?;
    let found = holdings.vm_of(&volume);
    holds(found == Some(scene.there), || format!("Azure has the writer's disk on {found:?}"))
}

async fn is_of_use(scene: &Scene<'_>) -> Result<(), Failure> {
    scene.begin_pod("afterwards", EXT4, scene.here).await?;
    scene.pod_works("afterwards").await?;
    scene.end_pod("afterwards").await
}
