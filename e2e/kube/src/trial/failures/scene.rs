//! The scene of every failure: a namespace, a pod that writes to a volume and tells what is synced, and a guard that
//! looks at Azure all the while. It ends with the judgement of what was written.

use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::trial::holdings::Holdings;
use crate::trial::kubernetes::is_ready;
use crate::trial::objects::{self, Mode};
use crate::trial::records::{Written, verify};
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};
use crate::trial::world::{EXT4, Guard, READY, World};
use crate::trial::writer::{self, Witness};

/// Where pods reach the witness.
const BRIDGE: &str = "10.90.0.1";

/// The claim of the writer.
const CLAIM: &str = "written";

/// The set and the pod of the writer.
const SET: &str = "writer";
const POD: &str = "writer-0";

/// Records after which a writer counts as writing.
const ENOUGH: usize = 5;

/// How long the next records may take while nothing is broken.
const NEXT: Duration = Duration::from_secs(30);

/// How long they may take for a pod that says that it is ready.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A failure's scene.
pub(super) struct Scene<'a> {
    pub(super) world: &'a World,
    pub(super) namespace: &'static str,
    /// Where everything is at first.
    pub(super) here: &'a str,
    /// Where it can go.
    pub(super) there: &'a str,
    before: Holdings,
    guard: Guard,
    witness: Witness,
}

impl<'a> Scene<'a> {
    /// Makes the scene; its writer writes on the first of the nodes.
    pub(super) async fn open(
        world: &'a World,
        namespace: &'static str,
        [here, there]: [&'a str; 2],
    ) -> Result<Scene<'a>, Failure> {
        let before = world.holdings().await?;
        let guard = Guard::start(&world.azure);
        let witness = Witness::listen(BRIDGE).await?;
        let script = writer::script(&writer::file(), witness.address());
        world.namespace(namespace).await?;
        let scene = Scene { world, namespace, here, there, before, guard, witness };
        let objects = [
            objects::claim(namespace, CLAIM, EXT4, 4, Mode::Filesystem, None),
            objects::set(namespace, SET, CLAIM, here, &script),
        ];
        world.kubernetes.create(&objects).await?;
        scene.writes(Some(here), READY).await?;
        Ok(scene)
    }

    /// Waits until a new pod of the writer is ready, on `node` where one is named, and writes; answers where.
    ///
    /// A pod whose machine is gone may look ready until Kubernetes misses the machine, but it tells nothing.
    pub(super) async fn writes(&self, node: Option<&str>, limit: Duration) -> Result<String, Failure> {
        until("the writer writes again", limit, async || {
            let pod = self.world.kubernetes.pod(self.namespace, POD).await?;
            let found = pod["spec"]["nodeName"].as_str().unwrap_or_default();
            let is_there = is_ready(&pod) && node.is_none_or(|node| node == found);
            holds(is_there, || format!("on `{found}`: {}", pod["status"]))?;
            self.witness.hears(ENOUGH, AT_ONCE).await?;
            Ok(found.to_owned())
        })
        .await
    }

    /// The writer tells more.
    pub(super) async fn goes_on(&self) -> Result<(), Failure> {
        self.witness.hears(ENOUGH, NEXT).await
    }

    /// The writer's container, and how often it was started: it changes if anything disturbed the pod.
    pub(super) async fn writer(&self) -> Result<(Value, Value), Failure> {
        let pod = self.world.kubernetes.pod(self.namespace, POD).await?;
        let status = &pod["status"]["containerStatuses"][0];
        Ok((status["containerID"].clone(), status["restartCount"].clone()))
    }

    /// The name of the writer's volume.
    pub(super) async fn writers_volume(&self) -> Result<String, Failure> {
        self.world.volume_of(self.namespace, CLAIM).await
    }

    /// A claim and a pod of its own, not waited for.
    pub(super) async fn begin_pod(&self, name: &str, class: &str, node: &str) -> Result<(), Failure> {
        let objects = [
            objects::claim(self.namespace, name, class, 4, Mode::Filesystem, None),
            objects::pod(self.namespace, name, name, Mode::Filesystem, Some(node)),
        ];
        self.world.kubernetes.create(&objects).await
    }

    /// The pod becomes ready, and its volume can be written.
    pub(super) async fn pod_works(&self, name: &str) -> Result<(), Failure> {
        let kubernetes = &self.world.kubernetes;
        kubernetes.ready(self.namespace, name, READY).await?;
        let script = format!("echo {name} > {0}/name; sync; cat {0}/name", objects::FOLDER);
        let read = kubernetes.shell(self.namespace, name, &script).await?;
        holds(read.trim() == name, || format!("pod {name} reads `{read}`"))
    }

    /// Deletes a pod and its claim. That its volume goes, too, is seen at the end.
    pub(super) async fn delete_pod(&self, name: &str) -> Result<(), Failure> {
        let names = [format!("pod/{name}"), format!("pvc/{name}")];
        self.world.kubernetes.delete(self.namespace, &[&names[0], &names[1]]).await
    }

    /// Deletes a pod and its claim, and waits until its volume is gone from Azure.
    pub(super) async fn end_pod(&self, name: &str) -> Result<(), Failure> {
        let volume = self.world.volume_of(self.namespace, name).await?;
        self.delete_pod(name).await?;
        until(&format!("the disk of {name} is gone"), READY, async || {
            let disks = self.world.holdings().await?.disks;
            holds(!disks.iter().any(|disk| disk.ends_with(&volume)), || "Azure still has it".to_owned())
        })
        .await
    }

    /// Stops the writer, reads what it wrote through a fresh mount, judges it, and takes everything away.
    pub(super) async fn close(self, report: &mut Report) -> Result<(), Failure> {
        let judged = report.step("every record that was told as synced is on the volume", self.judge()).await;
        if let Ok((Written { records, starts, torn }, told)) = &judged {
            report
                .note(&format!("{records} records, {told} told; {starts} starts, {torn} torn and not told"));
        }
        let cleared = async {
            self.world.clear(self.namespace, &self.before).await?;
            self.guard.verdict()
        };
        let cleared = report.step("nothing is left, and no disk was on two VMs", cleared).await;
        judged.map(|_| ()).and(cleared)
    }

    async fn judge(&self) -> Result<(Written, usize), Failure> {
        let kubernetes = &self.world.kubernetes;
        kubernetes.delete(self.namespace, &["statefulset/writer", "pod/writer-0"]).await?;
        kubernetes.create(&[objects::pod(self.namespace, "reader", CLAIM, Mode::Filesystem, None)]).await?;
        kubernetes.ready(self.namespace, "reader", READY).await?;
        let file = kubernetes.shell(self.namespace, "reader", &format!("cat {}", writer::file())).await?;
        let told = self.witness.told();
        let written = verify(file.as_bytes(), &told);
        let complaint =
            |faults: Vec<_>| format!("{} faults, of {} lines told: {faults:?}", faults.len(), told.len());
        Ok((written.map_err(complaint)?, told.len()))
    }
}
