//! What becomes of an accepted operation if the script has its way: how it ends, when, and what it leaves in the model.
//!
//! Owner of the words of a bad end. A fate is set by the faults of a request, taken by the operation which that request
//! starts, and saved with it, so that a crash of the emulator changes nothing. Times are milliseconds of model time.
//!
//! | leaves | a VM afterwards | anything else afterwards |
//! |---|---|---|
//! | `wanted` | lists what was wanted: attaches that are not held, detaches as `toBeDetached` | as a failure leaves it |
//! | `part` | so many changes are done, those that leave first; the others as for `wanted` | as for `wanted` |
//! | `everything` | all is done, whatever the operation says of itself | the same |
//! | `nothing` | as it was before the request: what others left half done there stays so | as for `wanted` |

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::model::Model;
use crate::operation::{Effect, Operation, Stage};
use crate::power::Power;
use crate::world::{DataDisk, Key, Provisioning, Vm};

/// The end of what never ends.
pub(crate) const NEVER: Millis = Millis::MAX;

/// How an operation ends that does not end as it was asked for. A poll shows it with HTTP 200, as Azure does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ending {
    /// Status `Canceled`, code `OperationPreempted`, though no newer write was made.
    Preempted,
    /// The same with status `Failed`, which Azure was seen to say as well.
    PreemptedAsFailed,
    /// Status `Canceled` with neither code nor message.
    Canceled,
    /// Status `Failed`.
    Failed {
        /// Azure's code; may be empty.
        #[serde(default)]
        code: String,
        /// Azure's words.
        #[serde(default)]
        message: String,
    },
    /// Status `Succeeded`, whatever it leaves; with [`Leaves::Wanted`] it is a good end like any other.
    Succeeded,
}

impl Ending {
    pub(crate) fn stage(&self) -> Stage {
        match (self, Stage::preempted()) {
            (Self::PreemptedAsFailed, Stage::Canceled { code, message }) => Stage::Failed { code, message },
            (Self::Preempted | Self::PreemptedAsFailed, preempted) => preempted,
            (Self::Canceled, _) => Stage::Canceled { code: String::new(), message: String::new() },
            (Self::Failed { code, message }, _) => {
                Stage::Failed { code: code.clone(), message: message.clone() }
            }
            (Self::Succeeded, _) => Stage::Succeeded,
        }
    }
}

/// What an operation that ended badly leaves behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaves {
    /// Nothing was done. A VM lists what was wanted of it.
    #[default]
    Wanted,
    /// So many disks of a VM were moved, those that leave first; the rest is as for [`Leaves::Wanted`].
    Part(usize),
    /// Everything was done.
    Everything,
    /// Nothing was done, and a VM lists what it listed before.
    Nothing,
}

/// What is in store for the next operation.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Its end, if that is a bad one.
    pub(crate) ending: Option<Stage>,
    pub(crate) leaves: Leaves,
    /// A VM says `Succeeded` afterwards, not `Failed`.
    pub(crate) is_settled: bool,
    /// How long it takes, instead of what was drawn; [`NEVER`] for ever.
    pub(crate) lasts: Option<Millis>,
    /// How much longer it takes.
    pub(crate) delay: Millis,
}

impl Fate {
    /// When an operation ends that is accepted `now` and would end at `drawn`.
    pub(crate) fn due(&self, now: Millis, drawn: Millis) -> Millis {
        self.lasts.map_or(drawn, |lasts| now.saturating_add(lasts)).saturating_add(self.delay)
    }
}

/// What a request changed of a VM's goal: all that its operation may take back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Ids of the disks, as the VM's entries name them.
    disks: Vec<String>,
    is_power: bool,
}

impl Change {
    /// From the goal before, to that of the VM now.
    pub(crate) fn between(disks: &[DataDisk], power: Power, vm: &Vm) -> Self {
        let changed = vm.disks.iter().filter(|entry| !disks.contains(entry));
        Self { disks: changed.map(|entry| entry.disk.clone()).collect(), is_power: vm.wanted_power != power }
    }
}

impl Model {
    /// What an operation leaves behind that did not succeed.
    pub(crate) fn leave(&mut self, operation: &Operation) {
        let Operation { effect, leaves, is_settled, change, .. } = operation;
        let leaves = *leaves;
        let result = match (leaves, effect) {
            (Leaves::Everything, effect) => self.apply(effect),
            (Leaves::Part(most), Effect::ApplyVm(key)) => self.apply_part(key, most),
            (Leaves::Nothing, Effect::ApplyVm(key)) => {
                self.take_back(key, change);
                Ok(())
            }
            _ => Ok(()),
        };
        // What can't be done even so is left as wanted.
        if leaves != Leaves::Everything || result.is_err() || matches!(effect, Effect::ApplyVm(_)) {
            self.fail(effect);
        }
        if let Effect::ApplyVm(key) = effect
            && let Some(vm) = self.world.vms.get_mut(key).filter(|_| *is_settled)
        {
            vm.state = Provisioning::Succeeded;
        }
    }

    /// What the request changed of the goal is again what the VM has.
    fn take_back(&mut self, key: &Key, change: &Change) {
        let Some(vm) = self.world.vms.get_mut(key) else { return };
        // Another model than the one that was read meanwhile.
        vm.etag += 1;
        let is_changed = |entry: &DataDisk| change.disks.contains(&entry.disk);
        vm.disks.retain(|entry| entry.is_attached || !is_changed(entry));
        for entry in vm.disks.iter_mut().filter(|entry| is_changed(entry)) {
            entry.to_be_detached = false;
            entry.detach_option = None;
        }
        if change.is_power {
            vm.wanted_power = vm.power;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_ends_when_the_script_says() {
        for (lasts, delay, due) in
            [(None, 0, 150), (None, 30, 180), (Some(10), 0, 110), (Some(10), 5, 115), (Some(NEVER), 7, NEVER)]
        {
            let fate = Fate { lasts, delay, ..Fate::default() };
            assert_eq!(fate.due(100, 150), due, "{fate:?}");
        }
    }
}
