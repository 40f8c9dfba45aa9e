//! An open block device. While one is held the kernel gives its number to no other disk, so checks made on
//! it stay true of the node that was opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;

use super::{DeviceNumber, ioctl};

/// Reads go past the page cache in units of this; it is a multiple of every sector size that Azure has.
pub(crate) const ALIGNMENT: usize = 4096;

/// What an open is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Read only; says nothing about others.
    Read,
    /// Read and write, refused with `EBUSY` while a file system or a tool holds the device (`O_EXCL`).
    Exclusive,
}

/// An open block device.
#[derive(Debug)]
pub struct Disk {
    file: File,
    /// A second descriptor that bypasses the page cache: what it reads is on the medium.
    direct: Option<File>,
}

impl Disk {
    /// Opens `node`; anything but a block device is refused.
    pub(super) fn open(node: &Path, how: Open) -> io::Result<Disk> {
        let options = |flags: i32| {
            let mut options = OpenOptions::new();
            options.read(true).write(how == Open::Exclusive).custom_flags(flags | libc::O_NONBLOCK);
            options
        };
        let exclusive = if how == Open::Exclusive { libc::O_EXCL } else { 0 };
        let file = options(exclusive).open(node)?;
        let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(node).ok();
        let disk = Disk { file, direct };
        disk.number()?;
        Ok(disk)
    }

    /// Which device it is.
    pub fn number(&self) -> io::Result<DeviceNumber> {
        let metadata = self.file.metadata()?;
        if !metadata.file_type().is_block_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a block device"));
        }
        Ok(number(metadata.rdev()))
    }

    /// Its size in bytes, as the driver below sees it.
    pub fn size(&self) -> io::Result<u64> {
        ioctl::size(self.file.as_fd())
    }

    /// The kernel's number of this very disk, if it has such numbers.
    pub fn sequence(&self) -> Option<u64> {
        ioctl::sequence(self.file.as_fd()).ok()
    }

    /// Reads all of `buffer` at `offset` from the medium, past the page cache where the device allows it.
    /// `offset` and the length must be multiples of the sector size.
    pub fn read_medium(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Some(direct) = &self.direct else { return self.file.read_exact_at(buffer, offset) };
        let mut spare = vec![0_u8; buffer.len() + ALIGNMENT];
        let skip = spare.as_ptr().align_offset(ALIGNMENT);
        let aligned = spare
            .get_mut(skip..skip + buffer.len())
            .ok_or_else(|| io::Error::other("no aligned room for a read"))?;
        direct.read_exact_at(aligned, offset)?;
        buffer.copy_from_slice(aligned);
        Ok(())
    }

    /// Reads through the page cache: a mounted file system's newest superblock is there.
    pub fn read_cached(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Writes all of `bytes` and waits until the device has them.
    pub fn write_through(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.file.sync_all()
    }

    /// Waits until the device has all that was written, then empties its page cache.
    pub fn flush(&self) -> io::Result<()> {
        self.file.sync_all()?;
        ioctl::flush(self.file.as_fd())
    }

    /// Whether the kernel refuses writes to it.
    pub fn is_read_only(&self) -> io::Result<bool> {
        ioctl::is_read_only(self.file.as_fd())
    }

    /// Makes the kernel refuse, or take, writes to it: one switch for all who use the device.
    pub fn set_read_only(&self, read_only: bool) -> io::Result<()> {
        ioctl::set_read_only(self.file.as_fd(), read_only)
    }
}

/// The device number in a raw `dev_t`.
pub(crate) fn number(raw: u64) -> DeviceNumber {
    DeviceNumber { major: nix::sys::stat::major(raw), minor: nix::sys::stat::minor(raw) }
}
