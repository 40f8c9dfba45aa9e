//! What is found after a kill, a reboot, or somebody's hand in the directory, and what is made of it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use azure_emulator::devices::{Devices, DevicesError};

use crate::world::{MIB, World, open, vms, world};

/// Lets the emulator be killed in the middle of its work: a child process, killed in any case.
struct Busy(Child);

impl Busy {
    /// A child that attaches, detaches, copies and so on in the directory until it is killed.
    fn start(world: &World) -> (Busy, impl Iterator<Item = String> + use<>) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "accidents::work_until_killed"])
            .current_dir(world.directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (Busy(child), lines.map_while(Result::ok).filter(|line| line.ends_with("done")))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// No test by itself: the child's work, where its parent left a mark.
#[test]
fn work_until_killed() {
    if !fs::exists("busy").unwrap() {
        return;
    }
    let devices = Devices::open(".".as_ref()).unwrap();
    for round in 0.. {
        let calls: [&dyn Fn() -> Result<(), DevicesError>; 10] = [
            &|| devices.add_vm("node-b"),
            &|| devices.attach("node-a", 0, "d0", 512, false),
            &|| devices.attach("node-b", 9, "d0", 512, false),
            &|| devices.attach("node-b", 1, "d1", 512, false),
            &|| devices.resize("d1", (65 + round % 100) * MIB),
            &|| devices.copy("d0", "d3", 64 * MIB),
            &|| devices.detach("node-a", 0),
            &|| devices.remove_vm("node-b"),
            &|| devices.create("d4", 64 * MIB),
            &|| devices.delete("d4"),
        ];
        for (step, call) in calls.iter().enumerate() {
            let told = call();
            // The size wraps after 100 rounds; every other refusal is the parent's to see.
            assert!(told.is_ok() || step == 4, "step {step}: {told:?}");
            println!("{step} done");
        }
    }
}

#[test]
fn a_kill_at_any_point_is_put_right() {
    let Some(mut world) = world() else { return };
    fs::write(world.directory.path().join("busy"), "").unwrap();
    open(&world.attach("node-a", 5, "d2").node).write_all_at(b"stays", 0).unwrap();
    for kill in 0..40 {
        world.close();
        let (busy, mut lines) = Busy::start(&world);
        assert!(lines.nth(kill).is_some(), "the child failed before kill {kill}");
        drop(busy);
        world.open();
        let wanted = match kill % 3 {
            0 => vms(&[("node-a", &[(5, "d2"), (0, "d0")]), ("node-b", &[(9, "d0")])]),
            1 => vms(&[("node-a", &[(5, "d2")]), ("node-b", &[(2, "d0"), (0, "d1")])]),
            _ => vms(&[("node-a", &[(5, "d2"), (1, "d1")])]),
        };
        world.devices().reconcile(&wanted).unwrap();
        world.check(&wanted, &format!("after kill {kill}"));
    }
    let mut read = [0; 5];
    open(&world.find("node-a", 5).unwrap().node).read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"stays");
    world.devices().release().unwrap();
    world.check(&[], "after the release");
}

#[test]
fn a_directory_has_one_owner() {
    let Some(mut world) = world() else { return };
    fs::write(world.directory.path().join("busy"), "").unwrap();
    world.close();
    let (busy, mut lines) = Busy::start(&world);
    lines.next().unwrap();
    let refused = Devices::open(world.directory.path());
    assert!(matches!(refused, Err(DevicesError::InUse(_))), "{refused:?}");
    drop(busy);
    world.open();
}

#[test]
fn a_restart_changes_nothing_that_is_right() {
    let Some(mut world) = world() else { return };
    let wanted = vms(&[("node-a", &[(0, "d0"), (1, "d1")]), ("node-b", &[(4, "d0")])]);
    world.attach("node-a", 1, "d1");
    world.attach("node-a", 0, "d0");
    world.attach("node-b", 4, "d0");
    let see =
        |world: &World| [("node-a", 0), ("node-a", 1), ("node-b", 4)].map(|(vm, lun)| world.find(vm, lun));
    let (before, loops) = (see(&world), world.loops());
    world.open();
    assert_eq!((see(&world), world.loops()), (before, loops.clone()), "nothing is lost before reconcile");
    let before = see(&world);
    world.devices().reconcile(&wanted).unwrap();
    assert_eq!((see(&world), world.loops()), (before, loops));
    world.check(&wanted, "after a restart");
}

