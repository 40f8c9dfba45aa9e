//! A format that is cut anywhere converges: the next stage, by a driver that remembers nothing, formats the
//! same disk again, and what was once mounted is never formatted.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::process::Command;

use support::calls::{Answer, Wish, stage, unstage};
use support::{DATA, Machine, bytes_of, is_root};
use tonic::Code;

const SIZE: u64 = 320 << 20;
const MARKER: u64 = (128 << 20) - 4096;

/// A machine with a blank data disk at LUN 1, whose mkfs is `script`.
fn machine(kind: &str, script: &str) -> Machine {
    let mut machine = Machine::new();
    machine.attach(DATA, 1, "sdc", SIZE);
    break_mkfs(&machine, kind, script);
    machine
}

fn break_mkfs(machine: &Machine, kind: &str, script: &str) {
    let tool = format!("mkfs.{kind}");
    let log = machine.path("ran");
    machine.tool(&tool, &format!("echo {tool} >> {}\n{script}", log.display()));
}

fn mend_mkfs(machine: &Machine, kind: &str) {
    break_mkfs(machine, kind, &format!("exec /usr/sbin/mkfs.{kind} \"$@\""));
}

fn marker_is_there(machine: &Machine) -> bool {
    bytes_of(&machine.image("sdc")).get(&MARKER).is_some_and(|block| block.starts_with(b"\x89azd-formatting"))
}

/// Stages with a mkfs that is cut by `script`; then with a sound one: it must work, and keep its files.
async fn converges(kind: &'static str, script: &str) -> Answer {
    let machine = machine(kind, script);
    let cut = stage(&machine.node(), &machine, Wish::new(kind, 1)).await;
    assert!(cut.is_ok() || marker_is_there(&machine), "{kind}: {script}: {cut:?}");
    mend_mkfs(&machine, kind);
    let formats = machine.formats();
    stage(&machine.node(), &machine, Wish::new(kind, 1))
        .await
        .unwrap_or_else(|why| panic!("{kind}: {script}: {why:?}"));
    assert!(!marker_is_there(&machine), "{kind}: {script}");
    fs::write(machine.staging().join("file"), "kept").unwrap();
    unstage(&machine.node(), &machine).await.unwrap();
    stage(&machine.node(), &machine, Wish::new(kind, 1)).await.unwrap();
    assert_eq!(fs::read_to_string(machine.staging().join("file")).unwrap(), "kept");
    let again = machine.formats() - formats;
    assert_eq!(again, usize::from(cut.is_err()), "{kind}: {script}: formatted {again} times after the cut");
    cut
}

#[tokio::test]
async fn a_format_cut_before_its_first_or_after_its_last_write_converges() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "ext3", "ext2"] {
        for script in ["kill -9 $$", "exit 1", &format!("/usr/sbin/mkfs.{kind} \"$@\"; kill -9 $$")] {
            let (code, why) = converges(kind, script).await.unwrap_err();
            assert!(code == Code::Unavailable && why.contains("formats it again"), "{code} {why}");
        }
    }
    converges("xfs", "kill -9 $$").await.unwrap_err();
}

/// A complete xfs does not tell whether it was ever mounted: it is kept.
#[tokio::test]
async fn a_complete_xfs_is_kept_when_its_format_was_cut_after_the_last_write() {
    if !is_root() {
        return;
    }
    let machine = machine("xfs", "/usr/sbin/mkfs.xfs \"$@\"; kill -9 $$");
    stage(&machine.node(), &machine, Wish::new("xfs", 1)).await.unwrap_err();
    assert!(marker_is_there(&machine));
    stage(&machine.node(), &machine, Wish::new("xfs", 1)).await.unwrap();
    assert_eq!((machine.formats(), marker_is_there(&machine)), (1, false));
}

#[tokio::test]
async fn a_format_killed_at_any_write_converges() {
    if !is_root() {
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        let _ = writeln!(std::io::stderr(), "skipped: needs strace");
        return;
    }
    for kind in ["ext4", "xfs"] {
        let mut kills = 0;
        for write in [1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 30, 40, 60, 90] {
            let kill = format!("inject=pwrite64,write,fsync,fdatasync:signal=SIGKILL:when={write}");
            let strace = format!("exec strace -f -qqq -o /dev/null -e {kill} /usr/sbin/mkfs.{kind} \"$@\"");
            if converges(kind, &strace).await.is_ok() {
                break; // it ended before that write
            }
            kills += 1;
        }
        let _ = writeln!(std::io::stderr(), "mkfs.{kind} killed at {kills} points");
        assert!(kills >= 5, "mkfs.{kind} was killed at only {kills} points");
    }
}

#[tokio::test]
async fn a_cut_format_is_no_licence_for_another_volume_or_for_other_content() {
    if !is_root() {
        return;
    }
    let machine = machine("ext4", "kill -9 $$");
    stage(&machine.node(), &machine, Wish::new("ext4", 1)).await.unwrap_err();
    mend_mkfs(&machine, "ext4");
    let (formats, before) = (machine.formats(), bytes_of(&machine.image("sdc")));
    let copy = Wish { id: "a-volume-made-from-its-snapshot", ..Wish::new("ext4", 1) };
    let (code, why) = stage(&machine.node(), &machine, copy).await.unwrap_err();
    assert!(code == Code::FailedPrecondition && why.contains("another volume"), "{code} {why}");
    let device = fs::OpenOptions::new().write(true).open(machine.dev("sdc")).unwrap();
    device.write_all_at(b"LUKS\xba\xbe", 0).unwrap();
    device.sync_all().unwrap();
    let (code, why) = stage(&machine.node(), &machine, Wish::new("ext4", 1)).await.unwrap_err();
    assert!(code == Code::FailedPrecondition && why.contains("LUKS"), "{code} {why}");
    device.write_all_at(&[0; 6], 0).unwrap();
    device.sync_all().unwrap();
    assert!(bytes_of(&machine.image("sdc")) == before && machine.formats() == formats);
}

/// Else a later stage as a file system would take the owner's raw bytes for the ruin of the format.
#[tokio::test]
async fn a_raw_stage_ends_a_cut_format() {
    if !is_root() {
        return;
    }
    let machine = machine("ext4", "kill -9 $$");
    stage(&machine.node(), &machine, Wish::new("ext4", 1)).await.unwrap_err();
    assert!(marker_is_there(&machine));
    stage(&machine.node(), &machine, Wish::new("block", 1)).await.unwrap();
    assert!(bytes_of(&machine.image("sdc")).is_empty());
    let device = fs::OpenOptions::new().write(true).open(machine.dev("sdc")).unwrap();
    device.write_all_at(b"somebody's", 4 << 20).unwrap();
    device.sync_all().unwrap();
    drop(device);
    unstage(&machine.node(), &machine).await.unwrap();
    let (code, why) = stage(&machine.node(), &machine, Wish::new("ext4", 1)).await.unwrap_err();
    assert!(code == Code::FailedPrecondition && why.contains("not blank"), "{code} {why}");
}
