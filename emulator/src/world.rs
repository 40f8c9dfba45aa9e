//! Everything the emulated Azure remembers: plain data, saved as a whole.
//!
//! Owner: the [`crate::model::Model`] behind the emulator's one lock. Maps are keyed by the lower-case ARM id, because Azure
//! compares ids without case; the spelled id is kept inside. Invariant: a disk's `owners` are exactly the VMs
//! whose attached (not merely wanted) data disks name it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::addresses::Subnet;
use crate::arm::companions::Companion;
use crate::clock::Millis;
use crate::operation::Operation;
use crate::power::Power;

/// A lower-case ARM id.
pub(crate) type Key = String;

/// The key of an id.
pub(crate) fn key(id: &str) -> Key {
    id.to_lowercase()
}

/// The last segment of an id.
pub(crate) fn name_of(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// The resource group segment of an id, as spelled there.
pub(crate) fn group_of(id: &str) -> &str {
    id.split('/').nth(4).unwrap_or_default()
}

/// The whole model.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct World {
    /// Grows with every guid and operation: the source of uniqueness and of order.
    pub(crate) sequence: u64,
    /// Model time of the last save.
    pub(crate) clock: Millis,
    /// Keyed by lower-case name.
    pub(crate) groups: BTreeMap<String, Group>,
    pub(crate) disks: BTreeMap<Key, Disk>,
    pub(crate) snapshots: BTreeMap<Key, Snapshot>,
    /// Standalone and scale-set VMs alike.
    pub(crate) vms: BTreeMap<Key, Vm>,
    pub(crate) sets: BTreeMap<Key, ScaleSet>,
    /// Disk encryption sets and disk accesses.
    #[serde(default)]
    pub(crate) companions: BTreeMap<Key, Companion>,
    /// Microsoft.Network resources: stored and returned.
    pub(crate) network: BTreeMap<Key, Value>,
    /// Keyed by operation guid.
    pub(crate) operations: BTreeMap<String, Operation>,
}

/// A resource group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) location: String,
    pub(crate) tags: Value,
}

/// What `properties.provisioningState` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Provisioning {
    Creating,
    Updating,
    Deleting,
    Succeeded,
    Failed,
}

impl Provisioning {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// A managed disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) id: String,
    pub(crate) location: String,
    pub(crate) zones: Vec<String>,
    pub(crate) tags: Option<Value>,
    pub(crate) sku: String,
    pub(crate) size_gib: u64,
    /// Asked-for IOPS and MB/s; only SKUs that are bought by the number have them.
    pub(crate) iops: Option<u64>,
    pub(crate) mbps: Option<u64>,
    pub(crate) max_shares: u64,
    /// Performance tier above the size's own, such as `P30`.
    pub(crate) tier: Option<String>,
    pub(crate) creation: Map<String, Value>,
    /// Properties that are stored and returned.
    pub(crate) properties: Map<String, Value>,
    pub(crate) unique_id: String,
    pub(crate) created: String,
    pub(crate) state: Provisioning,
    /// Ids of the VMs that hold it.
    pub(crate) owners: Vec<String>,
    pub(crate) moved: Option<String>,
}

impl Disk {
    /// Logical sector size in bytes.
    pub(crate) fn sector(&self) -> u32 {
        let asked = self.creation.get("logicalSectorSize").and_then(Value::as_u64);
        asked.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(512)
    }

    /// Made with a VM, from its image; it has no bytes here.
    pub(crate) fn is_os_disk(&self) -> bool {
        self.properties.contains_key("osType")
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.size_gib << 30
    }
}

/// A snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) location: String,
    pub(crate) tags: Option<Value>,
    pub(crate) sku: String,
    pub(crate) is_incremental: bool,
    pub(crate) creation: Map<String, Value>,
    pub(crate) properties: Map<String, Value>,
    pub(crate) size_gib: u64,
    pub(crate) family_id: Option<String>,
    pub(crate) unique_id: String,
    pub(crate) created: String,
    pub(crate) state: Provisioning,
    /// When the background copy began and when it ends; `None` for instant snapshots.
    pub(crate) copy: Option<(Millis, Millis)>,
}

