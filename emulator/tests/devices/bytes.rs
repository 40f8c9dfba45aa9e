//! Where the bytes go: copies, growth, disks shared by VMs, disks that something still has mounted.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};

use crate::world::{MIB, open, world, world_on_disk};

/// A mounted ext4, unmounted in any case.
struct Mount {
    at: PathBuf,
}

impl Mount {
    fn new(node: &Path, at: PathBuf) -> Mount {
        fs::create_dir_all(&at).unwrap();
        mount(Some(node), &at, Some("ext4"), MsFlags::empty(), None::<&str>).unwrap();
        Mount { at }
    }

    fn end(&self) {
        umount(&self.at).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

fn format(node: &Path) {
    assert!(Command::new("mkfs.ext4").arg("-q").arg(node).status().unwrap().success());
}

#[test]
fn a_copy_has_what_was_written_through_the_device() {
    let Some(world) = world() else { return };
    let seen = world.attach("node-a", 0, "d0");
    // Neither synced nor closed, which would sync: the bytes are only in the device's page cache.
    let node = open(&seen.node);
    for round in 0..3_u8 {
        node.write_all_at(&[round + 1; 4096], u64::from(round) * 20 * MIB).unwrap();
        let (copy, bytes) = (format!("c{round}"), (64 + u64::from(round)) * MIB);
        world.devices().copy("d0", &copy, bytes).unwrap();
        let file = File::open(world.image(&copy)).unwrap();
        assert_eq!(file.metadata().unwrap().len(), bytes);
        for written in 0..3_u8 {
            let mut read = [9; 4096];
            file.read_exact_at(&mut read, u64::from(written) * 20 * MIB).unwrap();
            let expected = if written <= round { written + 1 } else { 0 };
            assert_eq!(read, [expected; 4096], "write {written} in copy {round}");
        }
        assert!(file.metadata().unwrap().blocks() * 512 < 2 * MIB, "the copy is sparse");
    }
    // And it is a disk of its own.
    let copy = world.attach("node-a", 1, "c0");
    open(&copy.node).write_all_at(&[7; 4096], 0).unwrap();
    let mut read = [9; 4096];
    node.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(read, [1; 4096]);
}

/// Who proves a disk blank reads its beginning and then places further on; the machine's own read-ahead must not
/// turn that into the whole disk.
#[test]
fn a_read_of_a_sparse_disk_takes_what_was_asked_for() {
    let Some(world) = world_on_disk() else { return };
    let seen = world.attach("node-a", 0, "d0");
    let mut node = open(&seen.node);
    posix_fadvise(&node, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM).unwrap(); // the device's own cache
    node.read_exact(&mut vec![0; 1 << 20]).unwrap();
    for place in 1..64 {
        node.seek(SeekFrom::Start(place * MIB)).unwrap();
        node.read_exact(&mut [0; 8192]).unwrap();
    }
    let mut fincore = Command::new("fincore");
    let Ok(told) =
        fincore.args(["--bytes", "--noheadings", "--output", "RES"]).arg(world.image("d0")).output()
    else {
        println!("skipped: no fincore (util-linux-extra) to count the cached pages");
        return;
    };
    let cached: u64 = String::from_utf8_lossy(&told.stdout).trim().parse().unwrap();
    assert!(cached <= 4 * MIB, "reads of 1.5 MiB filled {cached} bytes of page cache");
}

#[test]
fn growth_shows_wherever_the_disk_is() {
    let Some(world) = world() else { return };
    let before = world.attach("node-a", 0, "d0");
    world.attach("node-b", 3, "d0");
    world.devices().resize("d1", 80 * MIB).unwrap();
    for bytes in [96 * MIB, 96 * MIB, 128 * MIB] {
        world.devices().resize("d0", bytes).unwrap();
        for (vm, lun) in [("node-a", 0), ("node-b", 3)] {
            let seen = world.find(vm, lun).unwrap();
            assert_eq!((seen.bytes, &seen.dev), (bytes, &before.dev));
            assert_eq!(open(&seen.node).seek(SeekFrom::End(0)).unwrap(), bytes);
        }
    }
    assert_eq!(world.attach("node-a", 1, "d1").bytes, 80 * MIB);
}

#[test]
fn a_shared_disk_is_one_device() {
    let Some(world) = world() else { return };
    let (a, b) = (world.attach("node-a", 0, "d0"), world.attach("node-b", 4, "d0"));
    assert_eq!(a.dev, b.dev);
    open(&a.node).write_all_at(b"from a", MIB).unwrap();
    let mut read = [0; 6];
    open(&b.node).read_exact_at(&mut read, MIB).unwrap();
    assert_eq!(&read, b"from a");
    world.devices().detach("node-a", 0).unwrap();
    assert_eq!((world.find("node-a", 0), world.find("node-b", 4)), (None, Some(b)));
    assert_eq!(world.loops_of("d0"), 1);
    world.devices().detach("node-b", 4).unwrap();
    assert_eq!(world.loops_of("d0"), 0);
}

#[test]
fn a_mounted_disk_leaves_its_vm_at_once_and_its_device_later() {
    let Some(world) = world() else { return };
    let seen = world.attach("node-a", 0, "d0");
    format(&seen.node);
    let mount = Mount::new(&seen.node, world.directory.path().join("mnt"));
    world.devices().detach("node-a", 0).unwrap();
    assert_eq!(world.find("node-a", 0), None);
    assert_eq!(world.names("node-a"), ["sda", "sdb"]);
    assert_eq!(world.loops_of("d0"), 1, "the mount still has it");
    mount.end();
    assert_eq!(world.loops_of("d0"), 0);
}

#[test]
fn a_disk_that_is_still_mounted_elsewhere_keeps_its_one_device() {
    let Some(world) = world() else { return };
    let before = world.attach("node-a", 0, "d0");
    format(&before.node);
    let old = Mount::new(&before.node, world.directory.path().join("old"));
    fs::write(old.at.join("file"), "written before").unwrap();
    world.devices().detach("node-a", 0).unwrap();
    let after = world.attach("node-b", 2, "d0");
    assert_eq!(after.dev, before.dev);
    assert_eq!(world.loops_of("d0"), 1);
    old.end();
    assert_eq!(world.loops_of("d0"), 1, "it is attached: the end of the mount does not free it");
    let new = Mount::new(&after.node, world.directory.path().join("new"));
    assert_eq!(fs::read_to_string(new.at.join("file")).unwrap(), "written before");
    new.end();
    world.devices().detach("node-b", 2).unwrap();
    assert_eq!(world.loops_of("d0"), 0);
}
