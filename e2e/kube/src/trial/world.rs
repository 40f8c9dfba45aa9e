//! What every test has at hand: Kubernetes, the emulator, the processes of the nodes; and what every test ends with: its
//! namespace deleted, and Azure holding what it held before.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::azure::Azure;
use super::holdings::Holdings;
use super::kubernetes::Kubernetes;
use super::objects;
use super::wait::{holds, until};
use crate::Failure;
use crate::cluster::Cluster;

/// The driver's name in Kubernetes.
pub const DRIVER: &str = "disk.csi.azure.com";

/// The StorageClass whose volumes have ext4.
pub const EXT4: &str = "managed-csi";

/// The StorageClass whose volumes have xfs.
pub const XFS: &str = "managed-csi-xfs";

/// The VolumeSnapshotClass.
pub const SNAPSHOTS: &str = "csi-azuredisk-vsc";

/// How long a pod may take to become ready, its volume included, on a machine that does much else.
pub const READY: Duration = Duration::from_mins(2);

/// How long what was deleted may take to be gone from Kubernetes and from Azure.
const GONE: Duration = Duration::from_mins(3);

/// The cluster as the tests see it.
pub struct World {
    /// What it runs on.
    pub cluster: Cluster,
    /// Its API.
    pub kubernetes: Kubernetes,
    /// Its cloud.
    pub azure: Azure,
}

impl World {
    /// Opens the running cluster.
    pub async fn open(cluster: &Cluster) -> Result<World, Failure> {
        let kubernetes = Kubernetes::open(cluster.place()).await?;
        Ok(World { cluster: cluster.clone(), kubernetes, azure: Azure::local() })
    }

    /// What Azure holds now.
    pub async fn holdings(&self) -> Result<Holdings, Failure> {
        Ok(Holdings::read(&self.azure.model().await?))
    }

    /// Makes a namespace for a test; what a run that was cut short left in one of this name goes first.
    pub async fn namespace(&self, name: &str) -> Result<(), Failure> {
        self.kubernetes
            .run(&["delete", "namespace", name, "--ignore-not-found", "--timeout=180s"], "")
            .await?;
        self.kubernetes.create(&[objects::namespace(name)]).await
    }

    /// Deletes a test's namespace with all that is in it, and waits until neither Kubernetes nor Azure has anything of
    /// it left. The namespace itself takes its time and is not waited for.
    pub async fn clear(&self, namespace: &str, before: &Holdings) -> Result<(), Failure> {
        let users = ["delete", "--namespace", namespace, "statefulsets,pods", "--all", "--timeout=180s"];
        self.kubernetes.run(&users, "").await?;
        let volumes = ["delete", "--namespace", namespace, "volumesnapshots,persistentvolumeclaims", "--all"];
        self.kubernetes.run(&volumes, "").await?;
        self.kubernetes.run(&["delete", "namespace", namespace, "--wait=false"], "").await?;
        until("nothing is left", GONE, async || {
            let volumes = self.volumes(namespace).await?;
            holds(volumes.is_empty(), || format!("Kubernetes has the volumes {}", volumes.join(", ")))?;
            let left = self.holdings().await?.beyond(before);
            holds(left.is_empty(), || left.join(", "))?;
            let attachments = self.kubernetes.attachments().await?;
            holds(attachments.len() <= before.attached.len(), || format!("{} attachments", attachments.len()))
        })
        .await
    }

    /// The names of the PersistentVolumes that a namespace's claims got.
    pub async fn volumes(&self, namespace: &str) -> Result<Vec<String>, Failure> {
        let volumes = self.kubernetes.list("/api/v1/persistentvolumes").await?;
        let is_its = |volume: &&Value| volume["spec"]["claimRef"]["namespace"] == namespace;
        let name = |volume: &Value| volume["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Ok(volumes.iter().filter(is_its).map(name).collect())
    }

    /// The name of the volume of a claim, as soon as it has one.
    pub async fn volume_of(&self, namespace: &str, claim: &str) -> Result<String, Failure> {
        let found = self.kubernetes.claim(namespace, claim).await?;
        let name = found["spec"]["volumeName"].as_str().filter(|name| !name.is_empty());
        Ok(name.ok_or_else(|| format!("claim {claim} has no volume yet"))?.to_owned())
    }

    /// The id that Azure gave the disk of a volume.
    pub async fn disk_of(&self, volume: &str) -> Result<String, Failure> {
        let found = self.kubernetes.get(&format!("/api/v1/persistentvolumes/{volume}")).await?;
        let id = found["spec"]["csi"]["volumeHandle"].as_str();
        Ok(id.ok_or_else(|| format!("volume {volume} has no id"))?.to_owned())
    }
}

/// Looks at the emulator's model all the time and remembers what must never be in it. Dropped, it looks no more.
pub struct Guard {
    seen: watch::Receiver<Vec<String>>,
    task: AbortHandle,
}

impl Guard {
    /// Begins to look.
    pub fn start(azure: &Azure) -> Guard {
        let (sender, seen) = watch::channel(Vec::new());
        let task = tokio::spawn(look(azure.clone(), sender)).abort_handle();
        Guard { seen, task }
    }

    /// A failure where a disk was ever on two VMs.
    pub fn verdict(&self) -> Result<(), Failure> {
        let seen = self.seen.borrow();
        if seen.is_empty() { Ok(()) } else { Err(seen.join("; ").into()) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(azure: Azure, seen: watch::Sender<Vec<String>>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        // An emulator that does not answer is found by the test itself.
        let Ok(model) = azure.model().await else { continue };
        let new = Holdings::read(&model).shared();
        seen.send_if_modified(|seen| {
            let before = seen.len();
            seen.extend(new.into_iter().filter(|complaint| !seen.contains(complaint)).collect::<Vec<_>>());
            seen.len() > before
        });
    }
}
