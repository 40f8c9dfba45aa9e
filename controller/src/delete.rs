//! DeleteVolume: a disk that is not there counts as deleted, one in use stays.

use azure::{Arm, DiskId, ErrorKind};
use csi::Error;
use csi::v1::DeleteVolumeRequest;
use tokio::time::Instant;

use crate::Core;
use crate::arm_error::{Rpc, after_write, csi_error};
use crate::disk;

/// Deletes the volume.
pub(crate) async fn delete(
    core: &Core,
    arm: &Arm,
    request: &DeleteVolumeRequest,
    deadline: Instant,
) -> Result<(), Error> {
    // An id that is none of Azure's was never a volume of ours: there is nothing to delete.
    let Ok(id) = request.volume_id.parse::<DiskId>() else { return Ok(()) };
    let _claimed = core.claims.a_deletion(&id)?;
    core.leavings.forget(&id);
    let holders = match core.arm.disk(&id, deadline).await {
        Ok(disk) => disk::holders(&disk)?,
        // A read may lag behind the creation; the deletion is never so, and says the same of a disk that is not there.
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(csi_error(Rpc::DeleteVolume, &error)),
    };
    if let Some(vm) = holders.first() {
        let (disk, vm) = (id.name(), vm.name());
        return Err(Error::precondition(format!(
            "disk {disk} is attached to VM {vm}; detach it there before it is deleted"
        )));
    }
    arm.delete_disk(&id, deadline).await.map_err(|error| after_write(Rpc::DeleteVolume, &error))
}
