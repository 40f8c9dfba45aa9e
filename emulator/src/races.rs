//! How near in time two writes must be to collide at the front, where Azure refuses the later one.
//!
//! Off unless asked for, so that a test without it is not about it. What was recorded is that such writes are refused,
//! and with which words; the windows' length is an estimate from the reports.

use std::str::FromStr;
use std::time::Duration;

use crate::arm::attach;
use crate::clock::millis;
use crate::model::Model;
use crate::refusal::Refusal;
use crate::world::{DataDisk, Vm, key};

/// The windows in which writes collide. `Default`: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Races {
    /// So long after the accept of a write on a VM, if that is still being carried out, another one is refused with 409
    /// `Conflict`. Later ones preempt it.
    pub vm: Duration,
    /// So long after the accept of the attach of a shared disk to one VM, its attach to another VM is refused with
    /// `ConflictingUserInput`, though `maxShares` allows it.
    pub shared_disk: Duration,
}

impl Races {
    /// What reports of the real service suggest: 200 ms for each.
    pub fn azure() -> Self {
        let window = Duration::from_millis(200);
        Self { vm: window, shared_disk: window }
    }
}

impl FromStr for Races {
    type Err = String;

    /// `none` or `azure`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::default()),
            "azure" => Ok(Self::azure()),
            _ => Err(format!("'{text}' is neither 'none' nor 'azure'")),
        }
    }
}

impl Model {
    /// Refuses a goal that wants a shared disk just after another VM was promised it.
    pub(crate) fn check_sharing(&self, vm: &Vm, goal: &[DataDisk]) -> Result<(), Refusal> {
        let soon = |since: u64| self.clock.now() < since.saturating_add(millis(self.races.shared_disk));
        let has = |vm: &Vm, disk: &DataDisk, is_counted: &dyn Fn(&DataDisk) -> bool| {
            vm.disks.iter().any(|entry| key(&entry.disk) == key(&disk.disk) && is_counted(entry))
        };
        for wanted in goal.iter().filter(|entry| !has(vm, entry, &|_| true)) {
            let disk = self.world.disks.get(&key(&wanted.disk)).filter(|disk| disk.max_shares > 1);
            let mut others = self.world.vms.values().filter(|other| key(&other.id) != key(&vm.id));
            let first = others.find(|other| has(other, wanted, &|entry| soon(entry.since)));
            if let (Some(disk), Some(first)) = (disk, first) {
                return Err(attach::already_attached(&wanted.name, &vm.id, &first.id).target(&disk.id));
            }
        }
        Ok(())
    }

    /// Refuses a write on a VM that comes too soon after the one that is being carried out.
    pub(crate) fn check_race(&self, vm: &Vm) -> Result<(), Refusal> {
        let running = vm.running.as_ref().and_then(|id| self.world.operations.get(id));
        let soon = |accepted: u64| self.clock.now() < accepted.saturating_add(millis(self.races.vm));
        match running.filter(|operation| operation.is_running() && soon(operation.accepted)) {
            None => Ok(()),
            Some(_) => Err(Refusal::new(
                409,
                "Conflict",
                "The request failed due to conflict with a concurrent request. ",
            )),
        }
    }
}
