//! The kernel's read-only switch of a block device (`BLKROSET`), for volumes that the controller published read-only:
//! no program on this machine can write to a sealed disk, whatever it mounts or opens.
//!
//! ```text
//! stage:   unseal what an earlier staging left ─► mount `ro` (replays a journal, which needs a writable device) ─► seal
//! unstage: unmount ─► claim ─► flush ─► unseal ─► out of the kernel's list
//! ```
//! A switch is no state of ours: each step looks at it, so a kill between two of them and a repeat converge. On a real
//! machine it dies with the device; a device that outlives its disk must not keep it for the next one.

use csi::Error;

use crate::device::Found;
use crate::host::{Host, Open};
use crate::patience::is_held;
use crate::{find, path_error};

/// Before a disk that nobody uses is prepared: takes the seal off. One in use keeps it, and what cannot be read is for
/// [`crate::prepare`] to refuse.
pub(crate) fn unseal(host: &dyn Host, found: &Found) -> Result<(), Error> {
    let node = find::node(host, &found.block.name);
    let Ok(disk) = host.open(&node, Open::Read) else { return Ok(()) };
    if !disk.is_read_only().unwrap_or(false) {
        return Ok(());
    }
    drop(disk);
    let disk = match host.open(&node, Open::Exclusive) {
        Ok(disk) => disk,
        Err(error) if is_held(&error) => return Ok(()),
        Err(error) => return Err(path_error(&node, "opened", &error)),
    };
    if disk.number().ok() != Some(found.block.number) {
        return Ok(());
    }
    disk.set_read_only(false).map_err(|error| path_error(&node, "made writable", &error))
}

/// Seals the disk, after its file system is mounted read-only or its raw volume is staged.
pub(crate) fn seal(host: &dyn Host, found: &Found) -> Result<(), Error> {
    let node = find::node(host, &found.block.name);
    let failed = |error: std::io::Error| path_error(&node, "made read-only", &error);
    let disk = host.open(&node, Open::Read).map_err(failed)?;
    if disk.number().map_err(failed)? != found.block.number {
        return Err(Error::unavailable(format!("{} is another device now; try again", node.display())));
    }
    if disk.is_read_only().map_err(failed)? {
        return Ok(());
    }
    disk.set_read_only(true).map_err(failed)
}
