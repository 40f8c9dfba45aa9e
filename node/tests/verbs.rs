//! Every verb on real loop devices: the life of a volume, and each step repeated.

#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, mpsc};

use csi::v1::volume_capability::access_mode::Mode;
use support::calls::{Wish, publish, stage, stage_within, stats, unpublish, unstage};
use support::faults::{Hang, Unwell};
use support::{DATA, GIB, Machine, is_root};
use tonic::Code;

fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.attach(DATA, 1, "sdc", GIB);
    machine
}

/// The whole life, every call made twice; returns the tools that ran.
async fn live(kind: &'static str) -> Vec<String> {
    let machine = machine();
    let (node, wish) = (machine.node(), Wish::new(kind, 1));
    for _ in 0..2 {
        stage(&node, &machine, wish).await.unwrap();
    }
    for pod in ["a", "a", "b"] {
        publish(&node, &machine, wish, pod).await.unwrap();
    }
    let (a, b) = (machine.target("a"), machine.target("b"));
    if kind == "block" {
        let mut start = vec![7; 4096];
        fs::write(&b, &start).unwrap();
        start.fill(0);
        let mut file = fs::File::open(&a).unwrap();
        std::io::Read::read_exact(&mut file, &mut start).unwrap();
        assert_eq!(start, vec![7; 4096]);
    } else {
        fs::write(a.join("file"), "kept").unwrap();
        assert_eq!(fs::read_to_string(b.join("file")).unwrap(), "kept");
    }
    let (code, why) = unstage(&node, &machine).await.unwrap_err();
    assert!(code == Code::FailedPrecondition && why.contains("pods/a"), "{code} {why}");
    for pod in ["a", "a", "b"] {
        unpublish(&node, &machine, pod).await.unwrap();
        assert!(!machine.target(pod).exists());
    }
    for _ in 0..2 {
        unstage(&node, &machine).await.unwrap();
    }
    assert_eq!(fs::read_to_string(machine.scsi(1).join("delete")).unwrap(), "1");
    assert_eq!(machine.mounts(), Vec::<std::path::PathBuf>::new());
    // The same attachment again, by a driver that was restarted.
    let node = machine.node();
    stage(&node, &machine, wish).await.unwrap();
    publish(&node, &machine, wish, "a").await.unwrap();
    if kind != "block" {
        assert_eq!(fs::read_to_string(a.join("file")).unwrap(), "kept");
    }
    unpublish(&node, &machine, "a").await.unwrap();
    unstage(&machine.node(), &machine).await.unwrap();
    for decoy in ["sda", "sdb"] {
        let blocks = fs::metadata(machine.image(decoy)).unwrap().blocks();
        assert_eq!(blocks, 0, "{decoy} is a system disk and was written to");
    }
    machine.ran()
}

#[tokio::test]
async fn a_volume_lives_its_life() {
    if !is_root() {
        return;
    }
    assert_eq!(live("ext4").await, ["blkid", "mkfs.ext4", "e2fsck"]);
    assert_eq!(live("ext3").await, ["blkid", "mkfs.ext3", "e2fsck"]);
    assert_eq!(live("ext2").await, ["blkid", "mkfs.ext2", "e2fsck"]);
    assert_eq!(live("xfs").await, ["blkid", "mkfs.xfs"]);
    assert_eq!(live("block").await, Vec::<String>::new());
}

/// Stages as one thing, then asks for another at the same path.
async fn restage(first: Wish, second: Wish) -> Code {
    let mut machine = machine();
    machine.attach(DATA, 2, "sdd", GIB);
    let node = machine.node();
    stage(&node, &machine, first).await.unwrap();
    stage(&node, &machine, second).await.unwrap_err().0
}

#[tokio::test]
async fn a_staged_volume_is_not_staged_as_something_else() {
    if !is_root() {
        return;
    }
    let ext4 = Wish::new("ext4", 1);
    let reader = Wish { mode: Mode::SingleNodeReaderOnly, ..ext4 };
    for second in [Wish::new("xfs", 1), Wish::new("ext4", 2), Wish::new("block", 1), reader] {
        assert_eq!(restage(ext4, second).await, Code::AlreadyExists, "{second:?}");
    }
    assert_eq!(restage(Wish::new("block", 1), ext4).await, Code::AlreadyExists);
}

