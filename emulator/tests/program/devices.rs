//! The model and its block devices: they follow attach, resize, snapshot and delete, and a kill leaves none behind.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::process::{Program, Reply, id};

/// Sizes of a VM's block devices but for the two decoys, by name.
fn disks(state: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(state.join("vms/node-a/dev")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut disks: Vec<(String, u64)> = names
        .filter(|name| name.starts_with("sd") && name != "sda" && name != "sdb")
        .map(|name| {
            let size =
                File::open(state.join("vms/node-a/dev").join(&name)).unwrap().seek(SeekFrom::End(0)).unwrap();
            (name, size >> 30)
        })
        .collect();
    disks.sort();
    disks
}

/// Names of the loop devices on files below the directory.
fn loops(state: &Path) -> Vec<String> {
    let blocks = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
    let below = |block: &PathBuf| {
        fs::read_to_string(block.join("loop/backing_file"))
            .is_ok_and(|file| file.starts_with(state.to_str().unwrap()))
    };
    blocks.filter(below).map(|block| block.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// A state directory that frees its loop devices, also when its test fails.
struct StateDirectory(tempfile::TempDir);

impl Drop for StateDirectory {
    fn drop(&mut self) {
        for device in loops(self.0.path()) {
            let _ = Command::new("losetup").arg("-d").arg(format!("/dev/{device}")).status();
        }
    }
}

fn with_devices(state: &Path) -> Option<Program> {
    if !nix::unistd::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "skipped: needs root");
        return None;
    }
    Some(Program::start(state, &["--devices", "loop"]))
}

fn detach(program: &Program, disk: &str) -> Reply {
    let body = json!({ "dataDisksToDetach": [{ "diskId": id(&format!("disks/{disk}")) }] });
    let accepted = program.arm("POST", "virtualMachines/node-a/attachDetachDataDisks", &body).unwrap();
    assert_eq!(accepted.status, 200);
    program.get("/_emulator/counts");
    accepted
}

#[test]
fn devices_follow_the_model() {
    let directory = StateDirectory(tempfile::tempdir().unwrap());
    let state = directory.0.path();
    let Some(program) = with_devices(state) else { return };
    program.create("a", 8).unwrap();
    program.attach("a", 1);
    program.get("/_emulator/counts");
    assert_eq!(disks(state), [("sdc".to_owned(), 8)]);
    let node = OpenOptions::new().write(true).open(state.join("vms/node-a/dev/sdc")).unwrap();
    node.write_all_at(b"kept", 4 << 30).unwrap();
    node.sync_all().unwrap();
    drop(node);

    let source = json!({ "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": id("disks/a") }, "incremental": true } });
    program.arm("PUT", "snapshots/s", &source).unwrap();
    program.arm("PATCH", "disks/a", &json!({ "properties": { "diskSizeGB": 12 } })).unwrap();
    program.get("/_emulator/counts");
    assert_eq!(disks(state), [("sdc".to_owned(), 12)]);
    detach(&program, "a");
    assert_eq!(disks(state), []);

    let copy = json!({ "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": id("snapshots/s") } } });
    assert_eq!(program.arm("PUT", "disks/b", &copy).unwrap().status, 202);
    program.attach("b", 0);
    program.get("/_emulator/counts");
    let seen = disks(state);
    let [(name, 8)] = seen.as_slice() else { panic!("not one disk of the snapshot's size: {seen:?}") };
    let mut bytes = [0; 4];
    File::open(state.join("vms/node-a/dev").join(name)).unwrap().read_exact_at(&mut bytes, 4 << 30).unwrap();
    assert_eq!(&bytes, b"kept");

    detach(&program, "b");
    for path in ["disks/a", "disks/b", "snapshots/s"] {
        assert_eq!(program.arm("DELETE", path, &Value::Null).unwrap().status, 202);
    }
    program.get("/_emulator/counts");
    assert_eq!(fs::read_dir(state.join("disks")).unwrap().count(), 0);
    assert_eq!(program.terminate().code(), Some(0));
    assert!(loops(state).is_empty());
}

