//! One VM's root, `vms/<vm>`: the directory that a node is given as its device root.
//!
//! It owns `dev/` (block device nodes), `sys/` (the tree of [`super::tree`]) and `luns/<LUN>` (a link to the
//! image: what was asked for, written before the first step of an attach and removed after the last one of a
//! detach). Nothing else is remembered: which disk is where is read from these each time, so that a kill at
//! any point leaves either the old state or a state that the same call completes.
//!
//! Invariants: a reader never sees half a disk. A SCSI device's directory is made in `new/` and renamed into
//! place, its node is there before it, the link that a search starts from comes last; removal goes the other
//! way round.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::error::{DevicesError, at, gone};
use super::loops::parse_dev;
use super::names;
use super::tree::{self, Controller, Disk, Slot};

/// A VM's root directory.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: PathBuf,
}

/// A disk in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// sdc …
    pub(super) name: String,
    /// Major and minor of the loop device behind it.
    pub(super) dev: (u32, u32),
}

impl Root {
    pub(super) fn new(path: PathBuf) -> Root {
        Root { path }
    }

    pub(super) fn exists(&self) -> bool {
        self.path.join("luns").is_dir()
    }

    fn sys(&self) -> PathBuf {
        self.path.join("sys")
    }

    fn new_place(&self, name: &str) -> PathBuf {
        self.path.join("new").join(name)
    }

    /// Makes, or completes, a root with two controllers and no disks.
    pub(super) fn make(&self) -> Result<(), DevicesError> {
        let _ = fs::remove_dir_all(self.path.join("new"));
        for directory in
            ["new", "dev", "sys/block", "sys/class/block", "sys/class/scsi_host", "sys/dev/block"]
                .into_iter()
                .chain(["sys/bus/scsi/devices", "sys/bus/vmbus/devices"])
        {
            make_directory(&self.path.join(directory))?;
        }
        for controller in Controller::ALL {
            make_directory(&self.sys().join(controller.target()))?;
            for (file, text) in controller.files() {
                write(&self.sys().join(file), &text)?;
            }
            for (link, to) in controller.links() {
                self.link(&link, &to)?;
            }
        }
        // Last: with it the root counts as made.
        make_directory(&self.path.join("luns"))
    }

    /// Removes the root and all in it.
    pub(super) fn remove(&self) -> Result<(), DevicesError> {
        // First: a half removed root does not count as one.
        for part in ["luns", ""] {
            let path = self.path.join(part);
            gone(fs::remove_dir_all(&path)).map_err(at("remove", &path))?;
        }
        Ok(())
    }

    /// The data disks that were asked for: LUN → image.
    pub(super) fn asked(&self) -> Result<BTreeMap<u8, PathBuf>, DevicesError> {
        let luns = self.path.join("luns");
        let mut asked = BTreeMap::new();
        for name in list(&luns)? {
            let Ok(lun) = name.parse() else { continue };
            let link = luns.join(&name);
            asked.insert(lun, fs::read_link(&link).map_err(at("read", &link))?);
        }
        Ok(asked)
    }

    /// Remembers, before anything is done, that `image` belongs at `lun`.
    pub(super) fn ask(&self, lun: u8, image: &Path) -> Result<(), DevicesError> {
        let link = self.path.join("luns").join(lun.to_string());
        replace_link(&self.new_place("lun"), &link, image)
    }

    /// Forgets, after all is done, what belongs at `lun`.
    pub(super) fn forget(&self, lun: u8) -> Result<(), DevicesError> {
        let link = self.path.join("luns").join(lun.to_string());
        gone(fs::remove_file(&link)).map_err(at("remove", &link))
    }

    /// The slots that hold a disk, whole or not.
    pub(super) fn slots(&self) -> Result<BTreeSet<Slot>, DevicesError> {
        let mut slots = BTreeSet::new();
        for controller in Controller::ALL {
            for name in list(&self.sys().join(controller.target()))? {
                let lun = name.rsplit(':').next().and_then(|lun| lun.parse().ok());
                slots.extend(lun.map(|lun| Slot { controller, lun }));
            }
        }
        Ok(slots)
    }

    /// What is in `slot`.
    pub(super) fn disk_at(&self, slot: Slot) -> Result<Option<Shown>, DevicesError> {
        let block = self.sys().join(slot.directory()).join("block");
        let Some(name) = list(&block)?.into_iter().next() else { return Ok(None) };
        let dev = block.join(&name).join("dev");
        let text = fs::read_to_string(&dev).map_err(at("read", &dev))?;
        let dev = parse_dev(&text).ok_or_else(|| at("understand", &dev)(io::Error::other(text)))?;
        Ok(Some(Shown { name, dev }))
    }

