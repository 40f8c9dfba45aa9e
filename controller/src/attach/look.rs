//! The task's look at its VM: what Azure shows, what Kubernetes knows, and what is wanted, as a plan needs them.

use std::collections::BTreeSet;
use std::time::Duration;

use azure::{DiskId, ErrorKind, Vm};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::entry::Entry;
use super::plan::{Observed, Slot, State, Want, Wanted};
use super::task::{SHORTEST_PAUSE, Task};
use super::versions::Age;
use super::{Intent, Outcome, observe, standing};
use crate::arm_error::disk_error;

/// Between two reads of a VM of which only old answers come, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a VM may list a disk and not hold it, with nothing under way, until nobody is believed to be at it.
const OVERDUE: Duration = Duration::from_secs(10);

impl Task {
    /// The VM, not older than it was seen before.
    async fn read(&mut self, deadline: Instant) -> Result<Vm, azure::Error> {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let vm = self.inner.arm.vm_of_many(&self.vm, deadline).await?;
            let age = self.inner.versions.age(&self.vm, &vm);
            if age != Age::Old {
                self.is_fresh = age == Age::Fresh;
                return Ok(vm);
            }
            tracing::debug!(
                vm = self.vm.name(),
                etag = vm.etag,
                "Azure's answer is older than one before it"
            );
            // Azure takes 36 reads of a VM at once, and 12 a minute.
            sleep_until(Instant::now() + pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The VM as it is, or nothing if that could not be read and everyone was told so.
    pub(super) async fn look(
        &mut self,
        intents: &mut mpsc::UnboundedReceiver<Box<Intent>>,
        deadline: Instant,
    ) -> Option<Observed> {
        let landed = std::mem::take(&mut self.landed);
        let mut read = self.read(deadline).await;
        if read.as_ref().is_ok_and(|vm| !lists_all(vm, &landed)) {
            // It was attached by an update that ended well: this may be an answer from before that.
            self.inner.versions.outdated(&self.vm);
            read = self.read(deadline).await;
        }
        if read.is_ok() && !landed.is_empty() {
            self.inner.versions.shows_ours(&self.vm);
        }
        self.inner.expected.arrived(&self.vm).await;
        self.take_all(intents);
        // Who hung up meanwhile may be told by another process that the disk is free.
        self.drop_late();
        let looked = match read {
            Err(error) => Err(error),
            Ok(vm) => {
                let mut observed = observe::model(&vm, &landed);
                observed.hold(&self.inner.versions.held(&self.vm));
                let attaches = self.queue.iter().filter(|entry| entry.want == Want::Attach);
                let wanted: BTreeSet<DiskId> = attaches.map(|entry| entry.disk.clone()).collect();
                let (arm, claims, vm) = (&self.inner.arm, &self.inner.claims, &self.vm);
                if let Some(node_id) = &self.node_id {
                    observed.promised = standing::promises(&self.inner.cluster.borrow(), node_id);
                }
                observed.may_repair = self.inner.repairs.may_repair(&self.vm);
                let confirmed = observe::confirm(arm, claims, vm, &mut observed, &wanted, deadline).await;
                self.inner.versions.holds(vm, observed.held());
                confirmed.map(|()| observed)
            }
        };
        match looked {
            Ok(observed) => Some(observed),
            Err(error) => {
                let is_gone = error.kind() == ErrorKind::NotFound;
                for entry in std::mem::take(&mut self.queue) {
                    let result = match (is_gone, &entry.failed) {
                        (true, _) => Ok(Outcome::VmGone),
                        (false, Some(failed)) => Err(failed.clone()),
                        (false, None) => Err(disk_error(entry.rpc(), &entry.disk, &error)),
                    };
                    entry.answer(&result);
                }
                None
            }
        }
    }

    /// What is wanted, as a plan sees it.
    pub(super) fn wanted(&mut self, observed: &Observed) -> Vec<Wanted> {
        let now = Instant::now();
        for entry in &mut self.queue {
            let is_listed =
                |slot: &&Slot| slot.disk.as_ref() == Some(&entry.disk) && !slot.held && !slot.leaving;
            let hangs =
                observed.state != State::Changing && observed.slots.iter().any(|slot| is_listed(&slot));
            entry.listed_since = if hangs { entry.listed_since.or(Some(now)) } else { None };
        }
        let claims = &self.inner.claims;
        // What a process before this one sent is as unknown to us as its end, unless we moved the disk since.
        let is_early = self.inner.versions.is_early(&self.vm);
        let is_unproven = |entry: &Entry| {
            let may_land = entry.want == Want::Detach && claims.may_land(&self.vm, &entry.disk);
            is_early && entry.updates == 0 || may_land
        };
        let wanted = |entry: &Entry| Wanted {
            disk: entry.disk.clone(),
            want: entry.want,
            is_unproven: is_unproven(entry),
            is_overdue: entry.listed_since.is_some_and(|since| now >= since + OVERDUE)
                && !self.may_be_used(&entry.disk),
        };
        self.queue.iter().map(wanted).collect()
    }
}

/// Whether the VM's model shows all of these disks.
fn lists_all(vm: &Vm, disks: &BTreeSet<DiskId>) -> bool {
    let listed: BTreeSet<DiskId> = vm.data_disks().iter().filter_map(azure::DataDisk::disk_id).collect();
    disks.is_subset(&listed)
}
