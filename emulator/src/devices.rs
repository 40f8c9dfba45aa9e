//! Managed disks as block devices: below one state directory, `disks/<disk>.img` holds each disk's (and
//! snapshot's) bytes, and `vms/<vm>` is what a VM sees of those attached to it. A node with that directory as
//! its device root finds, formats and mounts a disk as it would in a VM on Azure.
//!
//! [`Devices`] owns the directory (a lock file keeps a second owner out) and every loop device on a file below
//! it. It remembers nothing: each call reads what is there, so after `kill -9` at any point [`Devices::open`]
//! and [`Devices::reconcile`] make it right, and each call may be repeated. Calls block, most of them for
//! less than a millisecond; a copy without reflink takes as long as its bytes.
//!
//! Invariants: an image has one loop device at most (why: `devices/loops.rs`); a node in a VM's root is never one
//! of another image (a loop device that another program got after a reboot is taken out before anything
//! else); a detached disk is gone from the VM's root at once, even if something in the "VM" still has it
//! mounted. Such a mount goes on working on the old device until it ends, as there is no way to make a loop
//! device fail; when the disk is attached again meanwhile, both use the same device, and what the kernel
//! then refuses (mkfs or fsck on a mounted device) it refuses rightly.

mod error;
mod image;
mod ioctl;
mod loops;
mod names;
mod root;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::statvfs::{FsFlags, statvfs};

pub use error::DevicesError;
use error::at;
use root::Root;
use tree::{Controller, Slot};

/// Sectors of the decoys, in bytes.
const DECOY_SECTOR: u32 = 512;

/// One VM and the data disks that belong on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmDevices {
    /// The VM's name, which is its directory's.
    pub vm: String,
    /// LUN, disk, sector size in bytes.
    pub disks: Vec<(u8, String, u32)>,
}

/// The block devices of one state directory.
#[derive(Debug)]
pub struct Devices {
    state: PathBuf,
    /// One call at a time looks and changes; released by the kernel when the process ends.
    turn: Mutex<()>,
    _owner: File,
}