#[tokio::test]
async fn a_disk_in_the_hands_of_a_workload_is_not_formatted() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let node = machine.node();
    // Published by a driver that left no record.
    publish(&node, &machine, Wish::new("block", 1), "a").await.unwrap();
    let (code, why) = stage(&node, &machine, Wish::new("ext4", 1)).await.unwrap_err();
    assert!(code == Code::AlreadyExists && why.contains("pods/a"), "{code} {why}");
    assert_eq!(machine.formats(), 0);
}

/// The disk vanished under its file system, and is attached again under another number.
#[tokio::test]
async fn a_dead_file_system_gives_way_to_the_disk() {
    if !is_root() {
        return;
    }
    let mut machine = machine();
    let (node, wish) = (machine.node(), Wish::new("ext4", 1));
    stage(&node, &machine, wish).await.unwrap();
    let old = machine.loop_of("sdc").number();
    fs::remove_dir_all(machine.scsi(1).canonicalize().unwrap()).unwrap();
    fs::remove_file(machine.path("root/sys/dev/block").join(old)).unwrap();
    machine.attach(DATA, 1, "sdd", GIB);
    stage(&node, &machine, wish).await.unwrap();
    let number = machine.loop_of("sdd").number();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let staging = machine.staging();
    let staged: Vec<&str> = table.lines().filter(|line| line.contains(staging.to_str().unwrap())).collect();
    assert!(staged.len() == 1 && staged[0].contains(&format!(" {number} / ")), "{staged:?}");
}

#[tokio::test]
async fn bad_requests_are_named_before_anything_is_touched() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let node = machine.node();
    let many = Wish { mode: Mode::MultiNodeMultiWriter, ..Wish::new("ext4", 1) };
    assert_eq!(stage(&node, &machine, many).await.unwrap_err().0, Code::FailedPrecondition);
    assert_eq!(stage(&node, &machine, Wish::new("ntfs", 1)).await.unwrap_err().0, Code::InvalidArgument);
    assert_eq!(stage(&node, &machine, Wish::new("ext4", 64)).await.unwrap_err().0, Code::InvalidArgument);
    assert!(machine.ran().is_empty() && !machine.staging().exists());
}

#[tokio::test]
async fn a_second_publish_follows_its_mode() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "block"] {
        let machine = machine();
        let node = machine.node();
        let one = Wish { mode: Mode::SingleNodeSingleWriter, ..Wish::new(kind, 1) };
        let (pod, code) = ("a", |answer: support::calls::Answer| answer.map_err(|(code, _)| code));
        if kind == "ext4" {
            let unstaged = publish(&node, &machine, one, pod).await;
            assert_eq!(code(unstaged), Err(Code::FailedPrecondition), "not staged");
        }
        stage(&node, &machine, one).await.unwrap();
        publish(&node, &machine, one, pod).await.unwrap();
        let reader = Wish { read_only: true, ..one };
        assert_eq!(code(publish(&node, &machine, reader, pod).await), Err(Code::AlreadyExists), "{kind}");
        assert_eq!(code(publish(&node, &machine, one, "b").await), Err(Code::FailedPrecondition), "{kind}");
        let many = Wish::new(kind, 1);
        publish(&node, &machine, many, "c").await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_publish_cannot_be_written_through() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "block"] {
        let machine = machine();
        let (node, wish) = (machine.node(), Wish { read_only: true, ..Wish::new(kind, 1) });
        stage(&node, &machine, wish).await.unwrap();
        publish(&node, &machine, wish, "a").await.unwrap();
        publish(&node, &machine, wish, "a").await.unwrap();
        let target = machine.target("a");
        let file = if kind == "block" { target } else { target.join("file") };
        assert!(fs::write(file, "x").is_err(), "{kind}");
        unpublish(&node, &machine, "a").await.unwrap();
        let writer = Wish { read_only: false, ..wish };
        publish(&node, &machine, writer, "b").await.unwrap();
        let target = machine.target("b");
        fs::write(if kind == "block" { target } else { target.join("file") }, "x").unwrap();
    }
}

