//! Volumes that the controller published read-only: mounted so, the device sealed after the mount and freed before
//! the next disk can have it; and the same after a kill between any two steps.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;

use csi::v1::volume_capability::access_mode::Mode;
use support::calls::{Wish, publish, stage, unpublish, unstage};
use support::{DATA, GIB, Machine, is_root, sh};
use tonic::Code;

/// A machine whose disk at LUN 1 was used, and unstaged, by a writer.
async fn used(kind: &'static str) -> Machine {
    let mut machine = Machine::new();
    machine.attach(DATA, 1, "sdc", GIB);
    stage(&machine.node(), &machine, Wish::new(kind, 1)).await.unwrap();
    if kind != "block" {
        fs::write(machine.staging().join("file"), "kept").unwrap();
    }
    unstage(&machine.node(), &machine).await.unwrap();
    machine
}

fn reader(kind: &'static str) -> Wish {
    Wish { is_published_read_only: true, ..Wish::new(kind, 1) }
}

/// Whether the kernel refuses writes to a disk, by its own word and by trying.
fn is_sealed(machine: &Machine, name: &str) -> bool {
    let says = sh("blockdev", &["--getro", machine.dev(name).to_str().unwrap()]) == "1";
    let opened = fs::OpenOptions::new().write(true).open(machine.dev(name));
    let wrote = opened.and_then(|device| device.write_all_at(&[0; 4096], GIB - 4096));
    assert_eq!(says, wrote.is_err(), "{name}: {wrote:?}");
    says
}

/// The options of what is mounted at the staging path.
fn staged_options(machine: &Machine) -> String {
    sh("findmnt", &["-n", "-o", "OPTIONS", machine.staging().to_str().unwrap()])
}

#[tokio::test]
async fn a_volume_published_read_only_cannot_be_written_by_anyone() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "ext3", "ext2", "xfs"] {
        let machine = used(kind).await;
        let staging = machine.staging();
        for _ in 0..2 {
            stage(&machine.node(), &machine, reader(kind)).await.unwrap();
            assert!(is_sealed(&machine, "sdc") && staged_options(&machine).starts_with("ro"), "{kind}");
        }
        // The workload does not have to ask for it again.
        publish(&machine.node(), &machine, reader(kind), "a").await.unwrap();
        publish(&machine.node(), &machine, Wish::new(kind, 1), "b").await.unwrap();
        for path in [machine.target("a"), machine.target("b"), staging.clone()] {
            assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "kept", "{kind}");
            assert!(fs::write(path.join("other"), "x").is_err(), "{kind}");
        }
        let remount = Command::new("mount").args(["-o", "remount,rw"]).arg(&staging).output().unwrap();
        assert!(!remount.status.success(), "{kind}");
        for pod in ["a", "b"] {
            unpublish(&machine.node(), &machine, pod).await.unwrap();
        }
        for _ in 0..2 {
            unstage(&machine.node(), &machine).await.unwrap();
            assert!(!is_sealed(&machine, "sdc"), "{kind}");
        }
        stage(&machine.node(), &machine, Wish::new(kind, 1)).await.unwrap();
        assert_eq!(fs::read_to_string(staging.join("file")).unwrap(), "kept", "{kind}");
        fs::write(staging.join("file"), "changed").unwrap();
    }
}

#[tokio::test]
async fn a_raw_volume_published_read_only_is_sealed() {
    if !is_root() {
        return;
    }
    let machine = used("block").await;
    let node = machine.node();
    for _ in 0..2 {
        stage(&node, &machine, reader("block")).await.unwrap();
        assert!(is_sealed(&machine, "sdc"));
    }
    publish(&node, &machine, reader("block"), "a").await.unwrap();
    assert!(fs::write(machine.target("a"), [1; 4096]).is_err() && is_sealed(&machine, "sdc"));
    unpublish(&node, &machine, "a").await.unwrap();
    unstage(&machine.node(), &machine).await.unwrap();
    assert!(!is_sealed(&machine, "sdc"));
    // The next publish of the pair may be read-write.
    stage(&node, &machine, Wish::new("block", 1)).await.unwrap();
    publish(&node, &machine, Wish::new("block", 1), "a").await.unwrap();
    fs::write(machine.target("a"), [1; 4096]).unwrap();
    // And is not taken from whoever writes.
    let (code, why) = stage(&node, &machine, reader("block")).await.unwrap_err();
    assert!(code == Code::AlreadyExists && why.contains("pods/a"), "{code} {why}");
    assert!(!is_sealed(&machine, "sdc"));
}

