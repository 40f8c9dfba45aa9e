//! What really happens to a VM: its goal carried out, its end.
//!
//! Only here does a disk get or lose an owner, and a device appear or go. Invariant: a disk is never on more VMs than
//! `maxShares` allows, whatever was accepted before.

use serde_json::{Map, Value, json};

use crate::arm::{attach, companions};
use crate::model::Model;
use crate::refusal::Refusal;
use crate::world::{DataDisk, Disk, Key, Provisioning, Vm, group_of, key};

impl Model {
    /// Adds a finished VM, with its OS disk and its device root.
    pub(crate) fn insert_vm(&mut self, vm: Vm) -> Result<(), Refusal> {
        self.add_machine(&vm)?;
        self.add_os_disk(&vm);
        self.world.vms.insert(key(&vm.id), vm);
        self.is_dirty = true;
        Ok(())
    }

    /// Brings the VM's goal about: first what leaves, then what comes.
    pub(crate) fn apply_vm(&mut self, vm_key: &Key) -> Result<(), Refusal> {
        // Taken out, so that disks and VM can be changed side by side.
        let Some(mut vm) = self.world.vms.remove(vm_key) else { return Ok(()) };
        let is_new = vm.state == Provisioning::Creating;
        let mut result = Ok(());
        if is_new {
            result = self.add_machine(&vm);
            self.add_os_disk(&vm);
        }
        let result = result.and(self.reach_goal(&mut vm, is_new));
        self.world.vms.insert(vm_key.clone(), vm);
        result
    }

    /// Every disk is tried; the first failure is told.
    fn reach_goal(&mut self, vm: &mut Vm, is_new: bool) -> Result<(), Refusal> {
        let mut result = self.switch_off(vm);
        let (changed, has_left) = self.change_disks(vm, usize::MAX);
        result = result.and(changed).and(self.switch_on(vm));
        if has_left || (is_new && vm.instance.is_none()) {
            vm.etag += 1;
        }
        vm.state = Provisioning::Succeeded;
        vm.running = None;
        result
    }

    /// Carries out the first `most` changes of a VM's disks and leaves the rest as wanted.
    pub(crate) fn apply_part(&mut self, vm_key: &Key, most: usize) -> Result<(), Refusal> {
        let Some(mut vm) = self.world.vms.remove(vm_key) else { return Ok(()) };
        let (result, has_left) = self.change_disks(&mut vm, most);
        vm.etag += u64::from(has_left);
        self.world.vms.insert(vm_key.clone(), vm);
        result
    }

    /// Moves at most `most` disks, and tells whether one left.
    fn change_disks(&mut self, vm: &mut Vm, mut most: usize) -> (Result<(), Refusal>, bool) {
        let mut result = Ok(());
        let mut has_left = false;
        let mut staying = Vec::new();
        for entry in std::mem::take(&mut vm.disks) {
            if !entry.to_be_detached || most == 0 {
                staying.push(entry);
                continue;
            }
            most -= 1;
            match self.unplug(vm, entry.lun) {
                Ok(()) => {
                    has_left = true;
                    self.disown(&entry, &vm.id);
                }
                Err(refusal) => {
                    result = result.and(Err(refusal));
                    staying.push(entry);
                }
            }
        }
        let coming = staying.iter_mut().filter(|entry| !entry.is_attached && !entry.to_be_detached);
        for entry in coming.take(most) {
            match self.own(vm, entry) {
                Ok(()) => entry.is_attached = true,
                Err(refusal) => result = result.and(Err(refusal)),
            }
        }
        vm.disks = staying;
        (result, has_left)
    }

    fn own(&mut self, vm: &Vm, entry: &DataDisk) -> Result<(), Refusal> {
        let now = self.clock.stamp();
        let missing = || Refusal::new(404, "NotFound", format!("Disk {} is not found.", entry.disk));
        let disk = self.world.disks.get(&key(&entry.disk)).ok_or_else(missing)?;
        attach::check_owners(vm, disk)?;
        companions::check_key(&self.world, disk, entry.encryption_set.as_ref())?;
        self.plug(vm, entry, disk)?;
        if let Some(disk) = self.world.disks.get_mut(&key(&entry.disk)) {
            disk.owners.push(vm.id.clone());
            disk.moved = Some(now);
        }
        Ok(())
    }

    fn disown(&mut self, entry: &DataDisk, vm: &str) {
        let now = self.clock.stamp();
        if let Some(disk) = self.world.disks.get_mut(&key(&entry.disk)) {
            disk.owners.retain(|owner| key(owner) != key(vm));
            disk.moved = Some(now);
        }
    }

