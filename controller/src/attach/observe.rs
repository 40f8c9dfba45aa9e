//! Reading a VM's data disks as the plan needs them.

use std::collections::BTreeSet;

use azure::{Arm, DiskId, Error, ErrorKind, Lun, ProvisioningState, Vm, VmId};
use futures::future::try_join_all;
use tokio::time::Instant;

use super::claims::Claims;
use super::plan::{Observed, Slot, State};
use crate::disk;

/// As many LUNs as there are: what a VM of a size that we do not know takes, Azure says.
const MOST_DISKS: u8 = 64;

/// The VM's model as a plan sees it. Whether a disk is held is not known yet, but for `landed`: those
/// an update of ours, followed to its end, has just attached. What was promised to the node is not known here.
pub(super) fn model(vm: &Vm, landed: &BTreeSet<DiskId>) -> Observed {
    let slots = vm.data_disks().iter().filter_map(|entry| {
        let disk = entry.disk_id();
        let held = disk.as_ref().is_some_and(|disk| landed.contains(disk));
        Some(Slot { lun: Lun::new(entry.lun)?, disk, leaving: entry.is_leaving(), held })
    });
    let most_disks = vm.size().and_then(azure::max_data_disks).unwrap_or(MOST_DISKS);
    let most_disks = usize::from(most_disks);
    Observed { slots: slots.collect(), state: state(vm), most_disks, promised: Vec::new(), may_repair: true }
}

fn state(vm: &Vm) -> State {
    match vm.provisioning_state() {
        Some(ProvisioningState::Succeeded) => State::Settled,
        Some(ProvisioningState::Failed | ProvisioningState::Canceled) => State::Failed,
        _ => State::Changing,
    }
}

/// Asks each disk in `wanted` that the VM lists, and is not known to hold, whether it is held. What Azure answers from a
/// time before an attach of ours that is open is no proof; and while Azure changes the VM, that attach is what it is at.
pub(super) async fn confirm(
    arm: &Arm,
    claims: &Claims,
    vm: &VmId,
    observed: &mut Observed,
    wanted: &BTreeSet<DiskId>,
    deadline: Instant,
) -> Result<(), Error> {
    let is_changing = observed.state == State::Changing;
    let open = |slot: &&mut Slot| {
        let is_asked = |disk: &DiskId| wanted.contains(disk) && !(is_changing && claims.may_land(vm, disk));
        !slot.held && !slot.leaving && slot.disk.as_ref().is_some_and(is_asked)
    };
    let ask = async |slot: &mut Slot| {
        let Some(id) = &slot.disk else { return Ok(()) };
        match arm.disk_of_many(id, deadline).await {
            Ok(disk) => slot.held = disk.is_held_by(vm) && claims.is_proof(vm, id, disk::moved(&disk)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    };
    try_join_all(observed.slots.iter_mut().filter(open).map(ask)).await.map(|_| ())
}