#[test]
fn a_release_keeps_the_bytes() {
    let Some(world) = world() else { return };
    let node = open(&world.attach("node-a", 0, "d0").node);
    node.write_all_at(b"stays", MIB).unwrap();
    drop(node);
    world.devices().release().unwrap();
    world.check(&[], "after the release");
    let wanted = vms(&[("node-b", &[(7, "d0")])]);
    world.devices().reconcile(&wanted).unwrap();
    world.check(&wanted, "after the next start");
    let mut read = [0; 5];
    open(&world.find("node-b", 7).unwrap().node).read_exact_at(&mut read, MIB).unwrap();
    assert_eq!(&read, b"stays");
}

/// Somebody else's loop device, freed in any case.
struct Stranger {
    device: String,
    _file: tempfile::NamedTempFile,
}

impl Stranger {
    fn new() -> Stranger {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MIB).unwrap();
        let bound = Command::new("losetup").args(["-f", "--show"]).arg(file.path()).output().unwrap();
        Stranger { device: String::from_utf8(bound.stdout).unwrap().trim().to_owned(), _file: file }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

#[test]
fn a_device_that_is_now_a_strangers_is_taken_out_first() {
    let Some(mut world) = world() else { return };
    world.attach("node-a", 1, "d1");
    let seen = world.attach("node-a", 0, "d0");
    world.close();
    // As after a reboot, when the numbers were given out again: d0 has no device, and its place leads to another.
    let stranger = Stranger::new();
    let old = format!("/dev/loop{}", seen.dev.strip_prefix("7:").unwrap());
    assert!(Command::new("losetup").args(["-d", &old]).status().unwrap().success());
    let dev = format!("7:{}", stranger.device.strip_prefix("/dev/loop").unwrap());
    let block = world.vm("node-a").join("sys/class/block").join(&seen.name);
    fs::write(block.join("dev"), &dev).unwrap();
    fs::remove_file(&seen.node).unwrap();
    assert!(
        Command::new("cp")
            .arg("-a")
            .args([Path::new(&stranger.device), &seen.node])
            .status()
            .unwrap()
            .success()
    );

    world.open();
    assert_eq!(world.find("node-a", 0), None);
    assert_eq!(world.names("node-a"), ["sda", "sdb", "sdc"]);
    let wanted = vms(&[("node-a", &[(0, "d0"), (1, "d1")])]);
    world.devices().reconcile(&wanted).unwrap();
    assert_ne!(world.find("node-a", 0).unwrap().dev, dev);
    world.check(&wanted, "after a reboot");
}

#[test]
fn a_lost_image_is_told_and_keeps_no_other_disk_away() {
    let Some(mut world) = world() else { return };
    world.attach("node-a", 0, "d0");
    world.attach("node-a", 1, "d1");
    fs::remove_file(world.image("d0")).unwrap();
    world.open();
    let told = world.devices().reconcile(&vms(&[("node-a", &[(0, "d0"), (1, "d1"), (2, "d2")])]));
    assert!(matches!(told, Err(DevicesError::NoDisk(disk)) if disk == "d0"));
    world.devices().detach("node-a", 0).unwrap();
    let wanted = vms(&[("node-a", &[(1, "d1"), (2, "d2")])]);
    world.check(&wanted, "without the lost disk");
}

#[test]
fn half_made_things_are_completed_or_removed() {
    type Cut = fn(&World);
    let rows: [(&str, Cut); 8] = [
        ("a node of no disk", |world| fs::write(world.vm("node-a").join("dev/sdq"), "").unwrap()),
        ("no node", |world| fs::remove_file(world.vm("node-a").join("dev/sdc")).unwrap()),
        ("no link", |world| {
            fs::remove_file(world.vm("node-a").join("sys/bus/scsi/devices/1:0:0:0")).unwrap();
        }),
        ("no class link", |world| fs::remove_file(world.vm("node-a").join("sys/class/block/sdc")).unwrap()),
        ("work in hand", |world| fs::create_dir(world.vm("node-a").join("new/device")).unwrap()),
        ("asked for, not begun", |world| {
            symlink(world.image("d2"), world.vm("node-a").join("luns/7")).unwrap();
        }),
        ("a copy begun", |world| fs::write(world.image("d7").with_extension("img.part"), "half").unwrap()),
        ("a VM begun", |world| fs::create_dir(world.vm("node-c")).unwrap()),
    ];
    for (name, cut) in rows {
        let Some(mut world) = world() else { return };
        world.attach("node-a", 0, "d0");
        cut(&world);
        world.open();
        let wanted = vms(&[("node-a", &[(0, "d0")]), ("node-b", &[])]);
        world.devices().reconcile(&wanted).unwrap();
        world.check(&wanted, &format!("after {name}"));
        assert!(File::open(world.image("d0")).is_ok());
    }
}
