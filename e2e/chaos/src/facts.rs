//! What is so in Azure at one moment, in short names.

use std::collections::BTreeSet;

use azure_emulator::Truth;

use crate::names::{DiskName, Names, VmNo, VolumeNo, disk_name};

/// Azure's truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The VMs of the world that exist.
    pub vms: BTreeSet<VmNo>,
    /// ARM ids of VMs and disks that nobody of this world should have made.
    pub strangers: Vec<String>,
    /// What the VMs' models list, in the order of VM and model.
    pub entries: Vec<Entry>,
    /// The volumes whose disk exists.
    pub volumes: BTreeSet<VolumeNo>,
}

/// A disk in the model of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Which VM.
    pub vm: VmNo,
    /// Its slot there.
    pub lun: u8,
    /// Which disk.
    pub disk: DiskName,
    /// It is on the machine, not merely wanted there.
    pub is_held: bool,
    /// It is on its way out.
    pub is_leaving: bool,
}

impl Facts {
    /// The same in short names.
    pub(crate) fn of(truth: &Truth, names: &Names) -> Facts {
        let mut facts = Facts::default();
        for vm in &truth.vms {
            let Some(number) = names.vm(&vm.id) else {
                facts.strangers.push(vm.id.clone());
                continue;
            };
            facts.vms.insert(number);
            for one in &vm.disks {
                let Some(disk) = disk_name(&one.disk) else {
                    facts.strangers.push(one.disk.clone());
                    continue;
                };
                let (is_held, is_leaving) = (one.is_held, one.is_leaving);
                facts.entries.push(Entry { vm: number, lun: one.lun, disk, is_held, is_leaving });
            }
        }
        for disk in &truth.disks {
            match disk_name(disk) {
                Some(DiskName::Ours(volume)) => {
                    facts.volumes.insert(volume);
                }
                Some(DiskName::Foreign(_)) => {}
                None => facts.strangers.push(disk.clone()),
            }
        }
        facts
    }

    /// The entry of `disk` in the model of `vm`.
    pub fn entry(&self, vm: VmNo, disk: DiskName) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.vm == vm && entry.disk == disk)
    }
}
