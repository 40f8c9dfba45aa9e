//! What an operation has to do, as far as its duration depends on it: read off the model when it is accepted.

use crate::operation::Effect;
use crate::world::{Vm, World};

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// From the arrival of a GET to its answer.
    Read,
    /// The same for everything else.
    Write,
    /// An operation on a VM or a scale set.
    Vm(Change),
    /// An operation on a disk.
    Disk,
    /// An operation on a snapshot.
    Snapshot,
    /// An operation on a group or a network.
    Other,
}

/// How many disks come and go; none at all is another kind of change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) attached: u32,
    pub(crate) detached: u32,
    pub(crate) forced: u32,
}

impl Work {
    /// What `effect` has to do in the world as it is at its accept.
    pub(crate) fn of(world: &World, effect: &Effect) -> Self {
        match effect {
            Effect::ApplyVm(key) => Self::Vm(world.vms.get(key).map(Change::of).unwrap_or_default()),
            Effect::DeleteVm(_) | Effect::ApplySet(_) | Effect::DeleteSet(_) => Self::Vm(Change::default()),
            Effect::CreateDisk(_) | Effect::ChangeDisk(..) | Effect::DeleteDisk(_) => Self::Disk,
            Effect::CreateSnapshot(_) | Effect::ChangeSnapshot(..) | Effect::DeleteSnapshot(_) => {
                Self::Snapshot
            }
            _ => Self::Other,
        }
    }
}

impl Change {
    /// What of the VM's goal is not so yet: also what an operation did not finish that is preempted by this one.
    fn of(vm: &Vm) -> Self {
        let mut change = Self::default();
        for entry in &vm.disks {
            let is_forced = entry.detach_option.as_deref() == Some("ForceDetach");
            match (entry.to_be_detached, entry.is_attached) {
                (true, _) if is_forced => change.forced += 1,
                (true, _) => change.detached += 1,
                (false, false) => change.attached += 1,
                (false, true) => {}
            }
        }
        change
    }
}
