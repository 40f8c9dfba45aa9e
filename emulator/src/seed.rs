//! Seeding and looking: what a test puts into the emulator, and reads out of it, without going through ARM.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Emulator;
use crate::addresses::Subnet;
use crate::arm::companions::{Kind, Rights};
use crate::arm::{disks, snapshots, vm_body, vms};
use crate::faults::Fault;
use crate::latency::Latency;
use crate::log::LoggedRequest;
use crate::model::Model;
use crate::power::Power;
use crate::races::Races;
use crate::world::{Group, Provisioning, ScaleSet, Vm, key};

/// Why something can't be seeded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SeedError {
    /// The resource group does not exist.
    #[error("there is no resource group '{0}'")]
    NoGroup(String),
    /// The size is not in the emulator's table.
    #[error("there is no VM size '{0}'")]
    NoSize(String),
    /// Something of this name is there already.
    #[error("'{0}' exists")]
    Exists(String),
    /// There is no VM of this id or machine name.
    #[error("there is no VM '{0}'")]
    NoVm(String),
    /// Two VMs can't speak from the same addresses.
    #[error("{subnet} belongs to {vm}")]
    Taken {
        /// The addresses.
        subnet: String,
        /// Whose they are.
        vm: String,
    },
    /// Its device root could not be made, or the model not be saved.
    #[error("{0}")]
    Failed(String),
}

/// A scale set to seed, also as the control endpoint reads it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSet {
    pub(crate) name: String,
    prefix: String,
    size: String,
    #[serde(default)]
    zones: Vec<String>,
    capacity: u64,
    #[serde(default)]
    flexible: bool,
    /// The first group if absent.
    pub(crate) group: Option<String>,
}

impl NewSet {
    fn of(name: &str, prefix: &str, size: &str, zones: &[&str], capacity: u64, flexible: bool) -> Self {
        Self {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            size: size.to_owned(),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            capacity,
            flexible,
            group: None,
        }
    }
}

impl Emulator {
    /// Adds a resource group, if it is not there.
    pub fn add_group(&self, name: &str) {
        self.lock().seed_group(name);
    }

    /// Adds a running Linux VM to the first resource group of the options, with an ephemeral OS disk (so that it
    /// brings no disk resource). `zone` is `1`, `2`, `3`, or empty for none. Answers its ARM id.
    pub fn add_vm(&self, name: &str, size: &str, zone: &str) -> Result<String, SeedError> {
        let mut model = self.lock();
        let group = model.default_group.clone();
        model.seed_vm(&group, name, size, zone)
    }

    /// As [`Emulator::add_vm`], in a resource group of choice.
    pub fn add_vm_in(&self, group: &str, name: &str, size: &str, zone: &str) -> Result<String, SeedError> {
        self.lock().seed_vm(group, name, size, zone)
    }

    /// Adds a uniform scale set of `capacity` running VMs to the first resource group. Instance `n` is in zone
    /// `zones[n % len]`; its computer is called `prefix` + six digits of base 36. Answers the ids of the VMs.
    pub fn add_scale_set(
        &self,
        name: &str,
        prefix: &str,
        size: &str,
        zones: &[&str],
        capacity: u64,
    ) -> Result<Vec<String>, SeedError> {
        self.lock().seed_set(NewSet::of(name, prefix, size, zones, capacity, false))
    }

    /// Adds a flexible scale set of `capacity` running VMs, which are VMs of their own: called `name_` and eight
    /// hexadecimal digits, with computers called `prefix` and six capitals or digits. Answers the ids of the VMs.
    pub fn add_flexible_scale_set(
        &self,
        name: &str,
        prefix: &str,
        size: &str,
        zones: &[&str],
        capacity: u64,
    ) -> Result<Vec<String>, SeedError> {
        self.lock().seed_set(NewSet::of(name, prefix, size, zones, capacity, true))
    }

    /// Adds a disk encryption set to the first resource group; `location` may be empty for the options' own. Answers its
    /// ARM id.
    pub fn add_encryption_set(&self, name: &str, location: &str) -> Result<String, SeedError> {
        self.lock().seed_first(Kind::EncryptionSet, name, location)
    }

