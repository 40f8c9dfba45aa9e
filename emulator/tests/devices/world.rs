//! A state directory with VMs and disks, and a node's view of it. Worlds take turns, so that a count of loop
//! devices means something; each frees what it made, also when its test fails.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use azure_emulator::devices::{Devices, VmDevices};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

pub(super) const MIB: u64 = 1 << 20;
/// The VMBus ids of the two controllers.
pub(super) const OS_AND_TEMP: &str = "{f8b3781a-1e82-4818-a1c3-63d806ec15bb}\n";
const DATA: &str = "{f8b3781b-1e82-4818-a1c3-63d806ec15bb}\n";

static TOLD: Once = Once::new();
static TURN: Mutex<()> = Mutex::new(());

pub(super) struct World {
    devices: Option<Devices>,
    pub(super) directory: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// A state directory with VMs node-a and node-b and disks d0, d1, d2 of 64 MiB; none without root.
pub(super) fn world() -> Option<World> {
    // In memory: ext4 becomes slow at making files where many were removed within seconds.
    world_on(|directory| {
        mount(None::<&str>, directory, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    })
}

/// The same on the machine's own disk.
pub(super) fn world_on_disk() -> Option<World> {
    world_on(|_| ())
}

fn world_on(place: impl FnOnce(&Path)) -> Option<World> {
    if !nix::unistd::geteuid().is_root() {
        TOLD.call_once(|| {
            let _ = writeln!(std::io::stderr(), "skipped: needs root");
        });
        return None;
    }
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    place(directory.path());
    let mut world = World { devices: None, directory, _turn: turn };
    world.open();
    world.devices().add_vm("node-a").unwrap();
    world.devices().add_vm("node-b").unwrap();
    for disk in ["d0", "d1", "d2"] {
        world.devices().create(disk, 64 * MIB).unwrap();
    }
    Some(world)
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(devices) = self.devices.take() {
            let _ = devices.release();
        }
        for (number, _) in self.loops() {
            let _ = Command::new("losetup").arg("-d").arg(format!("/dev/loop{number}")).status();
        }
        let _ = umount2(self.directory.path(), MntFlags::MNT_DETACH);
    }
}

/// A disk as a node finds it.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) dev: String,
    pub(super) bytes: u64,
    pub(super) node: PathBuf,
}

impl World {
    pub(super) fn devices(&self) -> &Devices {
        self.devices.as_ref().unwrap()
    }

    /// As a kill leaves it: nobody owns the directory, nothing was tidied.
    pub(super) fn close(&mut self) {
        self.devices = None;
    }

    pub(super) fn open(&mut self) {
        self.close();
        self.devices = Some(Devices::open(self.directory.path()).unwrap());
    }

    /// How many loop devices a disk has.
    pub(super) fn loops_of(&self, disk: &str) -> usize {
        let image = self.image(disk).canonicalize().unwrap();
        self.loops().iter().filter(|(_, backing)| Path::new(backing) == image).count()
    }

    /// Exactly these VMs and disks are there, and nothing else of ours on the machine or in the directory.
    pub(super) fn check(&self, vms: &[VmDevices], after: &str) {
        let names = |path: &Path| -> BTreeSet<String> {
            fs::read_dir(path).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect()
        };
        let wanted: BTreeSet<String> = vms.iter().map(|vm| vm.vm.clone()).collect();
        assert_eq!(names(&self.directory.path().join("vms")), wanted, "{after}");
        let mut images = BTreeSet::new();
        for VmDevices { vm, disks } in vms {
            assert_eq!(self.names(vm).len(), 2 + disks.len(), "nodes of {vm} {after}");
            let links = names(&self.vm(vm).join("sys/bus/scsi/devices"));
            assert_eq!(links.len(), 2 + 2 + disks.len(), "{links:?} of {vm} {after}");
            assert_eq!(names(&self.vm(vm).join("new")), BTreeSet::new(), "{after}");
            for lun in [0, 1] {
                assert!(self.find_on(OS_AND_TEMP, vm, lun).is_some(), "decoy {lun} of {vm} {after}");
            }
            for (lun, disk, _) in disks {
                let seen = self.find(vm, *lun).unwrap_or_else(|| panic!("no LUN {lun} on {vm} {after}"));
                let number = seen.dev.strip_prefix("7:").unwrap();
                let image = fs::read_to_string(format!("/sys/block/loop{number}/loop/backing_file")).unwrap();
                assert_eq!(Path::new(image.trim_end()), self.image(disk).canonicalize().unwrap(), "{after}");
                assert_eq!(seen.bytes, fs::metadata(self.image(disk)).unwrap().len(), "{after}");
                images.insert(disk.as_str());
            }
        }
        assert_eq!(self.loops().len(), 2 * vms.len() + images.len(), "{:?} {after}", self.loops());
        let parts = names(&self.directory.path().join("disks"));
        assert!(!parts.iter().any(|name| name.contains(".part")), "{parts:?} {after}");
        assert_eq!(names(&self.directory.path().join("decoys")).len(), 2 * vms.len(), "{after}");
    }

