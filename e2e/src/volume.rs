//! The requests of one volume's life, with what every step needs filled in.

use std::collections::BTreeMap;
use std::path::Path;

use csi::v1;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};

/// Bytes of a GiB.
pub const GIB: i64 = 1 << 30;

/// A mounted file system of this type, used by one node.
pub fn mounted(fs_type: &str) -> v1::VolumeCapability {
    capability(AccessType::Mount(MountVolume { fs_type: fs_type.to_owned(), ..Default::default() }))
}

/// A raw block device, used by one node.
pub fn block() -> v1::VolumeCapability {
    capability(AccessType::Block(BlockVolume {}))
}

fn capability(access_type: AccessType) -> v1::VolumeCapability {
    let access_mode = Some(AccessMode { mode: Mode::SingleNodeMultiWriter.into() });
    v1::VolumeCapability { access_type: Some(access_type), access_mode }
}

/// A volume of `gib`, filled from `source` if one is given.
pub fn create(
    name: &str,
    gib: i64,
    capability: &v1::VolumeCapability,
    source: Option<v1::VolumeContentSource>,
) -> v1::CreateVolumeRequest {
    v1::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(v1::CapacityRange { required_bytes: gib * GIB, limit_bytes: 0 }),
        volume_capabilities: vec![capability.clone()],
        parameters: BTreeMap::from([("skuName".to_owned(), "Premium_LRS".to_owned())]),
        volume_content_source: source,
        ..Default::default()
    }
}

/// Filled from this snapshot.
pub fn from_snapshot(snapshot_id: &str) -> v1::VolumeContentSource {
    let snapshot_id = snapshot_id.to_owned();
    let source = v1::volume_content_source::SnapshotSource { snapshot_id };
    v1::VolumeContentSource { r#type: Some(v1::volume_content_source::Type::Snapshot(source)) }
}

/// Attach to `node`.
pub fn attach(
    volume: &v1::Volume,
    node: &str,
    capability: &v1::VolumeCapability,
) -> v1::ControllerPublishVolumeRequest {
    v1::ControllerPublishVolumeRequest {
        volume_id: volume.volume_id.clone(),
        node_id: node.to_owned(),
        volume_capability: Some(capability.clone()),
        volume_context: volume.volume_context.clone(),
        ..Default::default()
    }
}

/// Detach from `node`.
pub fn detach(volume_id: &str, node: &str) -> v1::ControllerUnpublishVolumeRequest {
    v1::ControllerUnpublishVolumeRequest {
        volume_id: volume_id.to_owned(),
        node_id: node.to_owned(),
        ..Default::default()
    }
}

/// Stage at `staging` what `publish_context` says about the attachment.
pub fn stage(
    volume: &v1::Volume,
    publish_context: &BTreeMap<String, String>,
    staging: &Path,
    capability: &v1::VolumeCapability,
) -> v1::NodeStageVolumeRequest {
    v1::NodeStageVolumeRequest {
        volume_id: volume.volume_id.clone(),
        publish_context: publish_context.clone(),
        staging_target_path: staging.display().to_string(),
        volume_capability: Some(capability.clone()),
        volume_context: volume.volume_context.clone(),
        ..Default::default()
    }
}

/// Undo [`stage`].
pub fn unstage(volume_id: &str, staging: &Path) -> v1::NodeUnstageVolumeRequest {
    let staging_target_path = staging.display().to_string();
    v1::NodeUnstageVolumeRequest { volume_id: volume_id.to_owned(), staging_target_path }
}

/// Publish what is staged at `staging` to `target`.
pub fn publish(
    volume: &v1::Volume,
    publish_context: &BTreeMap<String, String>,
    staging: &Path,
    target: &Path,
    capability: &v1::VolumeCapability,
) -> v1::NodePublishVolumeRequest {
    v1::NodePublishVolumeRequest {
        volume_id: volume.volume_id.clone(),
        publish_context: publish_context.clone(),
        staging_target_path: staging.display().to_string(),
        target_path: target.display().to_string(),
        volume_capability: Some(capability.clone()),
        volume_context: volume.volume_context.clone(),
        ..Default::default()
    }
}

/// Undo [`publish`].
pub fn unpublish(volume_id: &str, target: &Path) -> v1::NodeUnpublishVolumeRequest {
    v1::NodeUnpublishVolumeRequest {
        volume_id: volume_id.to_owned(),
        target_path: target.display().to_string(),
    }
}

/// Grow to `gib` in Azure.
pub fn expand(
    volume_id: &str,
    gib: i64,
    capability: &v1::VolumeCapability,
) -> v1::ControllerExpandVolumeRequest {
    v1::ControllerExpandVolumeRequest {
        volume_id: volume_id.to_owned(),
        capacity_range: Some(v1::CapacityRange { required_bytes: gib * GIB, limit_bytes: 0 }),
        volume_capability: Some(capability.clone()),
        ..Default::default()
    }
}

/// Grow the file system at `path` to `gib`.
pub fn grow(volume_id: &str, gib: i64, path: &Path, staging: &Path) -> v1::NodeExpandVolumeRequest {
    v1::NodeExpandVolumeRequest {
        volume_id: volume_id.to_owned(),
        volume_path: path.display().to_string(),
        capacity_range: Some(v1::CapacityRange { required_bytes: gib * GIB, limit_bytes: 0 }),
        staging_target_path: staging.display().to_string(),
        ..Default::default()
    }
}

/// A snapshot of `volume_id`.
pub fn snapshot(name: &str, volume_id: &str) -> v1::CreateSnapshotRequest {
    v1::CreateSnapshotRequest {
        source_volume_id: volume_id.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    }
}

/// Delete a volume.
pub fn delete(volume_id: &str) -> v1::DeleteVolumeRequest {
    v1::DeleteVolumeRequest { volume_id: volume_id.to_owned(), ..Default::default() }
}

/// Delete a snapshot.
pub fn delete_snapshot(snapshot_id: &str) -> v1::DeleteSnapshotRequest {
    v1::DeleteSnapshotRequest { snapshot_id: snapshot_id.to_owned(), ..Default::default() }
}
