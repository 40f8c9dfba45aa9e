//! Which way the disks of a VM are written. The delta call comes first; a VM on which Azure refuses the *action* (the
//! identity has no right to it, or this Azure does not know it) gets the full list, now and from then on.
//!
//! Owned here: the VMs on which the delta call was refused and the full list taken. It is in memory only: after a
//! restart one refused call per VM finds it out again.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::full_list::{FullList, Leaving};
use super::write::{DiskWriter, Written};
use crate::error::code;
use crate::model::vm::DiskChanges;
use crate::transport::BoxFuture;
use crate::{Arm, Deadline, Error, VmId};

/// With which way to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstWay {
    /// The delta call `attachDetachDataDisks`; the full list where that is refused.
    #[default]
    Delta,
    /// The full list.
    FullList,
    /// The full list as Azure Stack takes it: what leaves is left out.
    AzureStack,
}

/// Writes the disks of each VM the way that Azure takes there.
#[derive(Debug)]
pub struct DiskUpdates {
    arm: Arm,
    first: FirstWay,
    full_list: FullList,
    /// Where the delta call is not to be tried again.
    listed: Mutex<HashSet<VmId>>,
}

impl DiskUpdates {
    /// Begins every VM with `first`.
    pub fn new(arm: Arm, first: FirstWay) -> DiskUpdates {
        let leaving = match first {
            FirstWay::Delta | FirstWay::FullList => Leaving::Marked,
            FirstWay::AzureStack => Leaving::LeftOut,
        };
        let full_list = FullList::new(arm.clone(), leaving);
        DiskUpdates { arm, first, full_list, listed: Mutex::default() }
    }

    fn listed(&self) -> MutexGuard<'_, HashSet<VmId>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn takes_delta(&self, vm: &VmId) -> bool {
        self.first == FirstWay::Delta && !self.listed().contains(vm)
    }
}

impl DiskWriter for DiskUpdates {
    fn change<'a>(
        &'a self,
        vm: &'a VmId,
        changes: &'a DiskChanges,
        deadline: Deadline,
        follow: Deadline,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Box::pin(async move {
            if self.takes_delta(vm) {
                match self.arm.change(vm, changes, deadline, follow).await {
                    Err(error) if code::is_refused_action(&error) => {}
                    outcome => return outcome,
                }
            }
            let written = self.full_list.change(vm, changes, deadline, follow).await;
            // Only what went well proves that this is the way.
            if written.is_ok() && self.takes_delta(vm) {
                tracing::info!(vm = vm.as_str(), "attachDetachDataDisks is refused: full lists from now on");
                self.listed().insert(vm.clone());
            }
            written
        })
    }

    fn wait(&self, vm: &VmId) -> Option<Duration> {
        if self.takes_delta(vm) { self.arm.wait(vm) } else { self.full_list.wait(vm) }
    }
}