#[tokio::test]
async fn an_empty_disk_published_read_only_is_not_formatted() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new();
    machine.attach(DATA, 1, "sdc", GIB);
    let (code, why) = stage(&machine.node(), &machine, reader("ext4")).await.unwrap_err();
    assert!(code == Code::FailedPrecondition && why.contains("read-only"), "{code} {why}");
    assert_eq!((machine.formats(), is_sealed(&machine, "sdc")), (0, false));
    stage(&machine.node(), &machine, Wish::new("ext4", 1)).await.unwrap();
}

/// A writer's machine died: what it wrote last is in the journal only. It must be replayed, so the device is sealed
/// after the mount, and a seal that was left on it comes off before.
#[tokio::test]
async fn a_journal_left_dirty_is_replayed_before_the_seal() {
    if !is_root() {
        return;
    }
    for (kind, was_sealed) in [("ext4", false), ("xfs", false), ("ext4", true), ("xfs", true)] {
        let mut machine = Machine::new();
        machine.attach(DATA, 2, "sdd", GIB);
        let writer = Wish::new(kind, 2);
        stage(&machine.node(), &machine, writer).await.unwrap();
        let file = fs::File::create(machine.staging().join("file")).unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        file.sync_all().unwrap();
        sh("sync", &["-f", machine.image("sdd").to_str().unwrap()]);
        let (from, to) = (machine.image("sdd"), machine.image("sdc"));
        sh("cp", &["--sparse=always", from.to_str().unwrap(), to.to_str().unwrap()]);
        drop(file);
        unstage(&machine.node(), &machine).await.unwrap();
        machine.attach_file(DATA, 1, "sdc", &to);
        assert!(is_dirty(&machine, kind), "{kind}: the copy has nothing to replay");
        if was_sealed {
            sh("blockdev", &["--setro", machine.dev("sdc").to_str().unwrap()]);
        }
        stage(&machine.node(), &machine, reader(kind)).await.unwrap();
        assert_eq!(fs::read_to_string(machine.staging().join("file")).unwrap(), "kept", "{kind}");
        assert!(is_sealed(&machine, "sdc"));
        unstage(&machine.node(), &machine).await.unwrap();
        assert!(!is_sealed(&machine, "sdc"));
    }
}

/// Whether a file system needs its journal: by trying what the kernel refuses then.
fn is_dirty(machine: &Machine, kind: &str) -> bool {
    let (device, folder) = (machine.dev("sdc"), machine.path("look"));
    fs::create_dir_all(&folder).unwrap();
    let options = if kind == "xfs" { "ro,norecovery,nouuid" } else { "ro,noload" };
    let mut mount = Command::new("mount");
    let mounted = mount.args(["-t", kind, "-o", options]).args([&device, &folder]).output().unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
    let is_dirty = fs::read_to_string(folder.join("file")).is_err();
    sh("umount", &[folder.to_str().unwrap()]);
    is_dirty
}

/// The steps of a stage and an unstage, each followed by a kill: the repeated call ends as the uncut one.
#[tokio::test]
async fn a_kill_between_the_steps_converges() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "xfs"] {
        let machine = used(kind).await;
        // Mounted, not sealed.
        let mounted = Wish { mode: Mode::SingleNodeReaderOnly, ..Wish::new(kind, 1) };
        stage(&machine.node(), &machine, mounted).await.unwrap();
        assert!(!is_sealed(&machine, "sdc"), "only a publish by the controller seals");
        stage(&machine.node(), &machine, reader(kind)).await.unwrap();
        assert!(is_sealed(&machine, "sdc"), "{kind}");
        // Unmounted, not unsealed; then the unstage again.
        sh("umount", &[machine.staging().to_str().unwrap()]);
        unstage(&machine.node(), &machine).await.unwrap();
        assert!(!is_sealed(&machine, "sdc"), "{kind}");
        // The same, then a stage, in either mode.
        for next in [reader(kind), Wish::new(kind, 1)] {
            stage(&machine.node(), &machine, reader(kind)).await.unwrap();
            sh("umount", &[machine.staging().to_str().unwrap()]);
            stage(&machine.node(), &machine, next).await.unwrap();
            assert_eq!(is_sealed(&machine, "sdc"), next.is_published_read_only, "{kind}");
            unstage(&machine.node(), &machine).await.unwrap();
            assert!(!is_sealed(&machine, "sdc"), "{kind}");
        }
    }
}