impl Devices {
    /// Takes over `state` (made if it is not there), with the loop devices that an earlier owner left.
    ///
    /// Removes what a kill left half made and every node that no longer leads to its image; makes nothing:
    /// that is [`Devices::reconcile`]. Fails without root, on a file system mounted `nodev`, and while another
    /// process owns the directory.
    pub fn open(state: &Path) -> Result<Devices, DevicesError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(DevicesError::NotRoot);
        }
        for directory in ["disks", "decoys", "vms"] {
            let path = state.join(directory);
            fs::create_dir_all(&path).map_err(at("make", &path))?;
        }
        // As the kernel spells it, because loop devices are known by their image's path.
        let state = fs::canonicalize(state).map_err(at("find", state))?;
        let mount = statvfs(&state).map_err(|error| at("look at", &state)(error.into()))?;
        if mount.flags().contains(FsFlags::ST_NODEV) {
            return Err(DevicesError::NoDeviceNodes(state));
        }
        let lock = state.join("devices.lock");
        let owner = File::create(&lock).map_err(at("make", &lock))?;
        // Of the process, not of the open file: a child on its way to exec must not hold it as well.
        match fcntl(&owner, FcntlArg::F_SETLK(&whole_file_lock())) {
            Ok(_) => {}
            Err(Errno::EACCES | Errno::EAGAIN) => return Err(DevicesError::InUse(state)),
            Err(error) => return Err(at("lock", &lock)(error.into())),
        }
        let devices = Devices { state, turn: Mutex::new(()), _owner: owner };
        image::sweep(&devices.state.join("disks"))?;
        image::sweep(&devices.state.join("decoys"))?;
        for vm in devices.vms()? {
            devices.unplug_strangers(&vm)?;
        }
        Ok(devices)
    }

    /// A new disk of `bytes` zeros. Again with the same size: nothing happens.
    pub fn create(&self, disk: &str, bytes: u64) -> Result<(), DevicesError> {
        let image = self.image(disk)?;
        let _turn = self.turn();
        match image::bytes(&image)? {
            None => image::make(&image, bytes, |_| Ok(())),
            Some(has) if has == bytes => Ok(()),
            Some(has) => Err(DevicesError::Exists { disk: disk.to_owned(), has, asked: bytes }),
        }
    }

    /// Makes `to` a disk of `bytes` bytes with the bytes of `from` as they were written until now, in one
    /// step: a disk `to` that is there and not attached is replaced.
    ///
    /// What is written to `from` during the copy may or may not be in it.
    pub fn copy(&self, from: &str, to: &str, bytes: u64) -> Result<(), DevicesError> {
        let (source, image) = (self.image(from)?, self.image(to)?);
        {
            let _turn = self.turn();
            let has = image::bytes(&source)?.ok_or_else(|| DevicesError::NoDisk(from.to_owned()))?;
            if bytes < has {
                return Err(DevicesError::Shrink { disk: to.to_owned(), has, asked: bytes });
            }
            if let Some(device) = loops::of(&source)? {
                device.flush()?;
            }
        }
        // Without the turn, because it may take long; other VMs' disks come and go meanwhile.
        image::copy(&source, &image, bytes)?;
        let _turn = self.turn();
        if loops::of(&image)?.is_some() {
            return Err(DevicesError::Attached(to.to_owned()));
        }
        image::appear(&image)
    }

    /// Makes the disk larger, and shows it wherever it is attached.
    pub fn resize(&self, disk: &str, bytes: u64) -> Result<(), DevicesError> {
        let image = self.image(disk)?;
        let _turn = self.turn();
        let has = image::bytes(&image)?.ok_or_else(|| DevicesError::NoDisk(disk.to_owned()))?;
        if bytes < has {
            return Err(DevicesError::Shrink { disk: disk.to_owned(), has, asked: bytes });
        }
        image::grow(&image, bytes)?;
        if let Some(device) = loops::of(&image)? {
            device.measure()?;
        }
        for vm in self.vms()? {
            let root = self.root(&vm)?;
            for lun in root.asked()?.iter().filter(|(_, at)| **at == image).map(|(lun, _)| *lun) {
                root.measure(Slot { controller: Controller::Data, lun }, bytes)?;
            }
        }
        Ok(())
    }

    /// Removes the disk's bytes. A disk that is not there is removed already; an attached one is refused.
    pub fn delete(&self, disk: &str) -> Result<(), DevicesError> {
        let image = self.image(disk)?;
        let _turn = self.turn();
        if self.is_asked_for(&image)? {
            return Err(DevicesError::Attached(disk.to_owned()));
        }
        image::remove(&image)
    }

    /// A VM with an OS disk and a temp disk, and no data disks yet. Again: completes what is missing.
    pub fn add_vm(&self, vm: &str) -> Result<(), DevicesError> {
        let _turn = self.turn();
        self.make_vm(vm)
    }

    /// Removes a VM; its disks are detached and stay.
    pub fn remove_vm(&self, vm: &str) -> Result<(), DevicesError> {
        let _turn = self.turn();
        self.drop_vm(vm)
    }

    /// Shows `disk` at `lun` of the VM, with sectors of `sector` bytes. Again: nothing happens.
    ///
    /// The host's read-only cache changes nothing that a guest could see: such a disk still takes writes.
    pub fn attach(
        &self,
        vm: &str,
        lun: u8,
        disk: &str,
        sector: u32,
        _read_only_cache: bool,
    ) -> Result<(), DevicesError> {
        let _turn = self.turn();
        self.plug(vm, lun, disk, sector)
    }

    /// Removes what is at `lun` of the VM. Nothing there, or no such VM: nothing happens.
    pub fn detach(&self, vm: &str, lun: u8) -> Result<(), DevicesError> {
        let _turn = self.turn();
        self.unplug(vm, lun)
    }

    /// Makes exactly these VMs, with exactly these disks, and no loop device more. Disks that are there stay
    /// as they are, with their names.
    pub fn reconcile(&self, vms: &[VmDevices]) -> Result<(), DevicesError> {
        let _turn = self.turn();
        for vm in self.vms()? {
            let Some(wanted) = vms.iter().find(|wanted| wanted.vm == vm) else {
                self.drop_vm(&vm)?;
                continue;
            };
            for (lun, image) in self.root(&vm)?.asked()? {
                let stays = |(at, disk, _): &(u8, String, u32)| {
                    *at == lun && self.image(disk).is_ok_and(|wanted| wanted == image)
                };
                if !wanted.disks.iter().any(stays) {
                    self.unplug(&vm, lun)?;
                }
            }
        }
        let mut all_plugged = Ok(());
        for wanted in vms {
            self.make_vm(&wanted.vm)?;
            for (lun, disk, sector) in &wanted.disks {
                // One lost image is told, and keeps no other disk away.
                all_plugged = all_plugged.and(self.plug(&wanted.vm, *lun, disk, *sector));
            }
            self.root(&wanted.vm)?.sweep()?;
        }
        self.clear_unused()?;
        all_plugged
    }

    /// Frees every loop device and removes the VMs' roots; the disks' bytes stay.
    pub fn release(&self) -> Result<(), DevicesError> {
        self.reconcile(&[])
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        // A panic in another call left the files as a kill would have; the next call copes with that.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn image(&self, disk: &str) -> Result<PathBuf, DevicesError> {
        Ok(self.state.join("disks").join(format!("{}.img", names::file_name(disk)?)))
    }

    fn root(&self, vm: &str) -> Result<Root, DevicesError> {
        Ok(Root::new(self.state.join("vms").join(names::file_name(vm)?)))
    }

    fn vms(&self) -> Result<Vec<String>, DevicesError> {
        root::list(&self.state.join("vms"))
    }

    /// The OS disk and the temp disk of a VM: where, which image.
    fn decoys(&self, vm: &str) -> [(Slot, PathBuf); 2] {
        let decoy = |lun, kind| {
            let slot = Slot { controller: Controller::OsAndTemp, lun };
            (slot, self.state.join("decoys").join(format!("{vm}.{kind}.img")))
        };
        [decoy(0, "os"), decoy(1, "temp")]
    }

    fn make_vm(&self, vm: &str) -> Result<(), DevicesError> {
        let root = self.root(vm)?;
        root.make()?;
        for (slot, image) in self.decoys(vm) {
            if image::bytes(&image)?.is_none() {
                make_decoy(slot, vm, &image)?;
            }
            let device = loops::bind(&image, DECOY_SECTOR)?;
            let bytes = image::bytes(&image)?.unwrap_or_default();
            root.plug(slot, device.dev, bytes, DECOY_SECTOR)?;
        }
        Ok(())
    }

    fn drop_vm(&self, vm: &str) -> Result<(), DevicesError> {
        let root = self.root(vm)?;
        for lun in root.asked()?.into_keys() {
            self.unplug(vm, lun)?;
        }
        for (slot, image) in self.decoys(vm) {
            root.unplug(slot)?;
            if let Some(device) = loops::of(&image)? {
                device.clear()?;
            }
            image::remove(&image)?;
        }
        // Last: while the root is there, the rest of this is done again.
        root.remove()
    }

    fn plug(&self, vm: &str, lun: u8, disk: &str, sector: u32) -> Result<(), DevicesError> {
        let (root, image) = (self.root(vm)?, self.image(disk)?);
        if !root.exists() {
            return Err(DevicesError::NoVm(vm.to_owned()));
        }
        let bytes = image::bytes(&image)?.ok_or_else(|| DevicesError::NoDisk(disk.to_owned()))?;
        let asked = root.asked()?.remove(&lun);
        if let Some(other) = asked.as_ref().filter(|other| **other != image) {
            let disk = other.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            return Err(DevicesError::Occupied { vm: vm.to_owned(), lun, disk });
        }
        root.ask(lun, &image)?;
        let shown = loops::bind(&image, sector).and_then(|device| {
            let has = device.sector()?;
            if has != sector {
                return Err(DevicesError::Sector { disk: disk.to_owned(), has, asked: sector });
            }
            root.plug(Slot { controller: Controller::Data, lun }, device.dev, bytes, sector)
        });
        if shown.is_err() && asked.is_none() {
            // The failure to tell is the first; what is left over, reconcile removes.
            let _ = self.unplug(vm, lun);
        }
        shown
    }

    fn unplug(&self, vm: &str, lun: u8) -> Result<(), DevicesError> {
        let root = self.root(vm)?;
        let image = root.asked()?.remove(&lun);
        root.unplug(Slot { controller: Controller::Data, lun })?;
        root.forget(lun)?;
        let Some(image) = image else { return Ok(()) };
        if !self.is_asked_for(&image)?
            && let Some(device) = loops::of(&image)?
        {
            device.clear()?;
        }
        Ok(())
    }

    /// Whether the image belongs at a LUN of any VM.
    fn is_asked_for(&self, image: &Path) -> Result<bool, DevicesError> {
        for vm in self.vms()? {
            if self.root(&vm)?.asked()?.values().any(|asked| asked == image) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes out of a VM's root what is not behind the loop device of the image that belongs there: after a
    /// reboot that number may be anybody's.
    fn unplug_strangers(&self, vm: &str) -> Result<(), DevicesError> {
        let root = self.root(vm)?;
        let mut belongs: BTreeMap<Slot, PathBuf> = self.decoys(vm).into_iter().collect();
        for (lun, image) in root.asked()? {
            belongs.insert(Slot { controller: Controller::Data, lun }, image);
        }
        for slot in root.slots()? {
            let device = belongs.get(&slot).map(|image| loops::of(image)).transpose()?.flatten();
            let shown = root.disk_at(slot)?.map(|shown| shown.dev);
            if device.is_none_or(|device| Some(device.dev) != shown) {
                root.unplug(slot)?;
            }
        }
        Ok(())
    }

    /// Frees each of our loop devices whose image is gone or belongs nowhere.
    fn clear_unused(&self) -> Result<(), DevicesError> {
        let mut used: BTreeSet<PathBuf> = BTreeSet::new();
        for vm in self.vms()? {
            used.extend(self.root(&vm)?.asked()?.into_values());
            used.extend(self.decoys(&vm).map(|(_, image)| image));
        }
        for device in loops::below(&self.state)? {
            if device.is_deleted || !used.contains(&device.image) {
                device.clear()?;
            }
        }
        Ok(())
    }
}

/// A write lock on all of a file.
#[expect(clippy::cast_possible_truncation, reason = "the constants are small, the C type is short")]
fn whole_file_lock() -> libc::flock {
    let (write, start) = (libc::F_WRLCK as libc::c_short, libc::SEEK_SET as libc::c_short);
    libc::flock { l_type: write, l_whence: start, l_start: 0, l_len: 0, l_pid: 0 }
}

/// The OS disk has a boot sector and a name, so that a driver that takes it for a data disk is caught by what it
/// destroys. The temp disk is blank and large, so that a driver that takes it would format it.
fn make_decoy(slot: Slot, vm: &str, image: &Path) -> Result<(), DevicesError> {
    const GIB: u64 = 1 << 30;
    if slot.lun != 0 {
        return image::make(image, 64 * GIB, |_| Ok(()));
    }
    image::make(image, 30 * GIB, |file| {
        let mut sector = [0; 512];
        // One partition entry (bootable, Linux, from sector 2048) and the signature.
        sector[446..462].copy_from_slice(&[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0x80, 3]);
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        file.write_all_at(&sector, 0)?;
        file.write_all_at(format!("OS disk of {vm}").as_bytes(), 1 << 20)
    })
}
