//! What can go wrong with the block devices, each said so that a person knows which file and what to do.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the block devices are not as asked. Nothing is left half made that the same call, or
/// [`super::Devices::reconcile`], would not put right.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DevicesError {
    /// Loop devices and device nodes are the superuser's.
    #[error("loop devices need root: run as root, or without block devices")]
    NotRoot,
    /// Device nodes could be made, but nobody could open them.
    #[error("{0} is on a file system mounted nodev: choose a state directory where device nodes work")]
    NoDeviceNodes(PathBuf),
    /// Two owners of one directory would undo each other's work.
    #[error("{0} is used by another running emulator")]
    InUse(PathBuf),
    /// A name that would leave the directory it belongs to.
    #[error("{0:?} cannot name a disk or a VM here")]
    Name(String),
    /// The disk has no image.
    #[error("disk {0} has no image")]
    NoDisk(String),
    /// The VM has no root.
    #[error("VM {0} has no devices")]
    NoVm(String),
    /// The image is there already, of another size.
    #[error("disk {disk} exists with {has} bytes, not {asked}")]
    Exists {
        /// The disk.
        disk: String,
        /// Its size in bytes.
        has: u64,
        /// The size asked for, in bytes.
        asked: u64,
    },
    /// Less than what is there would cut off data.
    #[error("disk {disk} has {has} bytes and cannot become smaller ({asked})")]
    Shrink {
        /// The disk.
        disk: String,
        /// Its size, or its source's, in bytes.
        has: u64,
        /// The size asked for, in bytes.
        asked: u64,
    },
    /// The image is behind a loop device, so that its bytes may not be replaced.
    #[error("disk {0} is attached: its bytes cannot be replaced")]
    Attached(String),
    /// The LUN holds another disk.
    #[error("LUN {lun} of VM {vm} holds disk {disk}")]
    Occupied {
        /// The VM.
        vm: String,
        /// The LUN.
        lun: u8,
        /// The disk that is there.
        disk: String,
    },
    /// One loop device has one sector size.
    #[error("disk {disk} is attached with sectors of {has} bytes, not {asked}")]
    Sector {
        /// The disk.
        disk: String,
        /// Its sector size now, in bytes.
        has: u32,
        /// The sector size asked for, in bytes.
        asked: u32,
    },
    /// Every free loop device was taken by somebody else first.
    #[error("no loop device could be had for {0}: others took each free one first")]
    NoLoop(PathBuf),
    /// The kernel refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Names the action and the file of a failure.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DevicesError {
    let path = path.to_owned();
    move |source| DevicesError::Io { action, path, source }
}

/// What was to be removed and is not there counts as removed.
pub(super) fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
