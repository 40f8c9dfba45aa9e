//! The machine's loop devices, as the kernel tells them: nothing about them is remembered, so that a killed
//! emulator has nothing to forget.
//!
//! Invariant: an image never has two loop devices. Each would have a page cache of its own, and a write
//! through one would be missing from, or undone by, the other. Hence a disk shared by VMs has one device and
//! a node of it in each VM's root; and a device that was let go while a mount still holds it (the kernel then
//! only marks it, and frees it at the last close) is taken back when its disk is attached again.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::error::{DevicesError, at};
use super::ioctl;

/// How often a race for a free device may be lost. Each loss means that another process got one.
const ATTEMPTS: u32 = 128;

/// What sysfs appends to the path of a backing file that was unlinked.
const DELETED: &[u8] = b" (deleted)";

/// A loop device with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loop {
    /// N of `/dev/loopN`.
    pub(super) number: u32,
    /// Major and minor.
    pub(super) dev: (u32, u32),
    /// The image's path, also when it was unlinked.
    pub(super) image: PathBuf,
    /// The image was unlinked.
    pub(super) is_deleted: bool,
}

impl Loop {
    fn node(&self) -> PathBuf {
        node(self.number)
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.node())
    }

    /// Sector size in bytes.
    pub(super) fn sector(&self) -> Result<u32, DevicesError> {
        let path = sysfs(self.number).join("queue/logical_block_size");
        let text = fs::read_to_string(&path).map_err(at("read", &path))?;
        text.trim().parse().map_err(|wrong| at("understand", &path)(io::Error::other(wrong)))
    }

    /// Writes out what was written through the device, so that the image's file has it.
    ///
    /// What a mounted file system still keeps to itself is not in it, as it would not be in a snapshot on
    /// Azure.
    pub(super) fn flush(&self) -> Result<(), DevicesError> {
        match self.open().and_then(|device| device.sync_all()) {
            Err(error) if !is_unbound(&error) => Err(at("flush", &self.node())(error)),
            _ => Ok(()),
        }
    }

    /// Makes the device as large as its image.
    pub(super) fn measure(&self) -> Result<(), DevicesError> {
        match self.open().and_then(|device| ioctl::measure(&device)) {
            Err(error) if !is_unbound(&error) => Err(at("resize", &self.node())(error)),
            _ => Ok(()),
        }
    }

    /// Frees the device: at once, or at the last close if something still has it open.
    pub(super) fn clear(&self) -> Result<(), DevicesError> {
        match self.open().and_then(|device| ioctl::clear(&device)) {
            Err(error) if !is_unbound(&error) => Err(at("free", &self.node())(error)),
            _ => Ok(()),
        }
    }

    /// Whether the device stays bound to its image although it was to be freed. The open file keeps it from
    /// going away between the question and the answer.
    fn keep(&self) -> Result<bool, DevicesError> {
        let kept = self.open().and_then(|device| {
            ioctl::keep(&device)?;
            Ok(bound(self.number)?.as_ref() == Some(self))
        });
        match kept {
            Err(error) if is_unbound(&error) => Ok(false),
            other => other.map_err(at("keep", &self.node())),
        }
    }
}

/// The device's number is free, or it is just being freed.
fn is_unbound(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENXIO as i32)
}

fn node(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

fn sysfs(number: u32) -> PathBuf {
    PathBuf::from(format!("/sys/block/loop{number}"))
}

/// The loop device `number`, if it has an image.
fn bound(number: u32) -> io::Result<Option<Loop>> {
    let read = |file: &str| match fs::read(sysfs(number).join(file)) {
        Ok(text) => Ok(Some(text)),
        // Freed between the listing and the reading.
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_unbound(&error) => Ok(None),
        Err(error) => Err(error),
    };
    let (Some(backing), Some(dev)) = (read("loop/backing_file")?, read("dev")?) else { return Ok(None) };
    let Some(dev) = parse_dev(&String::from_utf8_lossy(&dev)) else {
        return Err(io::Error::other(format!("loop{number} has no device number")));
    };
    let (image, is_deleted) = parse_backing(&backing);
    Ok((!image.as_os_str().is_empty()).then_some(Loop { number, dev, image, is_deleted }))
}

/// `7:3\n` as (7, 3).
pub(super) fn parse_dev(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The path in a `backing_file`, and whether the file was unlinked.
fn parse_backing(text: &[u8]) -> (PathBuf, bool) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let cut = text.strip_suffix(DELETED);
    (PathBuf::from(OsStr::from_bytes(cut.unwrap_or(text))), cut.is_some())
}

/// All loop devices whose image is, or was, below `state`.
pub(super) fn below(state: &Path) -> Result<Vec<Loop>, DevicesError> {
    let blocks = Path::new("/sys/block");
    let mut found = Vec::new();
    for entry in fs::read_dir(blocks).map_err(at("list", blocks))? {
        let name = entry.map_err(at("list", blocks))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        let Some(number) = number else { continue };
        let one = bound(number).map_err(at("read", &sysfs(number)))?;
        found.extend(one.filter(|one| one.image.starts_with(state)));
    }
    Ok(found)
}

/// The loop device of `image`.
pub(super) fn of(image: &Path) -> Result<Option<Loop>, DevicesError> {
    Ok(below(image)?.into_iter().find(|one| !one.is_deleted))
}

/// The loop device of `image`: the one that it has, else a new one with sectors of `sector` bytes.
pub(super) fn bind(image: &Path, sector: u32) -> Result<Loop, DevicesError> {
    let control = Path::new("/dev/loop-control");
    for _ in 0..ATTEMPTS {
        if let Some(found) = of(image)? {
            if found.keep()? {
                return Ok(found);
            }
            continue;
        }
        let control = OpenOptions::new().read(true).write(true).open(control).map_err(at("open", control))?;
        let number = ioctl::free_number(&control).map_err(at("get a free device from", &node(0)))?;
        let file = OpenOptions::new().read(true).write(true).open(image).map_err(at("open", image))?;
        // The device keeps this open file. Without the advice each read of a sparse image fills megabytes of page
        // cache with zeros (as many as the machine's own disk reads ahead), which no disk of Azure does.
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM)
            .map_err(|errno| at("advise on", image)(errno.into()))?;
        let device = OpenOptions::new().read(true).write(true).open(node(number));
        match device.and_then(|device| ioctl::configure(&device, &file, sector)) {
            Ok(()) => {}
            Err(error) if is_unbound(&error) || error.kind() == io::ErrorKind::ResourceBusy => continue,
            Err(error) => return Err(at("bind", &node(number))(error)),
        }
        if let Some(bound) = of(image)? {
            return Ok(bound);
        }
    }
    Err(DevicesError::NoLoop(image.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backing_file_may_be_unlinked() {
        let check = |text: &str, path: &str, is_deleted| {
            assert_eq!(parse_backing(text.as_bytes()), (PathBuf::from(path), is_deleted), "{text:?}");
        };
        check("/s/disks/a.img\n", "/s/disks/a.img", false);
        check("/s/disks/a.img (deleted)\n", "/s/disks/a.img", true);
        check("/s/with blank (1)/a.img\n", "/s/with blank (1)/a.img", false);
        check("", "", false);
    }

    #[test]
    fn a_device_number_is_two_numbers() {
        for (text, dev) in [("7:3\n", Some((7, 3))), ("259:10", Some((259, 10))), ("7", None), ("a:b", None)]
        {
            assert_eq!(parse_dev(text), dev, "{text:?}");
        }
    }
}
