//! Somebody else holds the disk: a tool of a former life, a mount in another namespace, the same call twice.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use support::calls::{Wish, expand, publish, stage, stage_within, unpublish, unstage, unstage_within};
use support::{DATA, GIB, Machine, is_root};
use tonic::Code;

fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.attach(DATA, 1, "sdc", GIB);
    machine
}

/// A process with a mount namespace of its own: a copy of all mounts of this moment.
struct Namespace(Child);

impl Namespace {
    fn copy() -> Namespace {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", "echo ready; read line"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        Namespace(child)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn a_disk_that_a_tool_holds_is_waited_for_and_not_touched() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let wish = Wish::new("ext4", 1);
    let mut options = fs::OpenOptions::new();
    let holder = options.read(true).custom_flags(nix::libc::O_EXCL).open(machine.dev("sdc")).unwrap();
    let (code, why) = stage_within(&machine.node(), &machine, wish, "500m").await.unwrap_err();
    assert!(code == Code::Unavailable && why.contains("held by another program"), "{code} {why}");
    assert_eq!(machine.formats(), 0);
    drop(holder);
    stage(&machine.node(), &machine, wish).await.unwrap();
}

#[tokio::test]
async fn unstage_is_not_done_while_the_file_system_lives_in_another_namespace() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let wish = Wish::new("ext4", 1);
    stage(&machine.node(), &machine, wish).await.unwrap();
    let other = Namespace::copy();
    // Also a driver that was restarted in between must not call it done.
    for _ in 0..2 {
        let (code, why) = unstage_within(&machine.node(), &machine, "500m").await.unwrap_err();
        assert!(code == Code::Unavailable && why.contains("another mount namespace"), "{code} {why}");
    }
    assert_eq!(fs::read_to_string(machine.scsi(1).join("delete")).unwrap(), "");
    // A pod may come back to the node meanwhile.
    stage(&machine.node(), &machine, wish).await.unwrap();
    fs::write(machine.staging().join("file"), "kept").unwrap();
    drop(other);
    unstage(&machine.node(), &machine).await.unwrap();
    assert_eq!(fs::read_to_string(machine.scsi(1).join("delete")).unwrap(), "1");
    stage(&machine.node(), &machine, wish).await.unwrap();
    assert_eq!(fs::read_to_string(machine.staging().join("file")).unwrap(), "kept");
}

#[tokio::test]
async fn open_files_keep_a_volume_and_are_named() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let (node, wish) = (machine.node(), Wish::new("ext4", 1));
    stage(&node, &machine, wish).await.unwrap();
    publish(&node, &machine, wish, "a").await.unwrap();
    let open = fs::File::create(machine.target("a").join("file")).unwrap();
    let (code, why) = unpublish(&node, &machine, "a").await.unwrap_err();
    assert!(code == Code::FailedPrecondition && why.contains("files open"), "{code} {why}");
    drop(open);
    unpublish(&node, &machine, "a").await.unwrap();
}

#[tokio::test]
async fn the_same_call_twice_at_once_formats_once() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let (node, wish) = (machine.node(), Wish::new("ext4", 1));
    let calls = (stage(&node, &machine, wish), stage(&node, &machine, wish));
    let other = Wish::new("xfs", 1);
    let (first, second, third) = tokio::join!(calls.0, calls.1, stage(&node, &machine, other));
    assert_eq!((first, second, machine.formats()), (Ok(()), Ok(()), 1));
    assert_eq!(third.unwrap_err().0, Code::Aborted);
}

/// After a reboot the staging folder still tells of a device whose number another disk has now.
#[tokio::test]
async fn a_record_of_another_boot_or_disk_is_not_believed() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let (node, wish) = (machine.node(), Wish::new("block", 1));
    stage(&node, &machine, wish).await.unwrap();
    let staging = machine.staging();
    let name = "trusted.azuredisk-csi.stage";
    let mut bytes = [0; 256];
    let length = rustix::fs::getxattr(&staging, name, &mut bytes[..]).unwrap();
    let record = String::from_utf8(bytes[..length].to_vec()).unwrap();
    let words: Vec<&str> = record.split(' ').collect();
    let boot = format!("{} {} {} {} another-boot", words[0], words[1], words[2], words[3]);
    let disk = format!("{} {} 1 {} {}", words[0], words[1], words[3], words[4]);
    for stale in [boot, disk] {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&staging, name, stale.as_bytes(), flags).unwrap();
        let (code, _) = expand(&node, &staging, GIB).await.unwrap_err();
        assert_eq!(code, Code::NotFound, "{stale}");
        unstage(&node, &machine).await.unwrap();
        assert_eq!(fs::read_to_string(machine.scsi(1).join("delete")).unwrap(), "", "{stale}");
    }
}