#[tokio::test]
async fn unpublish_keeps_what_is_not_the_volumes() {
    if !is_root() {
        return;
    }
    let machine = machine();
    fs::create_dir_all(machine.target("a")).unwrap();
    fs::write(machine.target("a").join("file"), "not the volume's").unwrap();
    let (code, _) = unpublish(&machine.node(), &machine, "a").await.unwrap_err();
    assert_eq!(code, Code::FailedPrecondition);
    assert!(machine.target("a").join("file").exists());
}

#[tokio::test]
async fn stats_are_of_volumes_only() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let (node, wish) = (machine.node(), Wish::new("ext4", 1));
    stage(&node, &machine, wish).await.unwrap();
    publish(&node, &machine, wish, "a").await.unwrap();
    let usage = stats(&node, machine.target("a").to_str().unwrap()).await.unwrap();
    let (bytes, inodes) = (usage[0], usage[1]);
    assert!(bytes.total > 900 << 20 && bytes.total >= bytes.used + bytes.available, "{bytes:?}");
    assert_eq!((inodes.total, inodes.used, inodes.available), (65536, 11, 65525));
    for path in ["some/path", "/no/such/path", machine.path("pods").to_str().unwrap()] {
        assert_eq!(stats(&node, path).await, Err(Code::NotFound), "{path}");
    }
    unpublish(&node, &machine, "a").await.unwrap();
    unstage(&node, &machine).await.unwrap();
    stage(&node, &machine, Wish::new("block", 1)).await.unwrap();
    publish(&node, &machine, Wish::new("block", 1), "a").await.unwrap();
    let usage = stats(&node, machine.target("a").to_str().unwrap()).await.unwrap();
    assert_eq!((usage.len(), usage[0].total), (1, GIB.cast_signed()));
}

#[tokio::test]
async fn a_disk_that_does_not_come_is_waited_for_and_named() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let (code, why) =
        stage_within(&machine.node(), &machine, Wish::new("ext4", 5), "500m").await.unwrap_err();
    assert_eq!(code, Code::Unavailable);
    assert!(why.contains("LUN 5") && why.contains("1:0:0:1 sdc (data)"), "{why}");
    let scan = fs::read_to_string(machine.path("root/sys/class/scsi_host/host1/scan")).unwrap();
    let system = fs::read_to_string(machine.path("root/sys/class/scsi_host/host0/scan")).unwrap();
    assert_eq!((scan.as_str(), system.as_str()), ("- - -", ""), "only data hosts are asked to look again");
}

#[tokio::test]
async fn one_dead_disk_holds_up_no_other_call() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let wish = Wish::new("ext4", 1);
    let (entered, has_entered) = mpsc::channel();
    let (release, waits) = mpsc::channel();
    let hang = Hang { path: machine.target("a"), entered, release: Mutex::new(waits) };
    let node = Machine::node_on(Arc::new(Unwell { hangs: Some(hang), ..Unwell::new(&machine) }));
    stage(&node, &machine, wish).await.unwrap();
    publish(&node, &machine, wish, "a").await.unwrap();
    publish(&node, &machine, wish, "b").await.unwrap();
    let (dead, path) = (node.clone(), machine.target("a").to_str().unwrap().to_owned());
    let hung = tokio::spawn(async move { stats(&dead, &path).await });
    tokio::task::spawn_blocking(move || has_entered.recv().unwrap()).await.unwrap();
    stats(&node, machine.target("b").to_str().unwrap()).await.unwrap();
    unpublish(&node, &machine, "b").await.unwrap();
    assert!(!hung.is_finished());
    drop(release);
    hung.await.unwrap().unwrap();
}
