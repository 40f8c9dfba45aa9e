//! The passing of time: ends the operations that are due, in the order in which they are due.
//!
//! The only place that carries out an [`Effect`]. An attach is real (`managedBy`, disk state) only from here on, and a
//! detach likewise: until then the VM's model merely lists what is wanted.

use serde_json::Value;

use crate::arm::{attach, disks};
use crate::clock::Millis;
use crate::model::Model;
use crate::operation::{Effect, Operation, Stage};
use crate::refusal::Refusal;
use crate::world::{Key, Provisioning, Vm, key};

impl Model {
    /// Ends everything that is due by now.
    pub(crate) fn settle(&mut self) {
        let now = self.clock.now();
        self.world.clock = now;
        while let Some(id) = self.next_due(now) {
            self.finish(&id);
        }
    }

    /// When the next operation ends, if one runs.
    pub(crate) fn next_end(&self) -> Option<Millis> {
        self.world
            .operations
            .values()
            .filter(|operation| operation.is_running())
            .map(|operation| operation.due)
            .min()
    }

    fn next_due(&self, now: Millis) -> Option<String> {
        let running =
            self.world.operations.values().filter(|operation| operation.is_running() && operation.due <= now);
        running.min_by_key(|operation| (operation.due, operation.order)).map(|operation| operation.id.clone())
    }

    fn finish(&mut self, id: &str) {
        let Some(Operation { effect, drawn, .. }) = self.world.operations.get(id).cloned() else { return };
        let stage = match drawn {
            Stage::Succeeded => match self.apply(&effect) {
                Ok(()) => Stage::Succeeded,
                Err(refusal) => Stage::Failed { code: refusal.code, message: refusal.message },
            },
            other => other,
        };
        if stage != Stage::Succeeded {
            self.fail(&effect);
        }
        let output = self.output(&effect);
        let now = self.clock.stamp();
        if let Some(operation) = self.world.operations.get_mut(id) {
            operation.stage = stage;
            operation.ended = Some(now);
            operation.output = output;
        }
        self.is_dirty = true;
    }

    fn apply(&mut self, effect: &Effect) -> Result<(), Refusal> {
        match effect {
            Effect::CreateDisk(key) => self.set_disk_state(key, Provisioning::Succeeded),
            Effect::ChangeDisk(key, body) => self.change_disk(key, body)?,
            Effect::DeleteDisk(key) => self.delete_disk(key)?,
            Effect::ApplyVm(key) => self.apply_vm(key)?,
            Effect::DeleteVm(key) => self.delete_vm(key),
            Effect::DeleteGroup(group) => self.delete_group(group),
        }
        Ok(())
    }

    /// What is left behind by an operation that did not succeed.
    fn fail(&mut self, effect: &Effect) {
        match effect {
            Effect::CreateDisk(key) => self.set_disk_state(key, Provisioning::Failed),
            // The disk itself is as it was.
            Effect::ChangeDisk(key, _) | Effect::DeleteDisk(key) => {
                self.set_disk_state(key, Provisioning::Succeeded)
            }
            Effect::ApplyVm(key) | Effect::DeleteVm(key) => {
                if let Some(vm) = self.world.vms.get_mut(key) {
                    vm.state = Provisioning::Failed;
                    vm.running = None;
                }
            }
            Effect::DeleteGroup(_) => {}
        }
    }

    fn output(&self, effect: &Effect) -> Option<Value> {
        match effect {
            Effect::CreateDisk(key) | Effect::ChangeDisk(key, _) => {
                self.world.disks.get(key).map(|disk| disks::view(&self.world, disk))
            }
            _ => None,
        }
    }

    fn set_disk_state(&mut self, key: &Key, state: Provisioning) {
        if let Some(disk) = self.world.disks.get_mut(key) {
            disk.state = state;
        }
    }

    /// The rules are asked again: the disk may have been attached since the accept.
    fn change_disk(&mut self, key: &Key, body: &Value) -> Result<(), Refusal> {
        let Some(disk) = self.world.disks.get(key) else { return Ok(()) };
        let mut new = disks::changed(&self.world, disk, body)?;
        new.state = Provisioning::Succeeded;
        self.world.disks.insert(key.clone(), new);
        Ok(())
    }

    fn delete_disk(&mut self, key: &Key) -> Result<(), Refusal> {
        let owner = self.world.disks.get(key).and_then(|disk| disk.owners.first());
        if let Some(owner) = owner {
            return Err(Refusal::not_allowed(format!("Disk is attached to VM {owner}.")));
        }
        self.world.disks.remove(key);
        Ok(())
    }

    /// Brings the VM's goal about: first what leaves, then what comes.
    fn apply_vm(&mut self, vm_key: &Key) -> Result<(), Refusal> {
        let Some(mut vm) = self.world.vms.remove(vm_key) else { return Ok(()) };
        let result = self.reach_goal(&mut vm);
        self.world.vms.insert(vm_key.clone(), vm);
        result
    }

    fn reach_goal(&mut self, vm: &mut Vm) -> Result<(), Refusal> {
        let now = self.clock.stamp();
        let (leaving, mut staying): (Vec<_>, Vec<_>) =
            std::mem::take(&mut vm.disks).into_iter().partition(|entry| entry.to_be_detached);
        let has_left = !leaving.is_empty();
        for entry in leaving {
            if let Some(disk) = self.world.disks.get_mut(&key(&entry.disk)) {
                disk.owners.retain(|owner| key(owner) != key(&vm.id));
                disk.moved = Some(now.clone());
            }
        }
        let mut result = Ok(());
        for entry in staying.iter_mut().filter(|entry| !entry.is_attached) {
            match self.world.disks.get_mut(&key(&entry.disk)) {
                None => {
                    result = Err(Refusal::new(404, "NotFound", format!("Disk {} is not found.", entry.disk)))
                }
                Some(disk) => match attach::check_owners(vm, disk) {
                    Err(refusal) => result = Err(refusal),
                    Ok(()) => {
                        disk.owners.push(vm.id.clone());
                        disk.moved = Some(now.clone());
                        entry.is_attached = true;
                    }
                },
            }
        }
        vm.disks = staying;
        if has_left || vm.state == Provisioning::Creating && vm.instance.is_none() {
            vm.etag += 1;
        }
        vm.state = Provisioning::Succeeded;
        vm.running = None;
        result
    }

    /// Removes a VM; its disks become free, or go with it where `deleteOption` says so.
    pub(crate) fn delete_vm(&mut self, vm_key: &Key) {
        let Some(vm) = self.world.vms.remove(vm_key) else { return };
        let now = self.clock.stamp();
        for entry in &vm.disks {
            let disk_key = key(&entry.disk);
            if let Some(disk) = self.world.disks.get_mut(&disk_key) {
                disk.owners.retain(|owner| key(owner) != *vm_key);
                disk.moved = Some(now.clone());
            }
            if entry.delete_option == "Delete" && entry.is_attached {
                self.world.disks.remove(&disk_key);
            }
        }
        self.is_dirty = true;
    }

    fn delete_group(&mut self, group: &str) {
        let inside = |key: &Key| key.split('/').nth(4) == Some(group);
        let vms: Vec<Key> = self.world.vms.keys().filter(|key| inside(key)).cloned().collect();
        for vm in &vms {
            self.delete_vm(vm);
        }
        self.world.disks.retain(|key, _| !inside(key));
        self.world.groups.remove(group);
    }
}