#[test]
fn a_kill_leaves_no_device_behind_and_a_restart_finds_them_again() {
    let directory = StateDirectory(tempfile::tempdir().unwrap());
    let state = directory.0.path();
    let Some(program) = with_devices(state) else { return };
    for (name, lun) in [("a", 0), ("b", 1)] {
        program.create(name, 8).unwrap();
        program.attach(name, lun);
    }
    program.get("/_emulator/counts");
    let before = disks(state);
    program.send("PUT", "/_emulator/latency", &json!({ "operation_ms": 3_600_000 })).unwrap();
    detach(&program, "a");
    program.create("c", 8).unwrap();
    program.attach("b", 1);
    program.kill();
    // Bytes of a request whose acceptance was never saved.
    File::create(state.join("disks/orphan.img")).unwrap();

    let program = with_devices(state).unwrap();
    assert_eq!(disks(state), before, "found again, under their names");
    assert!(!state.join("disks/orphan.img").exists());
    program.advance(3_600_000);
    assert_eq!(disks(state).len(), 1, "the detach ended as drawn");
    assert!(program.send("DELETE", "/_emulator/vms/node-a", &Value::Null).unwrap().status == 204);
    assert!(!state.join("vms/node-a").exists());
    assert_eq!(program.terminate().code(), Some(0));
    assert!(loops(state).is_empty());
}

#[test]
fn bytes_that_cannot_be_copied_make_the_operation_fail() {
    let directory = StateDirectory(tempfile::tempdir().unwrap());
    let state = directory.0.path();
    let Some(program) = with_devices(state) else { return };
    program.create("a", 8).unwrap();
    program.get("/_emulator/counts");
    for image in fs::read_dir(state.join("disks")).unwrap() {
        fs::remove_file(image.unwrap().path()).unwrap();
    }
    let source = json!({ "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": id("disks/a") } } });
    for path in ["snapshots/s", "disks/b"] {
        let accepted = program.arm("PUT", path, &source).unwrap();
        assert_eq!(accepted.status, 202);
        let ended = program.get(&accepted.poll_path());
        assert_eq!(
            (&ended["status"], &ended["error"]["code"]),
            (&json!("Failed"), &json!("InternalOperationError"))
        );
        let left = program.arm("GET", path, &Value::Null).unwrap().body;
        assert_eq!(left["properties"]["provisioningState"], "Failed");
    }
    assert_eq!(program.terminate().code(), Some(0));
}

#[test]
fn a_vm_that_is_off_shows_no_data_disks_and_has_them_at_their_luns_when_it_is_on_again() {
    let directory = StateDirectory(tempfile::tempdir().unwrap());
    let state = directory.0.path();
    let Some(mut program) = with_devices(state) else { return };
    let switch = |program: &Program, action: &str| {
        let path = format!("virtualMachines/node-a/{action}");
        let accepted = program.arm("POST", &path, &Value::Null).unwrap();
        assert_eq!(accepted.status, 202, "{action}");
        program.ends_well(&accepted);
    };
    for (name, gib, lun) in [("a", 8, 0), ("b", 16, 3)] {
        program.create(name, gib).unwrap();
        program.ends_well(&program.attach(name, lun));
    }
    program.create("c", 32).unwrap();
    program.get("/_emulator/counts");
    assert_eq!(disks(state).len(), 2);
    for action in ["powerOff", "deallocate"] {
        switch(&program, action);
        assert_eq!(disks(state), [], "{action}");
        program.kill();
        program = with_devices(state).unwrap();
        assert_eq!(disks(state), [], "{action}, after a restart of the emulator");
        program.ends_well(&detach(&program, "a"));
        program.ends_well(&program.attach("c", 1));
        assert_eq!(disks(state), [], "{action}, with another disk");
        switch(&program, "start");
        let mut sizes: Vec<u64> = disks(state).into_iter().map(|(_, gib)| gib).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [16, 32], "{action}");
        program.ends_well(&detach(&program, "c"));
        program.ends_well(&program.attach("a", 0));
    }
    assert_eq!(program.terminate().code(), Some(0));
    assert!(loops(state).is_empty());
}
