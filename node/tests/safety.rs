//! No disk that might hold data is ever formatted: for each way of being unreadable, absent or foreign, stage
//! refuses, no mkfs runs, and the bytes stay. A control shows that blkid's word alone would not do.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use csi::v1::volume_capability::access_mode::Mode;
use support::calls::{Wish, stage, stage_within, unstage};
use support::faults::{Unreadable, can_fail_reads, unreadable};
use support::{DATA, Machine, bytes_of, is_root, sh};
use tonic::Code;

/// Small, so that whole disks can be compared; big enough for mkfs.xfs and the format marker.
const SIZE: u64 = 320 << 20;

fn blank(path: &Path) -> PathBuf {
    fs::File::create(path).unwrap().set_len(SIZE).unwrap();
    path.to_owned()
}

fn put(image: &Path, offset: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(image).unwrap().write_all_at(bytes, offset).unwrap();
}

/// blkid's answer for a device: exit code and text.
fn blkid(device: &Path) -> (Option<i32>, String) {
    let output = Command::new("/usr/sbin/blkid").arg("-p").arg(device).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Stages what is in `image` (seen through a fault, if any) as each file system: all must refuse. Returns the
/// reason, and whether blkid alone would have called the disk empty.
async fn refused(machine: &mut Machine, image: &Path, shown: &Path) -> (String, bool) {
    let before = bytes_of(image);
    machine.attach_file(DATA, 1, "sdc", shown);
    let (code, text) = blkid(&machine.dev("sdc"));
    let node = machine.node();
    let mut reason = String::new();
    for kind in ["ext4", "xfs", "ext4"] {
        let (code, why) = stage(&node, machine, Wish::new(kind, 1)).await.unwrap_err();
        assert_eq!(code, Code::FailedPrecondition, "{kind}: {why}");
        reason = why;
    }
    assert_eq!(machine.formats(), 0, "{reason}");
    assert!(bytes_of(image) == before, "the bytes changed: {reason}");
    let refusals = node.counters().refusals.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(refusals, 3, "{reason}");
    (reason, code == Some(2) && text.is_empty())
}

/// What is put on the blank image.
type Make = fn(&Path);

fn mkfs(image: &Path, tool: &str, arguments: &[&str]) {
    let mut arguments: Vec<&str> = arguments.to_vec();
    arguments.push(image.to_str().unwrap());
    sh(tool, &arguments);
}

#[tokio::test]
async fn foreign_content_is_left_alone() {
    if !is_root() {
        return;
    }
    let rows: [(&str, &str, Make); 14] = [
        ("LUKS", "LUKS", |image| put(image, 0, b"LUKS\xba\xbe\0\x02")),
        ("GPT", "GPT", |image| {
            put(image, 510, b"\x55\xaa");
            put(image, 512, b"EFI PART\0\0\x01\0");
        }),
        ("GPT, only its copy at the end", "not blank", |image| put(image, SIZE - 512, b"EFI PART\0\0\x01\0")),
        ("btrfs", "btrfs", |image| put(image, 0x1_0040, b"_BHRfS_M")),
        ("swap", "swap", |image| put(image, 4086, b"SWAPSPACE2")),
        ("xfs without its first sector", "no known file system", |image| {
            mkfs(image, "mkfs.xfs", &["-q"]);
            put(image, 0, &[0; 512]);
        }),
        ("xfs without its first MiB", "not blank", |image| {
            mkfs(image, "mkfs.xfs", &["-q"]);
            put(image, 0, &vec![0; 1 << 20]);
        }),
        ("ext4 without its first superblock", "no known file system", |image| {
            mkfs(image, "mkfs.ext4", &["-q"]);
            put(image, 1024, &[0; 1024]);
        }),
        ("ext4 without its first MiB", "not blank", |image| {
            mkfs(image, "mkfs.ext4", &["-q", "-b", "4096"]);
            put(image, 0, &vec![0; 1 << 20]);
        }),
        ("a database's pages in the middle", "not blank", |image| put(image, SIZE / 2, &vec![1; 4 << 20])),
        ("one byte at the very end", "not blank", |image| put(image, SIZE - 1, b"x")),
        ("the first part of a bigger ext4", "larger than the disk", |image| {
            fs::OpenOptions::new().write(true).open(image).unwrap().set_len(2 * SIZE).unwrap();
            mkfs(image, "mkfs.ext4", &["-q"]);
            fs::OpenOptions::new().write(true).open(image).unwrap().set_len(SIZE).unwrap();
        }),
        ("ext2", "holds ext2", |image| mkfs(image, "mkfs.ext2", &["-q"])),
        ("two file systems", "ext4 and xfs", |image| {
            mkfs(image, "mkfs.ext4", &["-q"]);
            let head = image.with_extension("xfs");
            mkfs(&blank(&head), "mkfs.xfs", &["-q"]);
            put(image, 0, &fs::read(head).unwrap()[..512]);
        }),
    ];
    for (name, reason, make) in rows {
        let mut machine = Machine::new();
        let image = blank(&machine.image("disk"));
        make(&image);
        let (why, _) = refused(&mut machine, &image, &image).await;
        assert!(why.contains(reason), "{name}: {why}");
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_is_left_alone_though_blkid_calls_it_empty() {
    if !is_root() || !can_fail_reads() {
        return;
    }
    // Blank and in use: the images are sound, only the reads fail.
    let in_use: Make = |image| mkfs(image, "mkfs.ext4", &["-q"]);
    let empty: Make = |_| ();
    let rows = [
        ("all reads, blank", empty, Unreadable::All),
        ("all reads, ext4", in_use, Unreadable::All),
        ("the first read, ext4", in_use, Unreadable::At(0)),
        ("a late read, blank", empty, Unreadable::At(SIZE - 512)),
        ("a sample in the middle, blank", empty, Unreadable::At(SIZE / 4 * 3)),
        ("the marker's place, blank", empty, Unreadable::At((128 << 20) - 4096)),
    ];
    let mut blkid_would_format = 0;
    for (name, make, which) in rows {
        let mut machine = Machine::new();
        let image = blank(&machine.image("disk"));
        make(&image);
        let shown = unreadable(&mut machine, &image, which);
        let (why, called_empty) = refused(&mut machine, &image, &shown).await;
        assert!(why.contains("cannot be read at byte"), "{name}: {why}");
        blkid_would_format += usize::from(called_empty);
        let _ = writeln!(
            std::io::stderr(),
            "{name}: refused; blkid alone {} it",
            if called_empty { "would format" } else { "would keep" }
        );
    }
    // The control: a probe that trusts blkid formats a healthy ext4 here, so this test can fail.
    assert!(blkid_would_format >= 3, "blkid called only {blkid_would_format} of them empty");
}

#[tokio::test]
async fn an_absent_node_or_one_of_another_disk_is_waited_for_and_never_formatted() {
    if !is_root() {
        return;
    }
    for other in [false, true] {
        let mut machine = Machine::new();
        let image = blank(&machine.image("disk"));
        machine.attach_file(DATA, 1, "sdc", &image);
        fs::remove_file(machine.dev("sdc")).unwrap();
        if other {
            fs::rename(machine.dev("sdb"), machine.dev("sdc")).unwrap();
        } else {
            assert_eq!(blkid(&machine.dev("sdc")).0, Some(2), "blkid alone would format it");
        }
        let (code, why) =
            stage_within(&machine.node(), &machine, Wish::new("ext4", 1), "300m").await.unwrap_err();
        assert!(code == Code::Unavailable && why.contains("sdc"), "{code} {why}");
        assert_eq!(machine.formats(), 0);
    }
}

#[tokio::test]
async fn a_blank_disk_is_formatted_once_and_never_read_only() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "ext3", "ext2", "xfs"] {
        let mut machine = Machine::new();
        let image = blank(&machine.image("disk"));
        machine.attach_file(DATA, 1, "sdc", &image);
        let before = bytes_of(&image);
        let reader = Wish { mode: Mode::SingleNodeReaderOnly, ..Wish::new(kind, 1) };
        let (code, why) = stage(&machine.node(), &machine, reader).await.unwrap_err();
        assert!(code == Code::FailedPrecondition && why.contains("read-only"), "{code} {why}");
        assert!(bytes_of(&image) == before && machine.formats() == 0);
        for _ in 0..3 {
            stage(&machine.node(), &machine, Wish::new(kind, 1)).await.unwrap();
            unstage(&machine.node(), &machine).await.unwrap();
        }
        stage(&machine.node(), &machine, reader).await.unwrap();
        assert_eq!(machine.formats(), 1, "{kind}");
    }
}

#[tokio::test]
async fn what_blkid_knows_and_we_do_not_is_a_veto() {
    if !is_root() {
        return;
    }
    for script in ["echo 'TYPE=\"novel\"'; exit 0", "exit 8", "exit 0", "echo ambivalent; exit 2", "exit 127"]
    {
        let mut machine = Machine::new();
        let image = blank(&machine.image("disk"));
        machine.tool("blkid", script);
        let (why, _) = refused(&mut machine, &image, &image).await;
        assert!(why.contains("blkid does not call it empty"), "{script}: {why}");
    }
}
