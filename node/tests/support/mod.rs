//! A machine for tests: a tree of `sys` and `dev` below a temporary folder, shaped as a Hyper-V guest's,
//! over real loop devices; tools that count their runs; and short forms of the calls.
//!
//! Everything that a machine made (mounts, loop devices, files) goes when it is dropped, also when its
//! test fails.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]
#![expect(clippy::unwrap_used, reason = "all of it is for tests")]

pub mod calls;
pub mod faults;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use node::host::{Host, LinuxHost};
use node::{MachineFacts, Node, Settings};

pub const GIB: u64 = 1 << 30;
pub const SYSTEM: &str = "f8b3781a-1e82-4818-a1c3-63d806ec15bb";
pub const DATA: &str = "f8b3781b-1e82-4818-a1c3-63d806ec15bb";

/// False, with one line said, where the test can't run.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        let _ = writeln!(std::io::stderr(), "skipped: needs root");
    }
    root
}

/// Runs a program that must succeed; its output.
pub fn sh(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said.trim().to_owned()
}

/// All 4 KiB blocks of a file that are not zero, by place: two files are equal if these are. Holes are
/// skipped, so a big disk that is nearly empty is compared in no time.
pub fn bytes_of(image: &Path) -> BTreeMap<u64, Vec<u8>> {
    use nix::unistd::{Whence, lseek};
    use std::os::unix::fs::FileExt;
    sh("sync", &["-f", image.to_str().unwrap()]);
    let file = fs::File::open(image).unwrap();
    let mut blocks = BTreeMap::new();
    let mut at = 0;
    while let Ok(start) = lseek(&file, at, Whence::SeekData) {
        at = lseek(&file, start, Whence::SeekHole).unwrap();
        for place in (start.cast_unsigned()..at.cast_unsigned()).step_by(4096) {
            let mut block = vec![0; 4096];
            let count = file.read_at(&mut block, place).unwrap();
            block.truncate(count);
            if block.iter().any(|byte| *byte != 0) {
                blocks.insert(place, block);
            }
        }
    }
    blocks
}

/// A loop device over a file.
pub struct Loop {
    pub device: PathBuf,
}

impl Loop {
    pub fn over(file: &Path) -> Loop {
        // Another program may take the free number first.
        for _ in 0..20 {
            let output = Command::new("losetup").args(["-f", "--show"]).arg(file).output().unwrap();
            if output.status.success() {
                let device = String::from_utf8(output.stdout).unwrap().trim().into();
                return Loop { device };
            }
        }
        panic!("no loop device for {}", file.display());
    }

    pub fn name(&self) -> &str {
        self.device.file_name().unwrap().to_str().unwrap()
    }

    pub fn number(&self) -> String {
        fs::read_to_string(format!("/sys/block/{}/dev", self.name())).unwrap().trim().to_owned()
    }

    pub fn sectors(&self) -> String {
        fs::read_to_string(format!("/sys/block/{}/size", self.name())).unwrap().trim().to_owned()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Command::new("losetup").arg("-d").arg(&self.device).output().ok();
    }
}

/// One machine at a time: a program that a test starts has, until it execs, copies of the descriptors of
/// every other test in the process, and keeps their devices busy for that moment.
static ALONE: Mutex<()> = Mutex::new(());

/// The machine.
pub struct Machine {
    pub folder: tempfile::TempDir,
    pub loops: Vec<Loop>,
    /// What must end before the files go: FUSE exports.
    pub guards: Vec<Box<dyn Send>>,
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    /// A machine with the two disks that every machine has; both blank, so that whoever takes one of them
    /// for a data disk succeeds, and is caught.
    pub fn new() -> Machine {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("node-test-").tempdir().unwrap();
        let mut machine = Machine { folder, loops: Vec::new(), guards: Vec::new(), _alone: alone };
        for part in
            ["root/dev", "root/sys/bus/scsi/devices", "root/sys/class/scsi_host", "images", "bin", "pods"]
        {
            fs::create_dir_all(machine.path(part)).unwrap();
        }
        machine.wrap_tools();
        machine.attach(SYSTEM, 0, "sda", GIB);
        machine.attach(SYSTEM, 1, "sdb", GIB);
        machine
    }

    pub fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    /// Tools that note that they ran, and then are the real ones.
    fn wrap_tools(&self) {
        let tools = ["mkfs.ext4", "mkfs.ext3", "mkfs.ext2", "mkfs.xfs", "blkid", "e2fsck", "resize2fs"];
        for tool in tools {
            let log = self.path("ran");
            let real = format!("/usr/sbin/{tool}");
            self.tool(tool, &format!("echo {tool} >> {}\nexec {real} \"$@\"", log.display()));
        }
    }