/// A VM of its own or of a scale set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Vm {
    pub(crate) id: String,
    pub(crate) location: String,
    pub(crate) zones: Vec<String>,
    pub(crate) tags: Option<Value>,
    pub(crate) size: String,
    /// `properties` apart from the data disks and what is computed.
    pub(crate) properties: Map<String, Value>,
    /// The goal: what the VM's model lists.
    pub(crate) disks: Vec<DataDisk>,
    pub(crate) guid: String,
    pub(crate) created: String,
    pub(crate) etag: u64,
    pub(crate) state: Provisioning,
    /// The operation that is bringing the goal about.
    pub(crate) running: Option<String>,
    /// What it does, what it is to do when the running operation ends, and since when it does it.
    #[serde(default)]
    pub(crate) power: Power,
    #[serde(default)]
    pub(crate) wanted_power: Power,
    #[serde(default)]
    pub(crate) switched: Option<String>,
    /// Number within a scale set.
    pub(crate) instance: Option<u64>,
    /// Where it speaks from when it asks for its metadata.
    #[serde(default)]
    pub(crate) addresses: Vec<Subnet>,
}

impl Vm {
    /// The name under which the machine itself, and its devices, are known.
    pub(crate) fn machine(&self) -> &str {
        let profile = self.properties.get("osProfile").filter(|_| self.set().is_some());
        match profile.and_then(|profile| profile["computerName"].as_str()) {
            Some(name) if !name.is_empty() => name,
            _ => name_of(&self.id),
        }
    }

    /// The id of the scale set that it belongs to, uniform or flexible.
    pub(crate) fn set(&self) -> Option<&str> {
        match self.instance {
            Some(_) => Some(self.id.rsplitn(3, '/').last().unwrap_or_default()),
            None => self.properties.get("virtualMachineScaleSet")?["id"].as_str(),
        }
    }
}

/// A data disk in a VM's model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataDisk {
    pub(crate) lun: u8,
    pub(crate) name: String,
    pub(crate) disk: String,
    pub(crate) caching: String,
    pub(crate) has_write_accelerator: bool,
    pub(crate) delete_option: String,
    pub(crate) encryption_set: Option<Value>,
    pub(crate) to_be_detached: bool,
    pub(crate) detach_option: Option<String>,
    /// Model time at which it was accepted that it be there.
    #[serde(default)]
    pub(crate) since: Millis,
    /// The disk is on the machine, not merely wanted there.
    pub(crate) is_attached: bool,
}

/// A scale set. `orchestrationMode` among its properties tells a flexible one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScaleSet {
    pub(crate) id: String,
    pub(crate) location: String,
    pub(crate) zones: Vec<String>,
    pub(crate) tags: Option<Value>,
    pub(crate) sku: String,
    pub(crate) capacity: u64,
    pub(crate) properties: Map<String, Value>,
    pub(crate) unique_id: String,
    pub(crate) created: String,
    pub(crate) etag: u64,
    pub(crate) state: Provisioning,
    /// Number of the next instance.
    pub(crate) next: u64,
}

impl ScaleSet {
    /// Its VMs are VMs like any other, and merely name it.
    pub(crate) fn is_flexible(&self) -> bool {
        self.properties.get("orchestrationMode").is_some_and(|mode| mode == "Flexible")
    }
}

impl World {
    /// Draws the next number of the one sequence.
    pub(crate) fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// The VMs of a scale set, uniform or flexible.
    pub(crate) fn instances<'a>(&'a self, set: &str) -> impl Iterator<Item = &'a Vm> {
        let wanted = key(set);
        self.vms.values().filter(move |vm| vm.set().is_some_and(|set| key(set) == wanted))
    }
}