    /// Removes a VM; its disks become free, or go with it where `deleteOption` says so.
    pub(crate) fn delete_vm(&mut self, vm_key: &Key) {
        let Some(vm) = self.world.vms.remove(vm_key) else { return };
        // A root that can't be removed is logged there and swept at the next start.
        let _ = self.remove_machine(&vm);
        for entry in &vm.disks {
            self.disown(entry, &vm.id);
            let goes_along = entry.delete_option == "Delete" && entry.is_attached;
            let found = self.world.disks.get(&key(&entry.disk));
            if let Some(disk) = found.filter(|disk| goes_along && disk.owners.is_empty()) {
                let _ = self.drop_bytes(&disk.unique_id);
                self.world.disks.remove(&key(&entry.disk));
            }
        }
        self.remove_os_disk(&vm);
        if let Some(set) = vm.set().and_then(|set| self.world.sets.get_mut(&key(set))) {
            set.capacity = set.capacity.saturating_sub(1);
        }
        self.is_dirty = true;
    }

    /// Removes a group and all that is in it.
    pub(crate) fn delete_group(&mut self, group: &str) {
        let inside = |key: &&Key| key.split('/').nth(4) == Some(group);
        let sets: Vec<Key> = self.world.sets.keys().filter(inside).cloned().collect();
        let vms: Vec<Key> = self.world.vms.keys().filter(inside).cloned().collect();
        for set in &sets {
            self.delete_set(set);
        }
        for vm in &vms {
            self.delete_vm(vm);
        }
        let disks = self.world.disks.iter().filter(|(key, disk)| inside(key) && disk.owners.is_empty());
        let snapshots = self.world.snapshots.iter().filter(|(key, _)| inside(key));
        let disks = disks.map(|(key, disk)| (key.clone(), disk.unique_id.clone()));
        let gone: Vec<(Key, String)> =
            disks.chain(snapshots.map(|(key, s)| (key.clone(), s.unique_id.clone()))).collect();
        for (key, bytes) in gone {
            let _ = self.drop_bytes(&bytes);
            self.world.disks.remove(&key);
            self.world.snapshots.remove(&key);
        }
        self.world.companions.retain(|key, _| !inside(&key));
        self.world.network.retain(|key, _| !inside(&key));
        self.world.groups.remove(group);
    }

    /// The disk resource of a managed OS disk; an ephemeral one has none.
    fn add_os_disk(&mut self, vm: &Vm) {
        let Some((id, os_disk)) = os_disk(vm) else { return };
        let mut properties = Map::new();
        properties.insert("osType".to_owned(), os_disk["osType"].clone());
        properties.insert("hyperVGeneration".to_owned(), json!("V2"));
        properties.insert("encryption".to_owned(), json!({ "type": "EncryptionAtRestWithPlatformKey" }));
        let disk = Disk {
            id: id.clone(),
            location: vm.location.clone(),
            zones: vm.zones.clone(),
            tags: None,
            sku: os_disk["managedDisk"]["storageAccountType"].as_str().unwrap_or("Premium_LRS").to_owned(),
            size_gib: os_disk["diskSizeGB"].as_u64().unwrap_or(30),
            iops: None,
            mbps: None,
            max_shares: 1,
            tier: None,
            creation: Map::from_iter([("createOption".to_owned(), json!("FromImage"))]),
            properties,
            unique_id: self.guid(),
            created: self.clock.stamp(),
            state: Provisioning::Succeeded,
            owners: vec![vm.id.clone()],
            moved: None,
        };
        self.world.disks.insert(key(&id), disk);
    }

    /// An instance's OS disk goes with it; another one stays unless `deleteOption` says otherwise.
    fn remove_os_disk(&mut self, vm: &Vm) {
        let Some((id, os_disk)) = os_disk(vm) else { return };
        if vm.instance.is_some() || os_disk["deleteOption"] == "Delete" {
            self.world.disks.remove(&key(&id));
        } else if let Some(disk) = self.world.disks.get_mut(&key(&id)) {
            disk.owners.retain(|owner| key(owner) != key(&vm.id));
        }
    }
}

/// Id and description of a VM's managed OS disk.
fn os_disk(vm: &Vm) -> Option<(String, Value)> {
    let disk = vm.properties.get("storageProfile")?.get("osDisk")?;
    let name = disk["name"].as_str().filter(|_| disk["diffDiskSettings"].is_null())?;
    let subscription = vm.id.split('/').nth(2)?;
    let group = group_of(&vm.id);
    let id = format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/disks/{name}"
    );
    Some((id, disk.clone()))
}
