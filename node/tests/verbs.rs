//! Every verb on real loop devices: the life of a volume, and each step repeated.

#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use support::calls::{Wish, publish, stage, unpublish, unstage};
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
