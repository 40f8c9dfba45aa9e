//! The block devices on a real kernel: what a node sees, what survives which accident, and that nothing is left.
//! Each test has a state directory of its own; they take turns, so that a count of loop devices means
//! something, and each world frees what it made, also when its test fails.
#![expect(clippy::unwrap_used, reason = "what fails in a test's own steps fails the test")]

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use azure_emulator::devices::Devices;

const MIB: u64 = 1 << 20;
static TURN: Mutex<()> = Mutex::new(());

struct World {
    devices: Devices,
    directory: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// A state directory with VMs node-a and node-b and disks d0, d1, d2 of 64 MiB.
fn world() -> Option<World> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return None;
    }
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let world = World { devices: Devices::open(directory.path()).unwrap(), directory, _turn: turn };
    world.devices.add_vm("node-a").unwrap();
    world.devices.add_vm("node-b").unwrap();
    for disk in ["d0", "d1", "d2"] {
        world.devices.create(disk, 64 * MIB).unwrap();
    }
    Some(world)
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.devices.release();
        for (number, _) in self.loops() {
            let _ = Command::new("losetup").arg("-d").arg(format!("/dev/loop{number}")).status();
        }
    }
}

/// A disk as a node finds it.
#[derive(Debug, PartialEq)]
struct Seen {
    name: String,
    dev: String,
    bytes: u64,
    node: PathBuf,
}

impl World {
    fn vm(&self, vm: &str) -> PathBuf {
        self.directory.path().join("vms").join(vm)
    }

    fn image(&self, disk: &str) -> PathBuf {
        self.directory.path().join("disks").join(format!("{disk}.img"))
    }

    /// Loop devices with a file below the state directory: number, backing file.
    fn loops(&self) -> Vec<(u32, String)> {
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
    fn find(&self, vm: &str, lun: u8) -> Option<Seen> {
        self.find_on("{f8b3781b-1e82-4818-a1c3-63d806ec15bb}\n", vm, lun)
    }

    fn find_on(&self, controller: &str, vm: &str, lun: u8) -> Option<Seen> {
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

    fn names(&self, vm: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.vm(vm).join("dev"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn attach(&self, vm: &str, lun: u8, disk: &str) -> Seen {
        self.devices.attach(vm, lun, disk, 512, false).unwrap();
        self.find(vm, lun).unwrap()
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[test]
fn a_node_finds_the_disk_and_writes_into_its_image() {
    let Some(world) = world() else { return };
    for (lun, disk, sector) in [(0, "d0", 512), (63, "d1", 4096)] {
        world.devices.attach("node-a", lun, disk, sector, true).unwrap();
        let seen = world.find("node-a", lun).unwrap();
        assert_eq!(seen.bytes, 64 * MIB);
        let mut node = open(&seen.node);
        assert_eq!(node.seek(SeekFrom::End(0)).unwrap(), 64 * MIB);
        let block = fs::read_to_string(
            world.vm("node-a").join("sys/block").join(&seen.name).join("queue/logical_block_size"),
        );
        assert_eq!(block.unwrap(), format!("{sector}\n"));
        node.write_all_at(disk.as_bytes(), 12 * MIB).unwrap();
        node.sync_all().unwrap();
        let mut bytes = [0; 2];
        File::open(world.image(disk)).unwrap().read_exact_at(&mut bytes, 12 * MIB).unwrap();
        assert_eq!(bytes, disk.as_bytes());
    }
    assert_eq!(world.find("node-b", 0), None);
}

#[test]
fn decoys_are_there_from_the_start() {
    let Some(world) = world() else { return };
    let on = |lun| world.find_on("{f8b3781a-1e82-4818-a1c3-63d806ec15bb}\n", "node-a", lun).unwrap();
    let (os, temp) = (on(0), on(1));
    assert_eq!((os.name.as_str(), temp.name.as_str()), ("sda", "sdb"));
    let read = |seen: &Seen, offset| {
        let mut bytes = vec![0; 512];
        open(&seen.node).read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    assert_eq!(read(&os, 0)[510..], [0x55, 0xAA]);
    assert!(read(&os, MIB).starts_with(b"OS disk of node-a"));
    for offset in [0, MIB, temp.bytes - 512] {
        assert_eq!(read(&temp, offset), [0; 512]);
    }
}

#[test]
fn names_follow_the_order_of_attach() {
    let Some(world) = world() else { return };
    assert_eq!(world.attach("node-a", 5, "d0").name, "sdc");
    assert_eq!(world.attach("node-a", 2, "d1").name, "sdd");
    world.devices.detach("node-a", 5).unwrap();
    assert_eq!(world.names("node-a"), ["sda", "sdb", "sdd"]);
    assert_eq!(world.attach("node-a", 7, "d2").name, "sdc");
    assert_eq!(world.attach("node-a", 2, "d1").name, "sdd");
}

#[test]
fn every_call_may_be_repeated() {
    let Some(world) = world() else { return };
    let seen = world.attach("node-a", 1, "d0");
    let loops = world.loops();
    world.devices.create("d0", 64 * MIB).unwrap();
    world.devices.add_vm("node-a").unwrap();
    assert_eq!(world.attach("node-a", 1, "d0"), seen);
    assert_eq!(world.loops(), loops);
    for _ in 0..2 {
        world.devices.detach("node-a", 1).unwrap();
        world.devices.detach("node-gone", 1).unwrap();
        world.devices.remove_vm("node-b").unwrap();
        world.devices.delete("d0").unwrap();
    }
    assert_eq!(world.find("node-a", 1), None);
    assert!(!world.vm("node-b").exists());
    assert_eq!(world.loops().len(), 2, "the decoys of node-a: {:?}", world.loops());
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let Some(world) = world() else { return };
    let before = (world.attach("node-a", 0, "d0"), world.loops());
    let devices = &world.devices;
    let rows = [
        (devices.attach("node-a", 0, "d1", 512, false), "LUN 0 of VM node-a holds disk d0"),
        (devices.attach("node-a", 1, "d9", 512, false), "disk d9 has no image"),
        (devices.attach("node-c", 1, "d1", 512, false), "VM node-c has no devices"),
        (devices.attach("node-b", 0, "d0", 4096, false), "disk d0 is attached with sectors of 512 bytes"),
        (devices.attach("node-a", 0, "d0", 4096, false), "disk d0 is attached with sectors of 512 bytes"),
        (devices.create("d0", 65 * MIB), "disk d0 exists with 67108864 bytes"),
        (devices.create("../d0", 65 * MIB), "cannot name a disk"),
        (devices.add_vm(".."), "cannot name a disk or a VM"),
        (devices.resize("d0", MIB), "cannot become smaller"),
        (devices.copy("d0", "d8", MIB), "cannot become smaller"),
        (devices.copy("d9", "d8", MIB), "disk d9 has no image"),
        (devices.copy("d1", "d0", 64 * MIB), "disk d0 is attached"),
        (devices.delete("d0"), "disk d0 is attached"),
    ];
    for (answer, text) in rows {
        let told = answer.unwrap_err().to_string();
        assert!(told.contains(text), "{told:?} does not say {text:?}");
    }
    assert_eq!((world.find("node-a", 0).unwrap(), world.loops()), before);
    assert_eq!(world.find("node-b", 0), None);
    world.attach("node-b", 0, "d1");
}