    /// Puts a script in the place of a tool.
    pub fn tool(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The tools that ran since the machine was made.
    pub fn ran(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("ran")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn formats(&self) -> usize {
        self.ran().iter().filter(|tool| tool.starts_with("mkfs")).count()
    }

    pub fn image(&self, name: &str) -> PathBuf {
        self.path("images").join(name)
    }

    /// Attaches a blank disk.
    pub fn attach(&mut self, controller: &str, lun: u64, name: &str, bytes: u64) {
        let image = self.image(name);
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        self.attach_file(controller, lun, name, &image);
    }

    /// Attaches what is in a file.
    pub fn attach_file(&mut self, controller: &str, lun: u64, name: &str, file: &Path) {
        let disk = Loop::over(file);
        self.show(controller, lun, name, &disk.number(), &disk.sectors());
        sh(
            "mknod",
            &[
                self.path("root/dev").join(name).to_str().unwrap(),
                "b",
                disk.number().split(':').next().unwrap(),
                disk.number().split(':').next_back().unwrap(),
            ],
        );
        self.loops.push(disk);
    }

    /// Writes the sysfs side of a disk.
    pub fn show(&self, controller: &str, lun: u64, name: &str, number: &str, sectors: &str) {
        let host = u8::from(controller != SYSTEM);
        let bus = self.path("root/sys/devices").join(controller);
        let address = format!("{host}:0:0:{lun}");
        let scsi = bus.join(format!("host{host}/target{host}:0:0/{address}"));
        let block = scsi.join("block").join(name);
        fs::create_dir_all(&block).unwrap();
        fs::write(bus.join("device_id"), format!("{{{controller}}}\n")).unwrap();
        let files = [
            ("vendor", "Msft    \n"),
            ("model", "Virtual Disk    \n"),
            ("state", "running\n"),
            ("rescan", ""),
            ("delete", ""),
        ];
        for (file, text) in files {
            fs::write(scsi.join(file), text).unwrap();
        }
        fs::write(block.join("dev"), format!("{number}\n")).unwrap();
        fs::write(block.join("size"), format!("{sectors}\n")).unwrap();
        let by_number = self.path("root/sys/dev/block");
        fs::create_dir_all(&by_number).unwrap();
        fs::remove_file(by_number.join(number)).ok();
        std::os::unix::fs::symlink(&block, by_number.join(number)).unwrap();
        let link = self.path("root/sys/bus/scsi/devices").join(address);
        fs::remove_file(&link).ok();
        std::os::unix::fs::symlink(&scsi, link).unwrap();
        let scan = bus.join(format!("host{host}/scsi_host/host{host}"));
        fs::create_dir_all(&scan).unwrap();
        fs::write(scan.join("scan"), "").unwrap();
        let class = self.path("root/sys/class/scsi_host").join(format!("host{host}"));
        fs::remove_file(&class).ok();
        std::os::unix::fs::symlink(&scan, class).unwrap();
    }

    pub fn scsi(&self, lun: u64) -> PathBuf {
        self.path("root/sys/bus/scsi/devices").join(format!("1:0:0:{lun}"))
    }

    /// Gives a disk a new size, here and in sysfs.
    pub fn resize(&self, lun: u64, name: &str, bytes: u64) {
        let file = fs::OpenOptions::new().write(true).open(self.image(name)).unwrap();
        file.set_len(bytes).unwrap();
        let disk = self.loop_of(name);
        sh("losetup", &["-c", disk.device.to_str().unwrap()]);
        fs::write(self.scsi(lun).join("block").join(name).join("size"), disk.sectors()).unwrap();
    }

    pub fn loop_of(&self, name: &str) -> &Loop {
        let image = self.image(name);
        let backing = |disk: &&Loop| {
            fs::read_to_string(format!("/sys/block/{}/loop/backing_file", disk.name()))
                .is_ok_and(|file| Path::new(file.trim()) == image)
        };
        self.loops.iter().find(backing).unwrap()
    }

    pub fn dev(&self, name: &str) -> PathBuf {
        self.path("root/dev").join(name)
    }

    pub fn host(&self) -> LinuxHost {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display());
        LinuxHost::new(self.path("root"), path)
    }

    /// A node service just started on this machine.
    pub fn node(&self) -> Node {
        Self::node_on(Arc::new(self.host()))
    }

    pub fn node_on(host: Arc<dyn Host>) -> Node {
        let settings = Settings {
            node_id: "node-1".to_owned(),
            driver_name: "disk.csi.azure.com".to_owned(),
            attach_limit: None,
        };
        let facts = Arc::new(|| {
            let facts = MachineFacts {
                zone: Some("1".to_owned()),
                region: Some("westeurope".to_owned()),
                vm_size: "Standard_D4s_v5".to_owned(),
                max_data_disks: Some(8),
            };
            Box::pin(async move { Ok(facts) }) as futures::future::BoxFuture<'static, _>
        });
        Node::new(settings, host, facts, tokio_util::task::TaskTracker::new())
    }

    pub fn staging(&self) -> PathBuf {
        self.path("staging")
    }

    pub fn target(&self, pod: &str) -> PathBuf {
        self.path("pods").join(pod)
    }

    /// The mount points below this machine's folder, the newest first.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(self.folder.path())).collect();
        below.reverse();
        below
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for point in self.mounts() {
            Command::new("umount").arg(&point).output().ok();
        }
        self.loops.clear();
        self.guards.clear();
        for point in self.mounts() {
            Command::new("umount").arg(&point).output().ok();
        }
    }
}
