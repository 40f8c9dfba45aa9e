//! The life of a disk in steps that a person can follow. Each step is what a sidecar or the kubelet asks of
//! the driver, and each may be repeated at any time: the kill tests do so, the demo does not need to.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use csi::v1;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::Failure;
use crate::volume;
use crate::world::World;

/// A volume on a node: attached, staged and published.
pub struct Placed {
    /// The node's number in the world.
    pub node: usize,
    /// What the attach said for the node.
    pub context: BTreeMap<String, String>,
    /// Where it is staged.
    pub staging: PathBuf,
    /// Where the workload sees it.
    pub target: PathBuf,
}

/// How an online growth of a mounted file system ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Growth {
    /// It has the new size.
    Online,
    /// It cannot grow while mounted here, for this reason; the next stage grows it.
    AtNextStage(String),
}

/// Creates a volume.
pub async fn create(world: &mut World, request: v1::CreateVolumeRequest) -> Result<v1::Volume, Failure> {
    let answer = world
        .controller
        .call("CreateVolume", async |mut to| to.controller.create_volume(request.clone()).await)
        .await?;
    answer.volume.ok_or_else(|| "CreateVolume answered without a volume".into())
}

/// Deletes a volume.
pub async fn delete(world: &mut World, volume_id: &str) -> Result<(), Failure> {
    let request = volume::delete(volume_id);
    world
        .controller
        .call("DeleteVolume", async |mut to| to.controller.delete_volume(request.clone()).await)
        .await?;
    Ok(())
}

/// Attaches a volume to node number `node`; answers what the node needs.
pub async fn attach(
    world: &mut World,
    volume: &v1::Volume,
    node: usize,
    capability: &v1::VolumeCapability,
) -> Result<BTreeMap<String, String>, Failure> {
    let request = volume::attach(volume, world.nodes[node].name(), capability);
    let answer = world
        .controller
        .call("ControllerPublishVolume", async |mut to| {
            to.controller.controller_publish_volume(request.clone()).await
        })
        .await?;
    Ok(answer.publish_context)
}

/// Detaches a volume from node number `node`.
pub async fn detach(world: &mut World, volume_id: &str, node: usize) -> Result<(), Failure> {
    let request = volume::detach(volume_id, world.nodes[node].name());
    world
        .controller
        .call("ControllerUnpublishVolume", async |mut to| {
            to.controller.controller_unpublish_volume(request.clone()).await
        })
        .await?;
    Ok(())
}

/// The places of `volume` on node number `node`, with the folders that the kubelet would make.
pub fn place(
    world: &World,
    volume: &str,
    node: usize,
    context: BTreeMap<String, String>,
) -> Result<Placed, Failure> {
    let staging = world.path(node, "stage", volume)?;
    std::fs::create_dir_all(&staging)?;
    let target = world.path(node, "pods", volume)?;
    Ok(Placed { node, context, staging, target })
}

/// Stages a volume.
pub async fn stage(
    world: &mut World,
    volume: &v1::Volume,
    placed: &Placed,
    capability: &v1::VolumeCapability,
) -> Result<(), Failure> {
    let request = volume::stage(volume, &placed.context, &placed.staging, capability);
    world.nodes[placed.node]
        .call("NodeStageVolume", async |mut to| to.node.node_stage_volume(request.clone()).await)
        .await?;
    Ok(())
}

/// Publishes a staged volume.
pub async fn publish(
    world: &mut World,
    volume: &v1::Volume,
    placed: &Placed,
    capability: &v1::VolumeCapability,
) -> Result<(), Failure> {
    let request = volume::publish(volume, &placed.context, &placed.staging, &placed.target, capability);
    world.nodes[placed.node]
        .call("NodePublishVolume", async |mut to| to.node.node_publish_volume(request.clone()).await)
        .await?;
    Ok(())
}

/// Unpublishes a volume.
pub async fn unpublish(world: &mut World, volume_id: &str, placed: &Placed) -> Result<(), Failure> {
    let request = volume::unpublish(volume_id, &placed.target);
    world.nodes[placed.node]
        .call("NodeUnpublishVolume", async |mut to| to.node.node_unpublish_volume(request.clone()).await)
        .await?;
    Ok(())
}

