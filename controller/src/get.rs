//! ControllerGetVolume, and what ControllerGetCapabilities offers.

use azure::DiskId;
use csi::Error;
use csi::v1::controller_get_volume_response::VolumeStatus;
use csi::v1::controller_service_capability::{self as capability, rpc::Type};
use csi::v1::{ControllerGetVolumeRequest, ControllerGetVolumeResponse, ControllerServiceCapability};
use tokio::time::Instant;

use crate::Core;
use crate::arm_error::{Rpc, csi_error};
use crate::{disk, list};

/// What works. Nothing is offered before it does.
pub(crate) const OFFERED: [Type; 14] = [
    Type::CreateDeleteVolume,
    Type::PublishUnpublishVolume,
    Type::ListVolumes,
    Type::ListVolumesPublishedNodes,
    Type::GetCapacity,
    Type::CreateDeleteSnapshot,
    Type::ListSnapshots,
    Type::CloneVolume,
    Type::PublishReadonly,
    Type::ExpandVolume,
    Type::GetVolume,
    Type::SingleNodeMultiWriter,
    Type::ModifyVolume,
    Type::GetSnapshot,
];

/// What the service offers. Known without a controller, because a sidecar asks at its start and gives up on
/// an error, while credentials may still be missing.
pub fn capabilities() -> Vec<ControllerServiceCapability> {
    let rpc = |rpc: Type| capability::Rpc { r#type: rpc.into() };
    let offer = |rpc| ControllerServiceCapability { r#type: Some(capability::Type::Rpc(rpc)) };
    OFFERED.into_iter().map(rpc).map(offer).collect()
}

/// The volume as it is now, and where it is published.
pub(crate) async fn volume(
    core: &Core,
    request: &ControllerGetVolumeRequest,
    deadline: Instant,
) -> Result<ControllerGetVolumeResponse, Error> {
    csi::require::field(&request.volume_id, "volume_id")?;
    let id: DiskId = disk::volume(&request.volume_id)?;
    let found = core.arm.disk(&id, deadline).await.map_err(|error| csi_error(Rpc::GetVolume, &error))?;
    Ok(ControllerGetVolumeResponse {
        volume: Some(list::volume(core, &id, &found)?),
        status: Some(VolumeStatus { published_node_ids: list::published(core, &found, deadline).await? }),
    })
}
