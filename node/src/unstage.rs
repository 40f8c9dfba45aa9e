//! NodeUnstageVolume: unmount, write out, wait until the kernel let go, then take the disk out of the
//! kernel's list, so that Azure detaches a disk that nobody uses.
//!
//! Each step finds what the one before left, also in another life of the driver: a mount tells its device,
//! and the staging folder's record tells it when there is no mount (any more). Unstage answers OK only when
//! an exclusive claim on the device was granted: no file system on it lives, in whatever mount namespace.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use csi::Error;
use tokio::time::Instant;

use crate::device::{self, Found};
use crate::host::{DeviceNumber, Disk, Host, Open, files, sysfs};
use crate::mountinfo::Mounts;
use crate::patience::{A_MOMENT, is_held};
use crate::record::Record;
use crate::{Inner, find, mounts, path_error, raw, stage};

/// What is known of a staged device before anything is undone.
struct Staged {
    found: Found,
    node: PathBuf,
    /// Pins the device: its number is given to no other disk while this is open.
    _pinned: Disk,
}

/// Unstages a volume; see the module.
pub(crate) async fn unstage(
    node: Arc<Inner>,
    volume_id: String,
    staging: PathBuf,
    deadline: Instant,
) -> Result<(), Error> {
    let id = volume_id.clone();
    let look = move |host: &dyn Host| {
        let staging = stage::resolved(&staging)?;
        let mounts = mounts(host)?;
        let staged = staged(host, &staging, &mounts);
        if let Some(staged) = &staged {
            let users = users(&mounts, &staging, staged.found.block.number, &staged.node);
            if !users.is_empty() {
                return Err(Error::precondition(format!(
                    "volume {id} is still published at {}",
                    users.join(", ")
                )));
            }
        }
        Ok((staging, staged))
    };
    let (staging, staged) = node.blocking(look).await?;
    unmount_all(&node, &staging, true, deadline).await?;
    let staged = staged.map(Arc::new);
    let mut held = None;
    if let Some(staged) = &staged {
        let this = Arc::clone(staged);
        if node.patiently(deadline, move |host| Ok(release(host, &this))).await?.is_none() {
            held = Some(staged.node.display().to_string());
        }
    }
    node.blocking(move |_| {
        drop(staged); // closing a device may wait for it, so not on a worker
        if let Some(device) = held {
            return Err(Error::unavailable(format!(
                "volume {volume_id}: {device} is still in use, perhaps mounted in another mount namespace; try again"
            )));
        }
        Record::erase(&staging);
        Ok(())
    })
    .await
}

/// The staged device: what is mounted, or else what the record says, if the disk is still that one.
fn staged(host: &dyn Host, staging: &Path, mounts: &Mounts) -> Option<Staged> {
    let mounted = mounts.top(staging).map(|mount| mount.device);
    let record = match mounted {
        Some(_) => None, // the record lies beneath the mount
        None => Some(Record::read(staging, &host.boot_id().ok()?)?),
    };
    let number = mounted.or(record.as_ref().map(|record| record.device))?;
    let found = device::by_number(sysfs::scsi_devices(host.root()).ok()?, number)?;
    let node = find::node(host, &found.block.name);
    let pinned = host.open(&node, Open::Read).ok()?;
    let is_the_disk = match record {
        Some(record) => record.is_of(&pinned),
        None => pinned.number().ok()? == number,
    };
    is_the_disk.then_some(Staged { found, node, _pinned: pinned })
}

/// Where else the volume can be reached: other mounts of its file system, binds of its device node.
fn users(mounts: &Mounts, staging: &Path, number: DeviceNumber, node: &Path) -> Vec<String> {
    let mounted = mounts.of_device(number).filter(|mount| mount.target != staging);
    let nodes = raw::views(mounts, number, node);
    mounted.chain(nodes).map(|mount| mount.target.display().to_string()).collect()
}

/// Unmounts whatever is stacked at `target`, written out before if it is the volume itself.
///
/// # Errors
/// Precondition if a program keeps files open on it.
pub(crate) async fn unmount_all(
    node: &Inner,
    target: &Path,
    writes_out: bool,
    deadline: Instant,
) -> Result<(), Error> {
    let path = target.to_owned();
    let soon = deadline.min(Instant::now() + A_MOMENT);
    let unmounted = node.patiently(soon, move |host| unmount_stack(host, &path, writes_out)).await?;
    unmounted.ok_or_else(|| {
        Error::precondition(format!("{} is in use: a program has files open on it", target.display()))
    })
}

fn unmount_stack(host: &dyn Host, target: &Path, writes_out: bool) -> Result<Option<()>, Error> {
    while mounts(host)?.top(target).is_some() {
        if writes_out && let Err(error) = host.sync(target) {
            tracing::warn!(path = %target.display(), %error, "could not write the file system out");
        }
        match host.unmount(target) {
            Ok(()) => {}
            Err(error) if is_held(&error) => return Ok(None),
            Err(error) => return Err(path_error(target, "unmounted", &error)),
        }
    }
    Ok(Some(()))
}

/// Something when nobody uses the device any more and the kernel was told to forget it. A disk that is gone, or
/// that answers nothing, has nothing to be waited for: what it did not take before is lost with or without us.
fn release(host: &dyn Host, staged: &Staged) -> Option<()> {
    let disk = match host.open(&staged.node, Open::Exclusive) {
        Ok(disk) => disk,
        Err(error) if is_held(&error) => return None,
        Err(error) => {
            tracing::warn!(device = %staged.node.display(), %error, "the staged device does not open any more");
            return Some(());
        }
    };
    if disk.number().ok() != Some(staged.found.block.number) {
        return Some(());
    }
    if let Err(error) = disk.flush() {
        tracing::warn!(device = %staged.node.display(), %error, "the staged device did not take its last writes");
    }
    if disk.is_read_only().unwrap_or(false) && disk.set_read_only(false).is_err() {
        tracing::debug!(device = %staged.node.display(), "stays read-only");
    }
    let file = staged.found.folder.join("delete");
    if let Err(error) = files::write_attribute(&file, "1") {
        tracing::debug!(path = %file.display(), %error, "the kernel keeps the disk in its list");
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_mount_of_the_disk_is_a_user() {
        let table = "1 2 8:32 / /stage rw - ext4 x rw\n\
                     1 2 8:32 /sub /pod/subpath rw - ext4 x rw\n\
                     1 2 8:32 / /pod ro - ext4 x rw\n\
                     1 2 8:48 / /other rw - ext4 x rw";
        let number = DeviceNumber { major: 8, minor: 32 };
        let users = users(&Mounts::parse(table), Path::new("/stage"), number, Path::new("/dev/sdc"));
        assert_eq!(users, ["/pod/subpath", "/pod"]);
    }
}
