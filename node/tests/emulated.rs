//! On the emulator's machines: the same search, the same checks, no branch for tests.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::io::Read;
use std::sync::Arc;

use azure_emulator::devices::Devices;
use node::Node;
use node::host::LinuxHost;
use support::calls::{Wish, expand, publish, stage, unpublish, unstage};
use support::{GIB, Machine, is_root};

const DISK: &str = "7f0c1b7e-2f57-4c3a-9d52-0a4f3a1d6c11";

/// The emulator's devices; gone with the guard, after the mounts of the test.
struct Emulated {
    devices: Devices,
    folder: tempfile::TempDir,
}

impl Emulated {
    fn new(vms: &[&str]) -> Emulated {
        let folder = tempfile::Builder::new().prefix("node-test-emulated-").tempdir().unwrap();
        let devices = Devices::open(folder.path()).unwrap();
        for vm in vms {
            devices.add_vm(vm).unwrap();
        }
        Emulated { devices, folder }
    }

    fn node(&self, vm: &str) -> Node {
        let root = self.folder.path().join("vms").join(vm);
        Machine::node_on(Arc::new(LinuxHost::new(root, "/usr/sbin:/usr/bin:/sbin:/bin")))
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        self.devices.release().ok();
    }
}

#[tokio::test]
async fn a_volume_moves_from_machine_to_machine_and_grows() {
    if !is_root() {
        return;
    }
    let emulated = Emulated::new(&["a", "b"]);
    let machine = Machine::new(); // its folder for the paths; dropped first, and with it the mounts
    let (devices, wish) = (&emulated.devices, Wish::new("ext4", 0));
    devices.create(DISK, GIB).unwrap();
    devices.attach("a", 0, DISK, 512, false).unwrap();
    let a = emulated.node("a");
    stage(&a, &machine, wish).await.unwrap();
    publish(&a, &machine, wish, "pod").await.unwrap();
    fs::write(machine.target("pod").join("file"), "kept").unwrap();
    unpublish(&a, &machine, "pod").await.unwrap();
    unstage(&a, &machine).await.unwrap();
    devices.detach("a", 0).unwrap();
    devices.resize(DISK, 2 * GIB).unwrap();
    devices.attach("b", 3, DISK, 512, false).unwrap();
    let (b, wish) = (emulated.node("b"), Wish::new("ext4", 3));
    stage(&b, &machine, wish).await.unwrap();
    publish(&b, &machine, wish, "pod").await.unwrap();
    assert_eq!(fs::read_to_string(machine.target("pod").join("file")).unwrap(), "kept");
    assert_eq!(expand(&b, &machine.target("pod"), 2 * GIB).await.unwrap(), (2 * GIB).cast_signed());
    unpublish(&b, &machine, "pod").await.unwrap();
    unstage(&b, &machine).await.unwrap();
    devices.detach("b", 3).unwrap();
}

#[tokio::test]
async fn a_raw_disk_of_two_machines_is_published_and_taken_away_on_each() {
    if !is_root() {
        return;
    }
    let emulated = Emulated::new(&["a", "b"]);
    let (first, wish) = (Machine::new(), Wish::new("block", 0));
    emulated.devices.create(DISK, GIB).unwrap();
    for vm in ["a", "b"] {
        emulated.devices.attach(vm, 0, DISK, 512, false).unwrap();
    }
    let (a, b) = (emulated.node("a"), emulated.node("b"));
    stage(&a, &first, wish).await.unwrap();
    publish(&a, &first, wish, "pod-a").await.unwrap();
    publish(&b, &first, wish, "pod-b").await.unwrap();
    fs::write(first.target("pod-a"), vec![7; 4096]).unwrap();
    let mut read = vec![0; 4096];
    fs::File::open(first.target("pod-b")).unwrap().read_exact(&mut read).unwrap();
    assert_eq!(read, vec![7; 4096]);
    unpublish(&a, &first, "pod-a").await.unwrap();
    unstage(&a, &first).await.unwrap();
    unpublish(&b, &first, "pod-b").await.unwrap();
}