/// Unstages a volume.
pub async fn unstage(world: &mut World, volume_id: &str, placed: &Placed) -> Result<(), Failure> {
    let request = volume::unstage(volume_id, &placed.staging);
    world.nodes[placed.node]
        .call("NodeUnstageVolume", async |mut to| to.node.node_unstage_volume(request.clone()).await)
        .await?;
    Ok(())
}

/// Brings a volume all the way to a workload on node number `node`: attached, staged, published.
pub async fn bring(
    world: &mut World,
    name: &str,
    volume: &v1::Volume,
    node: usize,
    capability: &v1::VolumeCapability,
) -> Result<Placed, Failure> {
    let context = attach(world, volume, node, capability).await?;
    let placed = place(world, name, node, context)?;
    stage(world, volume, &placed, capability).await?;
    publish(world, volume, &placed, capability).await?;
    Ok(placed)
}

/// Takes a volume all the way back: unpublished, unstaged, detached.
pub async fn take_away(world: &mut World, volume_id: &str, placed: &Placed) -> Result<(), Failure> {
    unpublish(world, volume_id, placed).await?;
    unstage(world, volume_id, placed).await?;
    detach(world, volume_id, placed.node).await
}

/// Grows a volume in Azure.
pub async fn expand(
    world: &mut World,
    volume_id: &str,
    gib: i64,
    capability: &v1::VolumeCapability,
) -> Result<i64, Failure> {
    let request = volume::expand(volume_id, gib, capability);
    let answer = world
        .controller
        .call("ControllerExpandVolume", async |mut to| {
            to.controller.controller_expand_volume(request.clone()).await
        })
        .await?;
    Ok(answer.capacity_bytes)
}

/// Grows the file system of a published volume.
pub async fn grow(world: &mut World, volume_id: &str, gib: i64, placed: &Placed) -> Result<Growth, Failure> {
    let request = volume::grow(volume_id, gib, &placed.target, &placed.staging);
    let answer = world.nodes[placed.node]
        .ask(async |mut to| to.node.node_expand_volume(request.clone()).await)
        .await?;
    match answer {
        Ok(_) => Ok(Growth::Online),
        Err(status) if status.code() == Code::FailedPrecondition => {
            Ok(Growth::AtNextStage(status.message().to_owned()))
        }
        Err(status) => Err(format!("NodeExpandVolume: {:?}: {}", status.code(), status.message()).into()),
    }
}

/// Takes a snapshot and waits until it can be used.
pub async fn snapshot(world: &mut World, name: &str, volume_id: &str) -> Result<v1::Snapshot, Failure> {
    let request = volume::snapshot(name, volume_id);
    loop {
        let answer = world
            .controller
            .call("CreateSnapshot", async |mut to| to.controller.create_snapshot(request.clone()).await)
            .await?;
        let snapshot = answer.snapshot.ok_or("CreateSnapshot answered without a snapshot")?;
        if snapshot.ready_to_use {
            return Ok(snapshot);
        }
        tokio::time::sleep(crate::program::LOOK_AGAIN).await;
    }
}

/// Deletes a snapshot.
pub async fn delete_snapshot(world: &mut World, snapshot_id: &str) -> Result<(), Failure> {
    let request = volume::delete_snapshot(snapshot_id);
    world
        .controller
        .call("DeleteSnapshot", async |mut to| to.controller.delete_snapshot(request.clone()).await)
        .await?;
    Ok(())
}

/// Writes `bytes` of noise that `seed` draws, and waits until they are on the disk.
pub fn write_noise(path: &Path, bytes: usize, seed: u64) -> Result<(), Failure> {
    let mut noise = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut noise);
    let mut file = std::fs::File::options().write(true).create(true).truncate(false).open(path)?;
    std::io::Write::write_all(&mut file, &noise)?;
    file.sync_all()?;
    Ok(())
}

/// The SHA-256 of a file, or of the first `bytes` of a device.
pub fn checksum(path: &Path, bytes: Option<u64>) -> Result<String, Failure> {
    let mut digest = Sha256::new();
    let mut file = std::fs::File::open(path)?.take(bytes.unwrap_or(u64::MAX));
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(format!("{:x}", digest.finalize()));
        }
        digest.update(&buffer[..read]);
    }
}

/// The bytes that the file system at `path` offers in all.
pub fn file_system_bytes(path: &Path) -> Result<u64, Failure> {
    let usage = nix::sys::statvfs::statvfs(path)?;
    Ok(usage.blocks() * usage.fragment_size())
}