    /// Shows a disk in `slot`; one that is there already, behind the same device, keeps its name.
    pub(super) fn plug(
        &self,
        slot: Slot,
        dev: (u32, u32),
        bytes: u64,
        sector: u32,
    ) -> Result<(), DevicesError> {
        let name = match self.disk_at(slot)? {
            Some(shown) if shown.dev == dev => shown.name,
            _ => {
                self.unplug(slot)?;
                names::lowest_free(&self.names()?)
            }
        };
        let disk = Disk { slot, name, dev, bytes, sector };
        self.make_node(&disk)?;
        if self.sys().join(slot.directory()).is_dir() {
            self.measure(slot, bytes)?;
        } else {
            self.make_device(&disk)?;
        }
        slot.links(&disk.name, dev).iter().try_for_each(|(link, to)| self.link(link, to))
    }

    /// Removes the disk in `slot`, if there is one.
    pub(super) fn unplug(&self, slot: Slot) -> Result<(), DevicesError> {
        let Some(Shown { name, dev }) = self.disk_at(slot)? else { return Ok(()) };
        for (link, _) in slot.links(&name, dev).iter().rev() {
            let link = self.sys().join(link);
            gone(fs::remove_file(&link)).map_err(at("remove", &link))?;
        }
        let node = self.path.join("dev").join(&name);
        gone(fs::remove_file(&node)).map_err(at("remove", &node))?;
        // Renamed first, so that nobody sees it shrink; while its name is there, so is the way to redo this.
        let (device, old) = (self.sys().join(slot.directory()), self.new_place("old"));
        gone(fs::remove_dir_all(&old)).map_err(at("remove", &old))?;
        fs::rename(&device, &old).map_err(at("remove", &device))?;
        fs::remove_dir_all(&old).map_err(at("remove", &old))
    }

    /// Shows the disk in `slot`, if there is one, with another size.
    pub(super) fn measure(&self, slot: Slot, bytes: u64) -> Result<(), DevicesError> {
        let Some(shown) = self.disk_at(slot)? else { return Ok(()) };
        let block = self.sys().join(slot.directory()).join("block").join(shown.name);
        let (new, size) = (self.new_place("size"), block.join("size"));
        write(&new, &tree::size(bytes))?;
        fs::rename(&new, &size).map_err(at("write", &size))
    }

    /// Removes nodes of no disk, which a kill may leave.
    pub(super) fn sweep(&self) -> Result<(), DevicesError> {
        let names = self.names()?;
        let dev = self.path.join("dev");
        for stray in list(&dev)?.into_iter().filter(|name| !names.contains(name)) {
            let node = dev.join(stray);
            fs::remove_file(&node).map_err(at("remove", &node))?;
        }
        Ok(())
    }

    fn names(&self) -> Result<BTreeSet<String>, DevicesError> {
        let mut names = BTreeSet::new();
        for slot in self.slots()? {
            names.extend(self.disk_at(slot)?.map(|shown| shown.name));
        }
        Ok(names)
    }

    fn make_node(&self, disk: &Disk) -> Result<(), DevicesError> {
        let (new, node) = (self.new_place("node"), self.path.join("dev").join(&disk.name));
        let dev = makedev(disk.dev.0.into(), disk.dev.1.into());
        if fs::symlink_metadata(&node).is_ok_and(|is| is.file_type().is_block_device() && is.rdev() == dev) {
            return Ok(());
        }
        gone(fs::remove_file(&new)).map_err(at("remove", &new))?;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IWGRP;
        mknod(&new, SFlag::S_IFBLK, mode, dev).map_err(|error| at("make node", &new)(error.into()))?;
        fs::rename(&new, &node).map_err(at("make node", &node))
    }

    fn make_device(&self, disk: &Disk) -> Result<(), DevicesError> {
        let new = self.new_place("device");
        gone(fs::remove_dir_all(&new)).map_err(at("remove", &new))?;
        for (file, text) in disk.files() {
            write(&new.join(file), &text)?;
        }
        for (link, to) in disk.inner_links() {
            let link = new.join(link);
            symlink(to, &link).map_err(at("make", &link))?;
        }
        let device = self.sys().join(disk.slot.directory());
        fs::rename(&new, &device).map_err(at("make", &device))
    }

    fn link(&self, link: &str, to: &str) -> Result<(), DevicesError> {
        replace_link(&self.new_place("link"), &self.sys().join(link), Path::new(to))
    }
}

/// The names in a directory, none if it is not there.
pub(super) fn list(directory: &Path) -> Result<Vec<String>, DevicesError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(at("list", directory))?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<String>>>().map_err(at("list", directory))?;
    names.sort();
    Ok(names)
}

fn make_directory(path: &Path) -> Result<(), DevicesError> {
    fs::create_dir_all(path).map_err(at("make", path))
}

fn write(path: &Path, text: &str) -> Result<(), DevicesError> {
    if let Some(directory) = path.parent() {
        make_directory(directory)?;
    }
    fs::write(path, text).map_err(at("write", path))
}

fn replace_link(new: &Path, link: &Path, to: &Path) -> Result<(), DevicesError> {
    if fs::read_link(link).is_ok_and(|leads| leads == to) {
        return Ok(());
    }
    gone(fs::remove_file(new)).map_err(at("remove", new))?;
    symlink(to, new).and_then(|()| fs::rename(new, link)).map_err(at("make", link))
}
