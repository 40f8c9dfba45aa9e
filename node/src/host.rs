//! The seam to the kernel: what the verbs need from an operating system, and nothing that decides.
//!
//! Every method may block, even for ever on a dead disk, so callers run them through
//! [`crate::Node`]'s blocking pool, never on a worker of the runtime. `/proc` is always the real one (mounts
//! are the kernel's); `/sys` and `/dev` are read below the device root, so that an emulated machine's tree
//! is found by the same code. All file access of the crate is in this folder.

mod disk;
pub(crate) mod files;
mod ioctl;
mod linux;
mod mount;
pub(crate) mod sysfs;
mod tool;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use disk::{Disk, Open};
pub use linux::LinuxHost;

/// A block device's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// The driver's number.
    pub major: u64,
    /// Which of the driver's devices.
    pub minor: u64,
}

impl DeviceNumber {
    /// Reads "8:32", as sysfs and mountinfo write it.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl std::fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A file system to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The device node.
    pub source: PathBuf,
    /// An existing folder.
    pub target: PathBuf,
    /// The kernel's name of the file system.
    pub fs_type: &'static str,
    /// Mount options, one each, as `mount -o` takes them.
    pub options: Vec<String>,
}

/// A program to run. It gets exactly these arguments, no input, and of the environment only `PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name in the `PATH` that the driver was started with.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// When to kill it. `None` for what writes: a half-written disk is worse than a slow one.
    pub patience: Option<Duration>,
}

/// What a tool left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The first 16 KiB of what it wrote, both channels in the order written.
    pub text: String,
}

impl Output {
    /// How it ended and what it said, in one line.
    pub fn describe(&self) -> String {
        let ended = self.code.map_or("ended by a signal".to_owned(), |code| format!("exit code {code}"));
        let said: String = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said: String = said.chars().take(400).collect();
        if said.is_empty() { ended } else { format!("{ended}: {said}") }
    }
}

/// How full a file system is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All of it, bytes.
    pub bytes: u64,
    /// Free for anyone, bytes.
    pub bytes_available: u64,
    /// Not free, bytes.
    pub bytes_used: u64,
    /// All inodes.
    pub inodes: u64,
    /// Free inodes.
    pub inodes_available: u64,
    /// Inodes in use.
    pub inodes_used: u64,
}

/// Which growth call a mounted file system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// To this many of its blocks (`EXT4_IOC_RESIZE_FS`; the kernel wants `CAP_SYS_RESOURCE`).
    ExtBlocks(u64),
    /// To what fits in this many bytes (`XFS_IOC_FSGROWFSDATA`; `CAP_SYS_ADMIN`).
    XfsBytes(u64),
}

/// The kernel verbs. All of them block; none of them decides.
pub trait Host: Send + Sync + 'static {
    /// Where `/sys` and `/dev` begin.
    fn root(&self) -> &Path;
    /// The text of the real `/proc/self/mountinfo`.
    fn mountinfo(&self) -> io::Result<String>;
    /// A word that is another one after each boot of the kernel.
    fn boot_id(&self) -> io::Result<String>;
    /// Whether this process may grow a mounted ext file system.
    fn has_sys_resource(&self) -> bool;
    /// Opens a block device node; see [`Open`].
    fn open(&self, node: &Path, how: Open) -> io::Result<Disk>;
    /// Mounts a file system; the error carries the kernel's own words where it has some.
    fn mount(&self, mount: &Mount) -> io::Result<()>;
    /// Makes `source` appear at `target` too, read-only from the first moment if asked.
    fn bind(&self, source: &Path, target: &Path, read_only: bool) -> io::Result<()>;
    /// Unmounts the top mount at `target`; never lazily, so that "done" means that the kernel let go.
    fn unmount(&self, target: &Path) -> io::Result<()>;
    /// Writes out one file system.
    fn sync(&self, mounted: &Path) -> io::Result<()>;
    /// Runs a tool to its end.
    fn run(&self, tool: &Tool) -> io::Result<Output>;
    /// Asks a file system how full it is.
    fn usage(&self, mounted: &Path) -> io::Result<Usage>;
    /// Grows a mounted file system.
    fn grow(&self, mounted: &Path, growth: Growth) -> io::Result<()>;
}