    /// Adds a disk access, as [`Emulator::add_encryption_set`] does.
    pub fn add_disk_access(&self, name: &str, location: &str) -> Result<String, SeedError> {
        self.lock().seed_first(Kind::DiskAccess, name, location)
    }

    /// Says what may be done with a disk encryption set or disk access. False if there is none of this id.
    pub fn set_rights(&self, id: &str, rights: Rights) -> bool {
        self.lock().set_rights(id, rights)
    }

    /// Lets a VM, named by id or machine name, speak from these addresses and no others: by them the metadata
    /// listener ([`crate::Door::metadata`]) tells who asks.
    pub fn set_addresses(&self, vm: &str, subnets: &[Subnet]) -> Result<(), SeedError> {
        let mut model = self.lock();
        model.set_addresses(vm, subnets)?;
        model.saved()
    }

    /// Whether a VM of this id or machine name exists.
    pub fn has_vm(&self, vm: &str) -> bool {
        self.lock().find_vm(vm).is_some()
    }

    /// Removes a VM at once, by id or by machine name, as if its host had been taken away. False if there is none.
    pub fn delete_vm(&self, vm: &str) -> bool {
        self.lock().vanish(vm)
    }

    /// The disk with this id as GET shows it.
    pub fn disk(&self, id: &str) -> Option<Value> {
        let model = self.settled();
        model.world.disks.get(&key(id)).map(|disk| disks::view(&model.world, disk))
    }

    /// All data disks as GET shows them.
    pub fn disks(&self) -> Vec<Value> {
        let model = self.settled();
        let disks = model.world.disks.values().filter(|disk| !disk.is_os_disk());
        disks.map(|disk| disks::view(&model.world, disk)).collect()
    }

    /// All snapshots as GET shows them.
    pub fn snapshots(&self) -> Vec<Value> {
        let model = self.settled();
        model.world.snapshots.values().map(|snapshot| snapshots::view(&model.world, snapshot)).collect()
    }

    /// The VM with this id as GET shows it.
    pub fn vm(&self, id: &str) -> Option<Value> {
        let model = self.settled();
        model.world.vms.get(&key(id)).map(|vm| vms::view(&model.world, vm))
    }

    /// Which disks are on which VM now: VM id → LUN → disk id. What is merely wanted is not in it.
    pub fn attached(&self) -> Map<String, Value> {
        self.settled().attached()
    }

    /// Scripts a fault.
    pub fn script(&self, fault: Fault) {
        self.lock().add_fault(fault);
    }

    /// Removes all scripted faults.
    pub fn clear_faults(&self) {
        self.lock().script.faults.clear();
    }

    /// The ARM requests since the start or the last reset.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.lock().log.entries.iter().cloned().collect()
    }

    /// Empties the request log; the next request is number 1.
    pub fn reset_requests(&self) {
        self.lock().log.reset();
    }

    /// Durations of what is accepted from now on.
    pub fn set_latency(&self, latency: Latency) {
        self.lock().latency = latency;
    }

    /// When writes collide, from now on.
    pub fn set_races(&self, races: Races) {
        self.lock().races = races;
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, Model> {
        let mut model = self.lock();
        model.settle();
        model
    }
}

impl Model {
    fn seed_first(&mut self, kind: Kind, name: &str, location: &str) -> Result<String, SeedError> {
        let group = self.default_group.clone();
        let id = self.id(&group, "Microsoft.Compute", kind.word(), name);
        if !self.seed_companion(kind, &id, location) {
            return Err(SeedError::NoGroup(group));
        }
        self.saved()?;
        Ok(id)
    }

    pub(crate) fn seed_group(&mut self, name: &str) {
        let group = Group { name: name.to_owned(), location: self.location.clone(), tags: json!({}) };
        self.world.groups.entry(key(name)).or_insert(group);
        self.is_dirty = true;
    }

