//! The bytes of disks and snapshots: sparse files `disks/<name>.img` of their true size.
//!
//! Invariant: a file with that name is whole. It is made under another name (`.part`) and then renamed; what a
//! kill leaves behind under the other name is swept away at the next start. That holds for a kill of the
//! emulator. Nothing here waits for the machine's own disk: what must survive a power cut, a guest syncs,
//! and the loop device hands that on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use super::error::{DevicesError, at, gone};
use super::ioctl;

const PART: &str = "part";

/// The image's size in bytes; `None`: no such image.
pub(super) fn bytes(image: &Path) -> Result<Option<u64>, DevicesError> {
    match fs::metadata(image) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("look at", image)(error)),
    }
}

/// A new image of `bytes` zeros, except for what `fill` writes.
pub(super) fn make(
    image: &Path,
    bytes: u64,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), DevicesError> {
    write(image, |part| {
        fill(part)?;
        part.set_len(bytes)
    })?;
    appear(image)
}

/// Prepares a copy of `from` of `bytes` bytes; [`appear`] makes it visible as `image`.
///
/// Shared extents where the file system has them, else every byte that is not a hole. Writes to `from` that
/// happen meanwhile may or may not be in it.
pub(super) fn copy(from: &Path, image: &Path, bytes: u64) -> Result<(), DevicesError> {
    let source = File::open(from).map_err(at("open", from))?;
    write(image, |part| {
        if ioctl::reflink(&source, part).is_err() {
            copy_sparse(&source, part)?;
        }
        part.set_len(bytes)
    })
}

/// Makes what [`copy`] prepared the image, in one step.
pub(super) fn appear(image: &Path) -> Result<(), DevicesError> {
    fs::rename(part_of(image), image).map_err(at("make", image))
}

/// Makes the image larger.
pub(super) fn grow(image: &Path, bytes: u64) -> Result<(), DevicesError> {
    let open = OpenOptions::new().write(true).open(image);
    open.and_then(|file| file.set_len(bytes)).map_err(at("grow", image))
}

/// Removes the image; a loop device that still has it keeps the bytes until it is let go.
pub(super) fn remove(image: &Path) -> Result<(), DevicesError> {
    gone(fs::remove_file(image)).map_err(at("remove", image))
}

/// Removes what a kill left half made.
pub(super) fn sweep(directory: &Path) -> Result<(), DevicesError> {
    for entry in fs::read_dir(directory).map_err(at("list", directory))? {
        let path = entry.map_err(at("list", directory))?.path();
        if path.extension().is_some_and(|extension| extension == PART) {
            remove(&path)?;
        }
    }
    Ok(())
}

fn part_of(image: &Path) -> PathBuf {
    image.with_added_extension(PART)
}

fn write(image: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> Result<(), DevicesError> {
    let part = part_of(image);
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&part);
    let made = made.and_then(|file| fill(&file));
    made.map_err(|error| {
        // The first failure is the one to tell; what this leaves is swept at the next start.
        let _ = fs::remove_file(&part);
        at("write", &part)(error)
    })
}

/// Copies every extent that is not a hole. The target is new, so its holes are zeros as well.
fn copy_sparse(from: &File, mut to: &File) -> io::Result<()> {
    let mut end = 0;
    loop {
        let start = match lseek(from, end, Whence::SeekData) {
            Ok(start) => start,
            Err(Errno::ENXIO) => return Ok(()), // only a hole until the end
            Err(error) => return Err(error.into()),
        };
        end = lseek(from, start, Whence::SeekHole)?;
        let length = u64::try_from(end - start).map_err(io::Error::other)?;
        let start = SeekFrom::Start(u64::try_from(start).map_err(io::Error::other)?);
        let mut extent = from;
        extent.seek(start)?;
        to.seek(start)?;
        let copied = io::copy(&mut io::Read::take(extent, length), &mut to)?;
        if copied != length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the source became shorter"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_sparse_copy_has_every_byte_and_no_more() {
        let rows: [&[(u64, &[u8])]; 4] = [
            &[],
            &[(0, b"first")],
            &[(64 * MIB - 4, b"last")],
            &[(0, b"a"), (5 * MIB + 17, b"middle"), (40 * MIB, &[7; 9000]), (64 * MIB - 1, b"z")],
        ];
        for pieces in rows {
            let directory = tempfile::tempdir().unwrap();
            let (from, to) = (directory.path().join("a.img"), directory.path().join("b.img"));
            make(&from, 64 * MIB, |file| {
                pieces.iter().try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset))
            })
            .unwrap();
            write(&to, |part| {
                copy_sparse(&File::open(&from)?, part)?;
                part.set_len(64 * MIB)
            })
            .unwrap();
            appear(&to).unwrap();
            assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap(), "{} pieces", pieces.len());
            let used = fs::metadata(&to).unwrap().blocks() * 512;
            assert!(used <= 4 * MIB, "{used} bytes are used for {} pieces", pieces.len());
        }
    }

    #[test]
    fn a_failed_image_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("a.img");
        make(&image, MIB, |_| Err(io::Error::other("disk full"))).unwrap_err();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
