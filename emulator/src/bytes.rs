//! The bytes behind the model: what the model decides, carried out on block devices where there are any.
//!
//! Without devices every call here succeeds and does nothing. A call that fails makes its operation fail, never the
//! emulator. Each call may be repeated, so an operation that a crash cut short is simply ended again.

use crate::devices::{DevicesError, VmDevices};
use crate::model::Model;
use crate::operation::Stage;
use crate::refusal::Refusal;
use crate::world::{DataDisk, Disk, Vm, key};

fn failed(error: &DevicesError) -> Refusal {
    tracing::error!(%error, "a block device could not be changed");
    Refusal::new(500, "InternalOperationError", error.to_string())
}

impl Model {
    /// Makes an empty disk's bytes.
    pub(crate) fn make_bytes(&self, disk: &str, bytes: u64) -> Result<(), Refusal> {
        self.devices
            .as_ref()
            .map_or(Ok(()), |devices| devices.create(disk, bytes))
            .map_err(|error| failed(&error))
    }

    /// Copies the bytes of a point in time.
    pub(crate) fn copy_bytes(&self, from: &str, to: &str, bytes: u64) -> Result<(), Refusal> {
        self.devices
            .as_ref()
            .map_or(Ok(()), |devices| devices.copy(from, to, bytes))
            .map_err(|error| failed(&error))
    }

    /// Grows a disk, attached or not.
    pub(crate) fn grow_bytes(&self, disk: &str, bytes: u64) -> Result<(), Refusal> {
        self.devices
            .as_ref()
            .map_or(Ok(()), |devices| devices.resize(disk, bytes))
            .map_err(|error| failed(&error))
    }

    /// Removes a disk's or a snapshot's bytes.
    pub(crate) fn drop_bytes(&self, disk: &str) -> Result<(), Refusal> {
        self.devices.as_ref().map_or(Ok(()), |devices| devices.delete(disk)).map_err(|error| failed(&error))
    }

    /// Shows a disk to its VM, if that is on.
    pub(crate) fn plug(&self, vm: &Vm, entry: &DataDisk, disk: &Disk) -> Result<(), Refusal> {
        let Some(devices) = self.devices.as_ref().filter(|_| vm.power.is_on()) else { return Ok(()) };
        let cached = entry.caching == "ReadOnly";
        let plugged = devices.attach(vm.machine(), entry.lun, &disk.unique_id, disk.sector(), cached);
        plugged.map_err(|error| failed(&error))
    }

    /// Takes a disk away from its VM.
    pub(crate) fn unplug(&self, vm: &Vm, lun: u8) -> Result<(), Refusal> {
        self.devices
            .as_ref()
            .map_or(Ok(()), |devices| devices.detach(vm.machine(), lun))
            .map_err(|error| failed(&error))
    }

    /// Makes a VM's device root.
    pub(crate) fn add_machine(&self, vm: &Vm) -> Result<(), Refusal> {
        self.devices
            .as_ref()
            .map_or(Ok(()), |devices| devices.add_vm(vm.machine()))
            .map_err(|error| failed(&error))
    }

    /// Removes a VM's device root.
    pub(crate) fn remove_machine(&self, vm: &Vm) -> Result<(), Refusal> {
        self.devices
            .as_ref()
            .map_or(Ok(()), |devices| devices.remove_vm(vm.machine()))
            .map_err(|error| failed(&error))
    }

    /// The VMs and their attached disks, as the devices must be.
    pub(crate) fn machines(&self) -> Vec<VmDevices> {
        let disks = |vm: &Vm| {
            let attached = vm.disks.iter().filter(|entry| entry.is_attached && vm.power.is_on());
            attached
                .filter_map(|entry| {
                    let disk = self.world.disks.get(&key(&entry.disk))?;
                    Some((entry.lun, disk.unique_id.clone(), disk.sector()))
                })
                .collect()
        };
        self.world
            .vms
            .values()
            .map(|vm| VmDevices { vm: vm.machine().to_owned(), disks: disks(vm) })
            .collect()
    }

    /// Whether some disk or snapshot has these bytes.
    pub(crate) fn owns_bytes(&self, disk: &str) -> bool {
        self.world.disks.values().any(|owner| owner.unique_id == disk)
            || self.world.snapshots.values().any(|owner| owner.unique_id == disk)
    }

    /// Lets the operation that is about to be accepted fail, if its bytes could not be made.
    pub(crate) fn doom(&mut self, bytes: Result<(), Refusal>) {
        if let Err(refusal) = bytes {
            self.fate.ending = Some(Stage::Failed { code: refusal.code, message: refusal.message });
        }
    }
}
