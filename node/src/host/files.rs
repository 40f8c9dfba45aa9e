//! Plain files and folders: target paths, records, sysfs attributes.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{DeviceNumber, disk};

/// What is at a path, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A block device node.
    Block(DeviceNumber),
    /// Any other file.
    File,
}

/// What is at `path`; `None` if nothing is.
pub(crate) fn kind(path: &Path) -> io::Result<Option<Kind>> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(Some(Kind::Folder)),
        Ok(found) if found.file_type().is_block_device() => Ok(Some(Kind::Block(disk::number(found.rdev())))),
        Ok(_) => Ok(Some(Kind::File)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error means that nothing is there.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// `path` as the kernel's mount table writes it: the links in its parents resolved, its own name kept
/// (looking at the name itself could hang on a dead mount). `None` if the parent is not there.
pub(crate) fn resolve(path: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Some(path.to_owned()));
    };
    match fs::canonicalize(parent) {
        Ok(parent) => Ok(Some(parent.join(name))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a folder and its missing parents; one that is there stays.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Makes an empty file and its missing parents; one that is there stays.
pub(crate) fn make_file(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

/// Removes an empty folder or an empty file; nothing there is fine.
///
/// # Errors
/// `DirectoryNotEmpty` for anything that holds something, or that is neither.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let outcome = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir(path),
        Ok(found) if found.is_file() && found.len() == 0 => fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
        Err(error) => Err(error),
    };
    outcome.or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) })
}

/// The text of a file; `None` if it is not there.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes to an attribute that is there already; never makes a file.
pub(crate) fn write_attribute(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// The text of an extended attribute, if there is one.
pub(crate) fn attribute(path: &Path, name: &str) -> Option<String> {
    let mut bytes = [0_u8; 256];
    let length = rustix::fs::getxattr(path, name, &mut bytes[..]).ok()?;
    String::from_utf8(bytes.get(..length)?.to_vec()).ok()
}

/// Sets an extended attribute.
pub(crate) fn set_attribute(path: &Path, name: &str, text: &str) -> io::Result<()> {
    Ok(rustix::fs::setxattr(path, name, text.as_bytes(), rustix::fs::XattrFlags::empty())?)
}

/// Removes an extended attribute; none there is fine.
pub(crate) fn remove_attribute(path: &Path, name: &str) {
    if let Err(error) = rustix::fs::removexattr(path, name) {
        tracing::debug!(path = %path.display(), %error, "no attribute removed");
    }
}
