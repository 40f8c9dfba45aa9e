//! Seeding and looking: what a test puts into the emulator, and reads out of it, without going through ARM.

use serde_json::{Map, Value, json};

use crate::Emulator;
use crate::arm::{disks, vm_body, vms};
use crate::world::{Group, Provisioning, Vm, key};

/// Why something can't be seeded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SeedError {
    /// The resource group does not exist.
    #[error("there is no resource group '{0}'")]
    NoGroup(String),
    /// The size is not in the emulator's table.
    #[error("there is no VM size '{0}'")]
    NoSize(String),
}

impl Emulator {
    /// Adds a resource group, if it is not there.
    pub fn add_group(&self, name: &str) {
        let mut model = self.lock();
        let group = Group { name: name.to_owned(), location: model.location.clone(), tags: json!({}) };
        model.world.groups.entry(key(name)).or_insert(group);
        model.is_dirty = true;
    }

    /// Adds a running Linux VM to the first resource group of the options, with an ephemeral OS disk (so that it
    /// brings no disk resource). `zone` is `1`, `2`, `3`, or empty for none. Answers its ARM id.
    pub fn add_vm(&self, name: &str, size: &str, zone: &str) -> Result<String, SeedError> {
        let group = self.lock().default_group.clone();
        self.add_vm_in(&group, name, size, zone)
    }

    /// As [`Emulator::add_vm`], in a resource group of choice.
    pub fn add_vm_in(&self, group: &str, name: &str, size: &str, zone: &str) -> Result<String, SeedError> {
        let mut model = self.lock();
        if model.group(group).is_err() {
            return Err(SeedError::NoGroup(group.to_owned()));
        }
        let id = model.id(group, "Microsoft.Compute", "virtualMachines", name);
        let body = json!({ "properties": {
            "hardwareProfile": { "vmSize": size },
            "storageProfile": {
                "imageReference": { "publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": "latest" },
                "osDisk": { "createOption": "FromImage", "caching": "ReadOnly", "diffDiskSettings": { "option": "Local" } },
            },
            "osProfile": { "computerName": name, "adminUsername": "azureuser" },
            "networkProfile": { "networkInterfaces": [] },
        }});
        let Ok((size, properties)) = vm_body::create(name, &body) else {
            return Err(SeedError::NoSize(size.to_owned()));
        };
        let vm = Vm {
            id: id.clone(),
            location: model.location.clone(),
            zones: Some(zone).filter(|zone| !zone.is_empty()).map(str::to_owned).into_iter().collect(),
            tags: None,
            size,
            properties,
            disks: Vec::new(),
            vm_id: model.guid(),
            created: model.clock.stamp(),
            etag: 1,
            state: Provisioning::Succeeded,
            running: None,
            is_deallocated: false,
            instance: None,
        };
        model.world.vms.insert(key(&id), vm);
        model.is_dirty = true;
        Ok(id)
    }

    /// Removes a VM at once, by id or by name, as if its host had been taken away. False if there is none.
    pub fn delete_vm(&self, vm: &str) -> bool {
        self.lock().vanish(vm)
    }

    /// The disk with this id as GET shows it.
    pub fn disk(&self, id: &str) -> Option<Value> {
        let mut model = self.lock();
        model.settle();
        model.world.disks.get(&key(id)).map(|disk| disks::view(&model.world, disk))
    }

    /// All disks as GET shows them.
    pub fn disks(&self) -> Vec<Value> {
        let mut model = self.lock();
        model.settle();
        model.world.disks.values().map(|disk| disks::view(&model.world, disk)).collect()
    }

    /// The VM with this id as GET shows it.
    pub fn vm(&self, id: &str) -> Option<Value> {
        let mut model = self.lock();
        model.settle();
        model.world.vms.get(&key(id)).map(|vm| vms::view(&model.world, vm))
    }

    /// Which disks are on which VM now: VM id → LUN → disk id. What is merely wanted is not in it.
    pub fn attached(&self) -> Map<String, Value> {
        let mut model = self.lock();
        model.settle();
        let vms = model.world.vms.values();
        vms.map(|vm| {
            let disks = vm.disks.iter().filter(|entry| entry.is_attached);
            let luns = disks.map(|entry| (entry.lun.to_string(), json!(entry.disk))).collect();
            (vm.id.clone(), Value::Object(luns))
        })
        .collect()
    }
}
