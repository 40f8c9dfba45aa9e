//! A machine of real loop devices, and an mkfs that waits in the middle.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use azure_emulator::devices::Devices;

const DISK: &str = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";

/// A machine `node-a` with one blank disk at LUN 0, made of real loop devices.
pub(crate) struct Machine {
    devices: Devices,
    /// Where its disk may be staged.
    pub(crate) staging: PathBuf,
}

impl Machine {
    /// Made below `place`.
    pub(crate) fn new(place: &Path) -> Machine {
        let devices = Devices::open(&place.join("state")).unwrap();
        let machine = Machine { devices, staging: place.join("staging") };
        machine.devices.add_vm("node-a").unwrap();
        machine.devices.create(DISK, 1 << 30).unwrap();
        machine.devices.attach("node-a", 0, DISK, 512, false).unwrap();
        fs::create_dir(&machine.staging).unwrap();
        machine
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Not mounted, if the test failed before.
        let _ = nix::mount::umount(&self.staging);
        if let Err(error) = self.devices.release() {
            eprintln!("loop devices are left: {error}");
        }
    }
}

/// An `mkfs.ext4` that says on one pipe that it runs, and goes on when it is told to on the other.
pub(crate) fn waiting_mkfs(place: &Path) -> (PathBuf, PathBuf) {
    let (running, go_on) = (place.join("running"), place.join("go-on"));
    for pipe in [&running, &go_on] {
        nix::unistd::mkfifo(pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let tools = place.join("tools");
    fs::create_dir(&tools).unwrap();
    let script = format!(
        "#!/bin/sh\necho > {}\nread _ < {}\nPATH=/usr/sbin:/sbin exec mkfs.ext4 \"$@\"\n",
        running.display(),
        go_on.display()
    );
    fs::write(tools.join("mkfs.ext4"), script).unwrap();
    fs::set_permissions(tools.join("mkfs.ext4"), fs::Permissions::from_mode(0o755)).unwrap();
    (running, go_on)
}
