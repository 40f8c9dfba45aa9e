//! Growth: by the kernel while mounted, before the mount for who may not, and never for nothing.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use support::calls::{Wish, expand, publish, stage, stats, unpublish, unstage};
use support::faults::Unwell;
use support::{DATA, GIB, Machine, is_root};
use tonic::Code;

fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.attach(DATA, 1, "sdc", GIB);
    machine
}

async fn total(node: &node::Node, path: &Path) -> u64 {
    stats(node, path.to_str().unwrap()).await.unwrap()[0].total.cast_unsigned()
}

#[tokio::test]
async fn a_file_system_that_fills_its_disk_is_left_alone() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "xfs"] {
        let machine = machine();
        let host = Arc::new(Unwell { forbids_growth: true, ..Unwell::new(&machine) });
        let (node, wish) = (Machine::node_on(host.clone()), Wish::new(kind, 1));
        stage(&node, &machine, wish).await.unwrap();
        publish(&node, &machine, wish, "a").await.unwrap();
        let before = machine.ran();
        for path in [machine.target("a"), machine.staging()] {
            assert_eq!(expand(&node, &path, GIB).await.unwrap(), GIB.cast_signed(), "{kind}");
        }
        assert_eq!((host.growths.load(Ordering::SeqCst), machine.ran()), (0, before), "{kind}");
    }
}

#[tokio::test]
async fn xfs_grows_while_it_is_mounted_and_once() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let host = Arc::new(Unwell::new(&machine));
    let (node, wish) = (Machine::node_on(host.clone()), Wish::new("xfs", 1));
    stage(&node, &machine, wish).await.unwrap();
    publish(&node, &machine, wish, "a").await.unwrap();
    machine.resize(1, "sdc", 3 * GIB);
    for _ in 0..2 {
        assert_eq!(expand(&node, &machine.target("a"), 3 * GIB).await.unwrap(), 3 * GIB.cast_signed());
        assert!(total(&node, &machine.target("a")).await > 2 * GIB);
    }
    assert_eq!(host.growths.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_the_kernel_forbids_is_named_and_the_next_stage_grows_it() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let host = Arc::new(Unwell { forbids_growth: true, ..Unwell::new(&machine) });
    let (node, wish) = (Machine::node_on(host.clone()), Wish::new("ext4", 1));
    stage(&node, &machine, wish).await.unwrap();
    publish(&node, &machine, wish, "a").await.unwrap();
    fs::write(machine.target("a").join("file"), "kept").unwrap();
    machine.resize(1, "sdc", 3 * GIB);
    let (code, why) = expand(&node, &machine.target("a"), 3 * GIB).await.unwrap_err();
    assert!(code == Code::FailedPrecondition && why.contains("CAP_SYS_RESOURCE"), "{code} {why}");
    unpublish(&node, &machine, "a").await.unwrap();
    unstage(&node, &machine).await.unwrap();
    stage(&node, &machine, wish).await.unwrap();
    publish(&node, &machine, wish, "a").await.unwrap();
    assert!(total(&node, &machine.target("a")).await > 2 * GIB);
    assert_eq!(fs::read_to_string(machine.target("a").join("file")).unwrap(), "kept");
    assert_eq!(expand(&node, &machine.target("a"), 3 * GIB).await.unwrap(), 3 * GIB.cast_signed());
    assert_eq!(machine.ran(), ["blkid", "mkfs.ext4", "e2fsck", "e2fsck", "resize2fs"]);
}

#[tokio::test]
async fn who_may_grow_ext4_grows_it_while_it_is_mounted() {
    if !is_root() {
        return;
    }
    let machine = machine();
    if !node::host::Host::has_sys_resource(&machine.host()) {
        let _ = writeln!(std::io::stderr(), "skipped: needs CAP_SYS_RESOURCE");
        return;
    }
    let (node, wish) = (machine.node(), Wish::new("ext4", 1));
    stage(&node, &machine, wish).await.unwrap();
    machine.resize(1, "sdc", 3 * GIB);
    assert_eq!(expand(&node, &machine.staging(), 3 * GIB).await.unwrap(), 3 * GIB.cast_signed());
    assert!(total(&node, &machine.staging()).await > 2 * GIB);
}

#[tokio::test]
async fn a_restored_volume_grows_at_stage() {
    if !is_root() {
        return;
    }
    for kind in ["ext4", "ext2", "xfs"] {
        let machine = machine();
        let (node, wish) = (machine.node(), Wish::new(kind, 1));
        stage(&node, &machine, wish).await.unwrap();
        unstage(&node, &machine).await.unwrap();
        machine.resize(1, "sdc", 2 * GIB);
        stage(&node, &machine, wish).await.unwrap();
        assert!(total(&node, &machine.staging()).await > GIB, "{kind}");
    }
}

#[tokio::test]
async fn a_raw_volume_tells_its_size_and_a_size_that_has_not_come_is_waited_for() {
    if !is_root() {
        return;
    }
    let machine = machine();
    let (node, wish) = (machine.node(), Wish::new("block", 1));
    stage(&node, &machine, wish).await.unwrap();
    publish(&node, &machine, wish, "a").await.unwrap();
    let (code, why) = expand(&node, &machine.target("a"), 2 * GIB).await.unwrap_err();
    assert!(code == Code::Unavailable && why.contains(&format!("{GIB} bytes")), "{code} {why}");
    assert_eq!(fs::read_to_string(machine.scsi(1).join("rescan")).unwrap(), "1");
    machine.resize(1, "sdc", 2 * GIB);
    for path in [machine.target("a"), machine.staging()] {
        assert_eq!(expand(&node, &path, 2 * GIB).await.unwrap(), 2 * GIB.cast_signed());
    }
    for path in ["some/path", "/no/such/path"] {
        assert_eq!(expand(&node, Path::new(path), GIB).await.unwrap_err().0, Code::NotFound, "{path}");
    }
}
