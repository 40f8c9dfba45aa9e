//! Whether a VM runs. What was asked for becomes so when its operation ends, as with disks.
//!
//! ```text
//!            powerOff                deallocate
//! Running ─────────────▶ Stopped ───────────────▶ Deallocated      (also Running ─ deallocate ─▶ Deallocated)
//!    ▲────── start, restart ──┘──────── start ────────┘
//! ```
//! A machine that is off shows no data disks, and in Azure's model keeps them: they come back at their LUNs. They may be
//! attached and detached meanwhile. On Azure a disk of a deallocated VM is `Reserved`, of a stopped one still
//! `Attached`. Assumed, where nothing was on record: powerOff of a deallocated VM changes nothing; restart of one is
//! refused. A restart that is not preceded by powerOff touches no device, because nothing here can end the processes
//! that use them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::Model;
use crate::refusal::Refusal;
use crate::world::{Vm, key, name_of};

/// What a VM does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Power {
    #[default]
    Running,
    /// Off, and still on its host.
    Stopped,
    /// Off, and nowhere.
    Deallocated,
}

impl Power {
    pub(crate) fn is_on(self) -> bool {
        self == Self::Running
    }

    /// What an action makes of it.
    fn after(self, action: &str) -> Self {
        match (action, self) {
            ("deallocate", _) | ("poweroff", Self::Deallocated) => Self::Deallocated,
            ("poweroff", _) => Self::Stopped,
            ("start" | "restart" | "redeploy", _) => Self::Running,
            _ => self,
        }
    }

    /// As an instance view says it.
    pub(crate) fn status(self) -> Value {
        let (code, words) = match self {
            Self::Running => ("PowerState/running", "VM running"),
            Self::Stopped => ("PowerState/stopped", "VM stopped"),
            Self::Deallocated => ("PowerState/deallocated", "VM deallocated"),
        };
        json!({ "code": code, "level": "Info", "displayStatus": words })
    }
}

/// What the VM is to do after `action`, or why it can't be done.
pub(crate) fn wanted(vm: &Vm, action: &str) -> Result<Power, Refusal> {
    if action == "restart" && vm.wanted_power == Power::Deallocated {
        let text = format!("Cannot restart VM '{}': it is deallocated. Start it instead.", name_of(&vm.id));
        return Err(Refusal::not_allowed(text));
    }
    Ok(vm.wanted_power.after(action))
}

impl Model {
    /// Switches the VM off, if that is wanted: its disks stay its own and are gone from the machine.
    pub(crate) fn switch_off(&mut self, vm: &mut Vm) -> Result<(), Refusal> {
        if vm.wanted_power.is_on() || vm.power == vm.wanted_power {
            return Ok(());
        }
        self.note_switch(vm);
        let mut result = Ok(());
        for entry in vm.disks.iter().filter(|entry| entry.is_attached) {
            result = result.and(self.unplug(vm, entry.lun));
        }
        result
    }

    /// Switches the VM on, if that is wanted: what it has attached appears at its LUNs.
    pub(crate) fn switch_on(&mut self, vm: &mut Vm) -> Result<(), Refusal> {
        if !vm.wanted_power.is_on() || vm.power.is_on() {
            return Ok(());
        }
        self.note_switch(vm);
        let mut result = Ok(());
        for entry in vm.disks.iter().filter(|entry| entry.is_attached) {
            let Some(disk) = self.world.disks.get(&key(&entry.disk)) else { continue };
            result = result.and(self.plug(vm, entry, disk));
        }
        result
    }

    /// From here on the VM is as wanted. Azure counts as a change of ownership what frees, or takes, its host.
    fn note_switch(&mut self, vm: &mut Vm) {
        let was = std::mem::replace(&mut vm.power, vm.wanted_power);
        let now = self.clock.stamp();
        if was == Power::Deallocated || vm.power == Power::Deallocated {
            for entry in vm.disks.iter().filter(|entry| entry.is_attached) {
                if let Some(disk) = self.world.disks.get_mut(&key(&entry.disk)) {
                    disk.moved = Some(now.clone());
                }
            }
        }
        vm.switched = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_leads_where_azure_says() {
        use Power::{Deallocated, Running, Stopped};
        for (before, action, after) in [
            (Running, "poweroff", Stopped),
            (Running, "deallocate", Deallocated),
            (Stopped, "deallocate", Deallocated),
            (Deallocated, "poweroff", Deallocated),
            (Stopped, "start", Running),
            (Deallocated, "start", Running),
            (Stopped, "restart", Running),
            (Stopped, "reapply", Stopped),
            (Running, "start", Running),
        ] {
            assert_eq!(before.after(action), after, "{before:?} {action}");
        }
    }
}
