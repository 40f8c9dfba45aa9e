//! The passing of time: ends the operations that are due, in the order in which they are due.
//!
//! The only place that carries out an [`Effect`]. An attach is real (`managedBy`, disk state) only from here on, and a
//! detach likewise: until then the VM's model merely lists what is wanted.

use serde_json::Value;

use crate::arm::{companions, disks, snapshots};
use crate::clock::Millis;
use crate::fate::{Leaves, NEVER};
use crate::model::Model;
use crate::operation::{Effect, Operation, Stage};
use crate::refusal::Refusal;
use crate::tiers;
use crate::world::{Disk, Key, Provisioning, name_of};

/// Most ended operations that can still be polled; the older half goes when there are more.
const MOST_ENDED: usize = 400;

impl Model {
    /// Ends everything that is due by now.
    pub(crate) fn settle(&mut self) {
        let now = self.clock.now();
        self.world.clock = now;
        while let Some(id) = self.next_due(now) {
            self.finish(&id);
        }
        self.forget();
    }

    /// Forgets the operations that ended first, so that the saved model does not grow for ever.
    fn forget(&mut self) {
        if self.world.operations.len() <= MOST_ENDED {
            return;
        }
        let ended = |operation: &&Operation| !operation.is_running();
        let count = self.world.operations.values().filter(ended).count();
        if count <= MOST_ENDED {
            return;
        }
        let mut orders: Vec<u64> =
            self.world.operations.values().filter(ended).map(|operation| operation.order).collect();
        orders.sort_unstable();
        let oldest_kept = orders[count - MOST_ENDED / 2];
        self.world.operations.retain(|_, operation| operation.is_running() || operation.order >= oldest_kept);
    }

    /// When the next operation ends, if one runs.
    pub(crate) fn next_end(&self) -> Option<Millis> {
        self.world
            .operations
            .values()
            .filter(|operation| operation.is_running())
            .map(|operation| operation.due)
            .filter(|due| *due != NEVER)
            .min()
    }

    fn next_due(&self, now: Millis) -> Option<String> {
        let running =
            self.world.operations.values().filter(|operation| operation.is_running() && operation.due <= now);
        running.min_by_key(|operation| (operation.due, operation.order)).map(|operation| operation.id.clone())
    }

    fn finish(&mut self, id: &str) {
        let Some(operation) = self.world.operations.get(id).cloned() else { return };
        let Operation { effect, drawn, leaves, due, .. } = &operation;
        let stage = match drawn {
            Stage::Succeeded if *leaves == Leaves::Wanted => match self.apply(effect) {
                Ok(()) => Stage::Succeeded,
                Err(refusal) => {
                    self.fail(effect);
                    Stage::Failed { code: refusal.code, message: refusal.message }
                }
            },
            other => {
                self.leave(&operation);
                other.clone()
            }
        };
        let output = self.output(effect);
        let now = self.clock.stamp();
        if let Some(operation) = self.world.operations.get_mut(id) {
            operation.stage = stage;
            operation.ended = Some(now);
            operation.output = output;
        }
        self.remember(*due);
        self.is_dirty = true;
    }

    pub(crate) fn apply(&mut self, effect: &Effect) -> Result<(), Refusal> {
        match effect {
            Effect::CreateDisk(key) => self.create_disk(key)?,
            Effect::ChangeDisk(key, body) => self.change_disk(key, body)?,
            Effect::DeleteDisk(key) => self.delete_disk(key)?,
            Effect::CreateSnapshot(key) => self.set_snapshot_state(key, Provisioning::Succeeded),
            Effect::ChangeSnapshot(key, body) => {
                if let Some(snapshot) = self.world.snapshots.get_mut(key) {
                    snapshots::change(snapshot, body)?;
                    snapshot.state = Provisioning::Succeeded;
                }
            }
            Effect::DeleteSnapshot(key) => self.remove_snapshot(key)?,
            Effect::ApplyVm(key) => self.apply_vm(key)?,
            Effect::DeleteVm(key) => self.delete_vm(key),
            Effect::ApplySet(key) => self.apply_set(key)?,
            Effect::DeleteSet(key) => self.delete_set(key),
            Effect::ApplyCompanion(key) => self.set_companion_state(key, Provisioning::Succeeded),
            Effect::DeleteCompanion(key) => {
                self.world.companions.remove(key);
            }
            Effect::ApplyNetwork(key) => self.apply_network(key),
            Effect::DeleteNetwork(key) => {
                self.world.network.remove(key);
            }
            Effect::DeleteGroup(group) => self.delete_group(group),
        }
        Ok(())
    }

