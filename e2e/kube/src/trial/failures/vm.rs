//! A machine goes: stopped, deleted in Azure, or replaced by another of its name. Its pod comes up again with its data, and
//! the machine, once back, is of use.

use std::time::Duration;

use super::scene::Scene;
use crate::Failure;
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};
use crate::trial::world::{EXT4, READY};

/// How long Kubernetes may take to bring the pod up again once it knows that the machine is gone.
const MOVED: Duration = Duration::from_mins(3);

/// How long where nobody said so: it waits six minutes for a kubelet that may still have the volume mounted.
const GIVEN_UP: Duration = Duration::from_mins(10);

/// What an administrator says of a machine that will not come back by itself.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Stopped: the administrator calls the node out of service.
pub(super) async fn stopped(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let (world, node, other) = (scene.world, scene.here, scene.there);
    let stop = async {
        world.cluster.crash_node(node).await?;
        world.azure.vm(node, "powerOff").await?;
        world.kubernetes.node_is(node, "Unknown", READY).await
    };
    report.step(&format!("the VM {node} stopped: Kubernetes misses it"), stop).await?;
    report.step(&format!("{node} out of service: the writer writes on {other}"), taken_over(scene)).await?;
    let back = async {
        world.azure.vm(node, "start").await?;
        world.cluster.start_node(node)?;
        world.kubernetes.node_is(node, "True", READY).await?;
        world.kubernetes.run(&["taint", "node", node, &format!("{OUT_OF_SERVICE}-")], "").await?;
        is_of_use(scene).await
    };
    report.step(&format!("the VM {node} started: a new pod has its volume there"), back).await
}

/// Deleted in Azure: the administrator calls the node out of service, then deletes the Node.
pub(super) async fn deleted(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let (world, node, other) = (scene.world, scene.here, scene.there);
    let vm = world.azure.described(node).await?;
    let delete = async {
        vanish(scene).await?;
        world.kubernetes.node_is(node, "Unknown", READY).await
    };
    report.step(&format!("the VM {node} deleted: its disks are free, Kubernetes misses it"), delete).await?;
    report.step(&format!("{node} out of service: the writer writes on {other}"), taken_over(scene)).await?;
    let forget = async {
        world.kubernetes.run(&["delete", "node", node], "").await?;
        nothing_attached(scene).await
    };
    report.step(&format!("the Node {node} deleted: nothing is attached to it"), forget).await?;
    let anew = async {
        appear(scene, &vm).await?;
        is_of_use(scene).await
    };
    report.step(&format!("the VM {node} made anew: a new pod has its volume there"), anew).await
}

/// Replaced at once: VM and Node are deleted, and another machine of the same name joins.
pub(super) async fn replaced(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let (world, node) = (scene.world, scene.here);
    let vm = world.azure.described(node).await?;
    let replace = async {
        vanish(scene).await?;
        world.kubernetes.run(&["delete", "node", node], "").await?;
        appear(scene, &vm).await
    };
    report.step(&format!("the VM {node} and its Node deleted and made anew"), replace).await?;
    report.step("the writer writes again, wherever it is", again(scene, None, MOVED)).await?;
    report.step(&format!("a new pod has its volume on {node}"), is_of_use(scene)).await
}

/// Deleted with its Node, and nobody says that it will not come back: Kubernetes must give it up by itself.
pub(super) async fn given_up(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    let (world, node, other) = (scene.world, scene.here, scene.there);
    let vm = world.azure.described(node).await?;
    let lost = async {
        vanish(scene).await?;
        world.kubernetes.run(&["delete", "node", node], "").await?;
        again(scene, Some(other), GIVEN_UP).await?;
        nothing_attached(scene).await
    };
    report.step(&format!("the VM {node} and its Node deleted: the writer writes on {other}"), lost).await?;
    let anew = async {
        appear(scene, &vm).await?;
        is_of_use(scene).await
    };
    report.step(&format!("the VM {node} made anew: a new pod has its volume there"), anew).await
}

/// The machine's processes end, Azure deletes the VM, and the writer's disk is free.
async fn vanish(scene: &Scene<'_>) -> Result<(), Failure> {
    let volume = scene.writers_volume().await?;
    scene.world.cluster.crash_node(scene.here).await?;
    scene.world.azure.delete_vm(scene.here).await?;
    let holdings = scene.world.holdings().await?;
    let found = holdings.vm_of(&volume);
    holds(found.is_none(), || format!("Azure has the writer's disk on {found:?}"))
}

async fn appear(scene: &Scene<'_>, vm: &serde_json::Value) -> Result<(), Failure> {
    scene.world.azure.add_vm(vm).await?;
    scene.world.cluster.start_node(scene.here)?;
    scene.world.kubernetes.node_is(scene.here, "True", READY).await
}

/// The node is called out of service, and the other one takes over.
async fn taken_over(scene: &Scene<'_>) -> Result<(), Failure> {
    let taint = format!("{OUT_OF_SERVICE}=gone:NoExecute");
    scene.world.kubernetes.run(&["taint", "node", scene.here, &taint], "").await?;
    again(scene, Some(scene.there), MOVED).await
}

/// The writer writes again, and Azure has its disk where it is and nowhere else.
async fn again(scene: &Scene<'_>, node: Option<&str>, limit: Duration) -> Result<(), Failure> {
    let node = scene.writes(node, limit).await?;
    let volume = scene.writers_volume().await?;
    let holdings = scene.world.holdings().await?;
    let found = holdings.vm_of(&volume);
    holds(found == Some(&node), || format!("Azure has the disk of the writer on {node} on {found:?}"))
}

async fn nothing_attached(scene: &Scene<'_>) -> Result<(), Failure> {
    until("no attachment names the node", READY, async || {
        let attachments = scene.world.kubernetes.attachments().await?;
        let left = attachments.iter().filter(|one| one["spec"]["nodeName"] == scene.here).count();
        holds(left == 0, || format!("{left} do"))
    })
    .await
}

async fn is_of_use(scene: &Scene<'_>) -> Result<(), Failure> {
    scene.begin_pod("afterwards", EXT4, scene.here).await?;
    scene.pod_works("afterwards").await?;
    scene.end_pod("afterwards").await
}
