//! Ways in which a machine is unwell: disks that answer with errors, a kernel that refuses or hangs.

use std::fs;
use std::io;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use node::host::{Disk, Growth, Host, LinuxHost, Mount, Open, Output, Tool, Usage};

use super::{Machine, sh};

/// Which reads of a disk fail with EIO.
#[derive(Clone, Copy, Debug)]
pub enum Unreadable {
    All,
    /// Those of the sector at this byte.
    At(u64),
}

/// A disk whose image is served by a program that fails reads; it ends with the guard.
struct Export {
    process: i32,
}

impl Drop for Export {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
    }
}

/// False, with one line said, where disks that fail can't be made.
pub fn can_fail_reads() -> bool {
    let can = Command::new("qemu-storage-daemon").arg("--version").output().is_ok()
        && Path::new("/dev/fuse").exists();
    if !can {
        let _ = writeln!(io::stderr(), "skipped: needs qemu-storage-daemon and /dev/fuse");
    }
    can
}

/// A file that shows `image`, but for the reads that fail.
pub fn unreadable(machine: &mut Machine, image: &Path, which: Unreadable) -> PathBuf {
    let (shown, pid_file) = (machine.path("shown"), machine.path("export.pid"));
    fs::write(&shown, "").unwrap();
    let sector = match which {
        Unreadable::All => String::new(),
        Unreadable::At(byte) => format!(",inject-error.0.sector={}", byte / 512),
    };
    let rule =
        "inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5,inject-error.0.once=off";
    sh(
        "qemu-storage-daemon",
        &[
            "--blockdev",
            &format!("driver=file,node-name=image,filename={}", image.display()),
            "--blockdev",
            &format!("driver=blkdebug,node-name=faulty,image=image,{rule}{sector}"),
            "--export",
            &format!("type=fuse,id=shown,node-name=faulty,mountpoint={},writable=on", shown.display()),
            "--daemonize",
            "--pidfile",
            pid_file.to_str().unwrap(),
        ],
    );
    let process = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    machine.guards.push(Box::new(Export { process }));
    shown
}

/// A kernel that behaves as told, and counts.
pub struct Unwell {
    pub host: LinuxHost,
    /// Growth calls that reached the kernel.
    pub growths: AtomicUsize,
    /// Answers growth with EPERM, as without `CAP_SYS_RESOURCE`.
    pub forbids_growth: bool,
    /// A path whose statfs says "entered" and then waits until the other end of `release` is dropped.
    pub hangs: Option<Hang>,
}

pub struct Hang {
    pub path: PathBuf,
    pub entered: mpsc::Sender<()>,
    pub release: Mutex<mpsc::Receiver<()>>,
}

impl Unwell {
    pub fn new(machine: &Machine) -> Unwell {
        Unwell { host: machine.host(), growths: AtomicUsize::new(0), forbids_growth: false, hangs: None }
    }
}

impl Host for Unwell {
    fn root(&self) -> &Path {
        self.host.root()
    }
    fn mountinfo(&self) -> io::Result<String> {
        self.host.mountinfo()
    }
    fn boot_id(&self) -> io::Result<String> {
        self.host.boot_id()
    }
    fn has_sys_resource(&self) -> bool {
        !self.forbids_growth && self.host.has_sys_resource()
    }
    fn open(&self, node: &Path, how: Open) -> io::Result<Disk> {
        self.host.open(node, how)
    }
    fn mount(&self, mount: &Mount) -> io::Result<()> {
        self.host.mount(mount)
    }
    fn bind(&self, source: &Path, target: &Path, read_only: bool) -> io::Result<()> {
        self.host.bind(source, target, read_only)
    }
    fn unmount(&self, target: &Path) -> io::Result<()> {
        self.host.unmount(target)
    }
    fn sync(&self, mounted: &Path) -> io::Result<()> {
        self.host.sync(mounted)
    }
    fn run(&self, tool: &Tool) -> io::Result<Output> {
        self.host.run(tool)
    }
    fn usage(&self, mounted: &Path) -> io::Result<Usage> {
        if let Some(hang) = self.hangs.as_ref().filter(|hang| hang.path == mounted) {
            hang.entered.send(()).ok();
            hang.release.lock().unwrap().recv().ok();
        }
        self.host.usage(mounted)
    }
    fn grow(&self, mounted: &Path, growth: Growth) -> io::Result<()> {
        self.growths.fetch_add(1, Ordering::SeqCst);
        if self.forbids_growth && matches!(growth, Growth::ExtBlocks(_)) {
            return Err(io::Error::from_raw_os_error(nix::libc::EPERM));
        }
        self.host.grow(mounted, growth)
    }
}