    pub(crate) fn seed_vm(
        &mut self,
        group: &str,
        name: &str,
        size: &str,
        zone: &str,
    ) -> Result<String, SeedError> {
        self.demand_group(group)?;
        let id = self.id(group, "Microsoft.Compute", "virtualMachines", name);
        if self.world.vms.contains_key(&key(&id)) {
            return Err(SeedError::Exists(id));
        }
        let mut storage = image();
        storage["osDisk"] = json!({
            "createOption": "FromImage", "caching": "ReadOnly", "diffDiskSettings": { "option": "Local" },
        });
        let body = json!({ "properties": {
            "hardwareProfile": { "vmSize": size },
            "storageProfile": storage,
            "osProfile": { "computerName": name, "adminUsername": "azureuser" },
            "networkProfile": { "networkInterfaces": [] },
        }});
        let (size, properties) =
            vm_body::create(name, &body).map_err(|_| SeedError::NoSize(size.to_owned()))?;
        let vm = Vm {
            id: id.clone(),
            location: self.location.clone(),
            zones: Some(zone).filter(|zone| !zone.is_empty()).map(str::to_owned).into_iter().collect(),
            tags: None,
            size,
            properties,
            disks: Vec::new(),
            guid: self.guid(),
            created: self.clock.stamp(),
            etag: 1,
            state: Provisioning::Succeeded,
            running: None,
            power: Power::Running,
            wanted_power: Power::Running,
            switched: None,
            instance: None,
            addresses: Vec::new(),
        };
        self.insert_vm(vm).map_err(|refusal| SeedError::Failed(refusal.message))?;
        self.saved()?;
        Ok(id)
    }

    pub(crate) fn seed_set(&mut self, asked: NewSet) -> Result<Vec<String>, SeedError> {
        let NewSet { name, prefix, size, zones, capacity, flexible, group } = asked;
        let group = group.unwrap_or_else(|| self.default_group.clone());
        self.demand_group(&group)?;
        let id = self.id(&group, "Microsoft.Compute", "virtualMachineScaleSets", &name);
        if self.world.sets.contains_key(&key(&id)) {
            return Err(SeedError::Exists(id));
        }
        let size = vm_body::known_size(&size).map_err(|_| SeedError::NoSize(size))?;
        let mut storage = image();
        storage["osDisk"] = json!({
            "osType": "Linux", "createOption": "FromImage", "caching": "ReadOnly", "diskSizeGB": 30,
            "managedDisk": { "storageAccountType": "Standard_LRS" }, "diffDiskSettings": { "option": "Local" },
        });
        let mut properties = Map::new();
        let mode = if flexible { "Flexible" } else { "Uniform" };
        properties.insert("orchestrationMode".to_owned(), json!(mode));
        properties.insert("singlePlacementGroup".to_owned(), json!(!flexible));
        let profile = json!({
            "osProfile": { "computerNamePrefix": prefix, "adminUsername": "azureuser" },
            "storageProfile": storage,
            "networkProfile": { "networkInterfaceConfigurations": [{ "name": "nic", "properties": { "primary": true } }] },
        });
        properties.insert("virtualMachineProfile".to_owned(), profile);
        let set = ScaleSet {
            id: id.clone(),
            location: self.location.clone(),
            zones,
            tags: None,
            sku: size,
            capacity,
            properties,
            unique_id: self.guid(),
            created: self.clock.stamp(),
            etag: 1,
            state: Provisioning::Succeeded,
            next: 0,
        };
        self.world.sets.insert(key(&id), set);
        self.apply_set(&key(&id)).map_err(|refusal| SeedError::Failed(refusal.message))?;
        self.is_dirty = true;
        self.saved()?;
        Ok(self.world.instances(&id).map(|vm| vm.id.clone()).collect())
    }

    pub(crate) fn attached(&self) -> Map<String, Value> {
        let vms = self.world.vms.values();
        vms.map(|vm| {
            let disks = vm.disks.iter().filter(|entry| entry.is_attached);
            let luns = disks.map(|entry| (entry.lun.to_string(), json!(entry.disk))).collect();
            (vm.id.clone(), Value::Object(luns))
        })
        .collect()
    }

    pub(crate) fn addresses(&self) -> Map<String, Value> {
        self.world.vms.values().map(|vm| (vm.id.clone(), json!(vm.addresses))).collect()
    }

    fn demand_group(&self, group: &str) -> Result<(), SeedError> {
        self.group(group).map(|_| ()).map_err(|_| SeedError::NoGroup(group.to_owned()))
    }

    fn saved(&mut self) -> Result<(), SeedError> {
        self.save_if_dirty().map_err(|error| SeedError::Failed(error.to_string()))
    }
}

fn image() -> Value {
    json!({ "imageReference": {
        "publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": "latest",
    }})
}