    /// What is left behind by an operation that did not succeed, unless the script says otherwise.
    pub(crate) fn fail(&mut self, effect: &Effect) {
        match effect {
            Effect::CreateDisk(key) => self.set_disk_state(key, Provisioning::Failed),
            // The disk itself is as it was.
            Effect::ChangeDisk(key, _) | Effect::DeleteDisk(key) => {
                self.set_disk_state(key, Provisioning::Succeeded);
            }
            Effect::ApplyVm(key) | Effect::DeleteVm(key) => {
                if let Some(vm) = self.world.vms.get_mut(key) {
                    vm.state = Provisioning::Failed;
                    vm.running = None;
                }
            }
            Effect::CreateSnapshot(key) => self.set_snapshot_state(key, Provisioning::Failed),
            Effect::ChangeSnapshot(key, _) | Effect::DeleteSnapshot(key) => {
                self.set_snapshot_state(key, Provisioning::Succeeded);
            }
            Effect::ApplySet(key) | Effect::DeleteSet(key) => {
                if let Some(set) = self.world.sets.get_mut(key) {
                    set.state = Provisioning::Failed;
                }
            }
            Effect::ApplyCompanion(key) => self.set_companion_state(key, Provisioning::Failed),
            Effect::DeleteCompanion(_)
            | Effect::ApplyNetwork(_)
            | Effect::DeleteNetwork(_)
            | Effect::DeleteGroup(_) => {}
        }
    }

    fn output(&self, effect: &Effect) -> Option<Value> {
        match effect {
            Effect::CreateDisk(key) | Effect::ChangeDisk(key, _) => {
                self.world.disks.get(key).map(|disk| disks::view(&self.world, disk))
            }
            Effect::CreateSnapshot(key) | Effect::ChangeSnapshot(key, _) => {
                self.world.snapshots.get(key).map(|snapshot| snapshots::view(&self.world, snapshot))
            }
            Effect::ApplyCompanion(key) => self.world.companions.get(key).map(companions::view),
            _ => None,
        }
    }

    fn set_disk_state(&mut self, key: &Key, state: Provisioning) {
        if let Some(disk) = self.world.disks.get_mut(key) {
            disk.state = state;
        }
    }

    fn set_companion_state(&mut self, key: &Key, state: Provisioning) {
        if let Some(companion) = self.world.companions.get_mut(key) {
            companion.state = state;
        }
    }

    fn set_snapshot_state(&mut self, key: &Key, state: Provisioning) {
        if let Some(snapshot) = self.world.snapshots.get_mut(key) {
            snapshot.state = state;
        }
    }

    /// A copy has its bytes since its accept.
    fn create_disk(&mut self, key: &Key) -> Result<(), Refusal> {
        let Some(disk) = self.world.disks.get(key) else { return Ok(()) };
        companions::check_key(&self.world, disk, None)?;
        if !disk.creation.contains_key("sourceUniqueId") {
            self.make_bytes(&disk.unique_id, disk.bytes())?;
        }
        self.set_disk_state(key, Provisioning::Succeeded);
        Ok(())
    }

    /// The rules are asked again: the disk may have been attached since the accept.
    fn change_disk(&mut self, key: &Key, body: &Value) -> Result<(), Refusal> {
        let Some(disk) = self.world.disks.get(key) else { return Ok(()) };
        let mut new = disks::changed(&self.world, disk, body)?;
        companions::check_key(&self.world, &new, None)?;
        new.state = Provisioning::Succeeded;
        if !disk.creation.contains_key("sourceUniqueId") && !disk.is_os_disk() {
            // A creation that failed may be asked for again.
            self.make_bytes(&disk.unique_id, disk.bytes())?;
        }
        if new.size_gib > disk.size_gib {
            self.grow_bytes(&new.unique_id, new.bytes())?;
            self.break_copies(&new);
        }
        self.world.disks.insert(key.clone(), new);
        Ok(())
    }

    /// Growing a disk that is bought by the number ends the snapshots of it that are still being copied.
    fn break_copies(&mut self, disk: &Disk) {
        let now = self.clock.now();
        if !tiers::family(&disk.sku).is_by_number() {
            return;
        }
        for snapshot in self.world.snapshots.values_mut() {
            if snapshot.source() == disk.unique_id && snapshot.copy.is_some_and(|(_, ends)| ends > now) {
                snapshot.state = Provisioning::Failed;
            }
        }
    }

    fn remove_snapshot(&mut self, key: &Key) -> Result<(), Refusal> {
        let Some(snapshot) = self.world.snapshots.get(key) else { return Ok(()) };
        self.drop_bytes(&snapshot.unique_id)?;
        self.world.snapshots.remove(key);
        Ok(())
    }

    fn delete_disk(&mut self, key: &Key) -> Result<(), Refusal> {
        let Some(disk) = self.world.disks.get(key) else { return Ok(()) };
        if let Some(owner) = disk.owners.first() {
            return Err(Refusal::not_allowed(format!(
                "Disk {} is attached to VM {owner}.",
                name_of(&disk.id)
            )));
        }
        self.drop_bytes(&disk.unique_id)?;
        self.world.disks.remove(key);
        Ok(())
    }
}