    pub(super) fn vm(&self, vm: &str) -> PathBuf {
        self.directory.path().join("vms").join(vm)
    }

    pub(super) fn image(&self, disk: &str) -> PathBuf {
        self.directory.path().join("disks").join(format!("{disk}.img"))
    }

    /// Loop devices with a file below the state directory: number, backing file.
    pub(super) fn loops(&self) -> Vec<(u32, String)> {
        let state = self.directory.path().canonicalize().unwrap();
        let mut found = Vec::new();
        for entry in fs::read_dir("/sys/block").unwrap() {
            let entry = entry.unwrap();
            let Ok(backing) = fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
            if backing.starts_with(state.to_str().unwrap()) {
                let number = entry.file_name().to_str().unwrap()[4..].parse().unwrap();
                found.push((number, backing.trim_end().to_owned()));
            }
        }
        found
    }

    /// The data disk at a LUN, searched from sysfs alone.
    pub(super) fn find(&self, vm: &str, lun: u8) -> Option<Seen> {
        self.find_on(DATA, vm, lun)
    }

    pub(super) fn find_on(&self, controller: &str, vm: &str, lun: u8) -> Option<Seen> {
        let root = self.vm(vm);
        let mut seen = None;
        for entry in fs::read_dir(root.join("sys/bus/scsi/devices")).unwrap() {
            let link = entry.unwrap();
            let device = link.path().canonicalize().unwrap();
            let id = device.ancestors().find_map(|up| fs::read_to_string(up.join("device_id")).ok()).unwrap();
            let name = link.file_name().into_string().unwrap();
            if id != controller || !name.ends_with(&format!(":0:0:{lun}")) {
                continue;
            }
            assert_eq!(fs::read_to_string(device.join("vendor")).unwrap(), "Msft    \n");
            let block = fs::read_dir(device.join("block")).unwrap().next().unwrap().unwrap();
            let name = block.file_name().into_string().unwrap();
            let dev = fs::read_to_string(block.path().join("dev")).unwrap().trim().to_owned();
            let size: u64 = fs::read_to_string(block.path().join("size")).unwrap().trim().parse().unwrap();
            for link in ["block", "class/block"] {
                assert_eq!(root.join("sys").join(link).join(&name).canonicalize().unwrap(), block.path());
            }
            assert_eq!(root.join("sys/dev/block").join(&dev).canonicalize().unwrap(), block.path());
            assert_eq!(block.path().join("device").canonicalize().unwrap(), device);
            let node = root.join("dev").join(&name);
            let number = fs::metadata(&node).unwrap().rdev();
            let number = format!("{}:{}", nix::sys::stat::major(number), nix::sys::stat::minor(number));
            assert_eq!(number, dev, "{}", node.display());
            assert_eq!(seen, None, "two disks at LUN {lun}");
            seen = Some(Seen { name, dev, bytes: size * 512, node });
        }
        seen
    }

    pub(super) fn names(&self, vm: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.vm(vm).join("dev"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(super) fn attach(&self, vm: &str, lun: u8, disk: &str) -> Seen {
        self.devices().attach(vm, lun, disk, 512, false).unwrap();
        self.find(vm, lun).unwrap()
    }
}

pub(super) fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// What to reconcile to: VM, LUN and disk, with sectors of 512 bytes.
pub(super) fn vms(rows: &[(&str, &[(u8, &str)])]) -> Vec<VmDevices> {
    let disks =
        |disks: &[(u8, &str)]| disks.iter().map(|(lun, disk)| (*lun, (*disk).to_owned(), 512)).collect();
    rows.iter().map(|(vm, on)| VmDevices { vm: (*vm).to_owned(), disks: disks(on) }).collect()
}
