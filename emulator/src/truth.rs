//! What is so, as plain data and without JSON: for a test that judges a client thousands of times a second.
//!
//! Reading it changes nothing that a client can see: it ends what is due by now, as the next request would.

use crate::Emulator;
use crate::world::{Disk, Vm};

/// Everything about disks and VMs that a client could be wrong about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// Every VM that exists, in the order of their ids.
    pub vms: Vec<VmTruth>,
    /// The ARM id of every data disk that exists, in order.
    pub disks: Vec<String>,
}

/// One VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmTruth {
    /// ARM id, as spelled at its creation.
    pub id: String,
    /// What its model lists, whatever became of it.
    pub disks: Vec<ListedDisk>,
}

/// A data disk in a VM's model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDisk {
    /// Its slot.
    pub lun: u8,
    /// ARM id.
    pub disk: String,
    /// It is on the machine, not merely wanted there.
    pub is_held: bool,
    /// `toBeDetached`: it is going, or stuck while going.
    pub is_leaving: bool,
}

impl Emulator {
    /// What is so now.
    pub fn truth(&self) -> Truth {
        let mut model = self.lock();
        model.settle();
        let world = &model.world;
        let disks = world.disks.values().filter(|disk| !disk.is_os_disk());
        Truth {
            vms: world.vms.values().map(VmTruth::of).collect(),
            disks: disks.map(|disk: &Disk| disk.id.clone()).collect(),
        }
    }
}

impl VmTruth {
    fn of(vm: &Vm) -> Self {
        let listed = vm.disks.iter().map(|entry| ListedDisk {
            lun: entry.lun,
            disk: entry.disk.clone(),
            is_held: entry.is_attached,
            is_leaving: entry.to_be_detached,
        });
        Self { id: vm.id.clone(), disks: listed.collect() }
    }
}
