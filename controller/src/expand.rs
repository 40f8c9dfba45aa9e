//! ControllerExpandVolume: grows a disk, never shrinks one.

use azure::{Arm, DiskId, DiskPatch, DiskPatchProperties, GiB};
use csi::Error;
use csi::v1::ControllerExpandVolumeRequest;
use tokio::time::Instant;

use crate::Core;
use crate::arm_error::{Rpc, after_write, csi_error};
use crate::disk;
use crate::size::{GIB, SizeRange, answer_bytes};
use crate::sku::Sku;

/// Grows the volume to the size asked for; answers its real size in bytes, which is larger if it was
/// so already or if whole GiB make it so.
pub(crate) async fn expand(
    core: &Core,
    arm: &Arm,
    request: &ControllerExpandVolumeRequest,
    deadline: Instant,
) -> Result<i64, Error> {
    if request.volume_capability.is_some() {
        csi::require::capability(request.volume_capability.as_ref())?;
    }
    let range = SizeRange::of(request.capacity_range.as_ref())?;
    if range.is_open() {
        return Err(Error::invalid("capacity_range.required_bytes is missing"));
    }
    let id: DiskId = disk::volume(&request.volume_id)?;
    core.leavings.forget(&id);
    let found = core.arm.settled_disk(&id, deadline).await.map_err(|error| csi_error(Rpc::Expand, &error))?;
    let now = found.bytes();
    if now >= range.least_bytes {
        return if range.holds(now) { answer_bytes(now) } else { Err(above_limit(&id, now, range)) };
    }
    let sku = disk::sku_name(&found);
    let sizes = Sku::parse(sku).map_or(1..=u64::from(u32::MAX), Sku::sizes_gib);
    let gib = range.smallest_gib(0, &sizes, &format!("disk {} ({sku})", id.name()))?;
    let properties = DiskPatchProperties { size: GiB::holding(gib * GIB), ..DiskPatchProperties::default() };
    let patch = DiskPatch { properties: Some(properties), ..DiskPatch::default() };
    let grown = arm.update_disk(&id, &patch, deadline).await;
    let grown = grown.map_err(|error| after_write(Rpc::Expand, &error))?;
    answer_bytes(grown.bytes().max(gib * GIB))
}

fn above_limit(id: &DiskId, now: u64, range: SizeRange) -> Error {
    let (name, most) = (id.name(), range.most_bytes.unwrap_or_default());
    Error::out_of_range(format!(
        "disk {name} has {now} bytes, above limit_bytes {most}; a disk never shrinks"
    ))
}
