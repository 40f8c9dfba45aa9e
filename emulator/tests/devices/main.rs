//! The block devices on a real kernel: what a node sees, what survives which accident, and that nothing is left.
#![expect(clippy::unwrap_used, reason = "what fails in a test's own steps fails the test")]

mod accidents;
mod bytes;
mod world;

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use azure_emulator::devices::Devices;
use world::{MIB, OS_AND_TEMP, Seen, open, world};

#[test]
fn a_node_finds_the_disk_and_writes_into_its_image() {
    let Some(world) = world() else { return };
    for (lun, disk, sector) in [(0, "d0", 512), (63, "d1", 4096)] {
        world.devices().attach("node-a", lun, disk, sector, true).unwrap();
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
    let on = |lun| world.find_on(OS_AND_TEMP, "node-a", lun).unwrap();
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
    world.devices().detach("node-a", 5).unwrap();
    assert_eq!(world.names("node-a"), ["sda", "sdb", "sdd"]);
    assert_eq!(world.attach("node-a", 2, "d1").name, "sdd", "it keeps its name though a lower one is free");
    assert_eq!(world.attach("node-a", 7, "d2").name, "sdc");
    assert_eq!(world.attach("node-a", 2, "d1").name, "sdd");
}

#[test]
fn every_call_may_be_repeated() {
    let Some(world) = world() else { return };
    let seen = world.attach("node-a", 1, "d0");
    let loops = world.loops();
    world.devices().create("d0", 64 * MIB).unwrap();
    world.devices().add_vm("node-a").unwrap();
    assert_eq!(world.attach("node-a", 1, "d0"), seen);
    assert_eq!(world.loops(), loops);
    for _ in 0..2 {
        world.devices().detach("node-a", 1).unwrap();
        world.devices().detach("node-gone", 1).unwrap();
        world.devices().remove_vm("node-b").unwrap();
        world.devices().delete("d0").unwrap();
    }
    assert_eq!(world.find("node-a", 1), None);
    assert!(!world.vm("node-b").exists());
    assert_eq!(world.loops().len(), 2, "the decoys of node-a: {:?}", world.loops());
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let Some(world) = world() else { return };
    let before = (world.attach("node-a", 0, "d0"), world.loops());
    let devices = world.devices();
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

#[test]
fn directories_do_not_fight_over_free_loop_devices() {
    let Some(world) = world() else { return };
    let attach_some = |name: String| {
        let devices = Devices::open(&world.directory.path().join(name)).unwrap();
        for vm in ["node-a", "node-b", "node-c"] {
            devices.add_vm(vm).unwrap();
            devices.create(vm, MIB).unwrap();
            devices.attach(vm, 0, vm, 512, false).unwrap();
        }
    };
    std::thread::scope(|scope| {
        let attach_some = &attach_some;
        for number in 0..8 {
            scope.spawn(move || attach_some(format!("state{number}")));
        }
    });
    let mut images: Vec<String> = world.loops().into_iter().map(|(_, image)| image).collect();
    images.sort();
    images.dedup();
    assert_eq!(images.len(), 4 + 8 * 9, "{images:?}");
}
