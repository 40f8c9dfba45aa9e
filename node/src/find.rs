//! Waits until the disk at a LUN is there, whole and big enough.
//!
//! The kernel is asked to look again when a look found nothing; then sysfs is looked at with growing
//! pauses until the caller's time is up. Truth is sysfs and the node in `/dev`; there are no links and no
//! udev. **Invariant:** the answer's node has the device number that sysfs shows.

use std::path::PathBuf;
use std::time::Duration;

use csi::Error;
use tokio::time::Instant;

use crate::Inner;
use crate::device::{self, Found, Missing, Role};
use crate::host::{Host, files, sysfs};

/// The first pause between two looks; each one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause, and how often the kernel is asked to look again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Inner {
    /// The disk at `lun`, of at least `least_bytes`.
    ///
    /// # Errors
    /// Unavailable when it did not come before `deadline`, telling what was seen; precondition when it is
    /// too small, or when two disks claim the LUN.
    pub(crate) async fn find(&self, lun: u8, least_bytes: u64, deadline: Instant) -> Result<Found, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let missing = match self.blocking(move |host| look(host, lun, least_bytes)).await? {
                Ok(found) => return Ok(found),
                Err(missing) => missing,
            };
            if let Missing::Ambiguous(seen) = missing {
                return Err(Error::precondition(format!("two disks claim LUN {lun}: {seen}")));
            }
            if Instant::now() + pause >= deadline {
                return Err(gave_up(lun, least_bytes, &missing));
            }
            if pause == FIRST_PAUSE || pause == LONGEST_PAUSE {
                self.blocking(move |host| {
                    look_again(host, &missing);
                    Ok(())
                })
                .await?;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The node of a block device.
pub(crate) fn node(host: &dyn Host, name: &str) -> PathBuf {
    host.root().join("dev").join(name)
}

fn look(host: &dyn Host, lun: u8, least_bytes: u64) -> Result<Result<Found, Missing>, Error> {
    let devices = sysfs::scsi_devices(host.root()).map_err(|error| {
        Error::unavailable(format!("sysfs below {} cannot be read: {error}", host.root().display()))
    })?;
    let found = match device::choose(&devices, lun, least_bytes) {
        Ok(found) => found,
        missing => return Ok(missing),
    };
    let node = node(host, &found.block.name);
    Ok(match files::kind(&node) {
        Ok(Some(files::Kind::Block(number))) if number == found.block.number => Ok(found),
        Ok(there) => Err(Missing::NotYet(format!(
            "{} should be block device {}, but is {there:?}",
            node.display(),
            found.block.number
        ))),
        Err(error) => Err(Missing::NotYet(format!("{}: {error}", node.display()))),
    })
}

/// Asks the kernel to look for new disks, or for a new size. Best effort: where the files can't be
/// written, the kernel has to notice by itself.
fn look_again(host: &dyn Host, missing: &Missing) {
    if let Missing::TooSmall(found) = missing {
        return rescan(found);
    }
    let hosts = sysfs::scsi_hosts(host.root()).unwrap_or_default();
    for scsi in hosts {
        let role = scsi.controller.as_deref().and_then(device::role);
        if role == Some(Role::System) {
            continue;
        }
        if let Err(error) = files::write_attribute(&scsi.scan, "- - -") {
            tracing::debug!(path = %scsi.scan.display(), %error, "no rescan of the SCSI host");
        }
    }
}

/// Asks the kernel to read the size of a disk again.
pub(crate) fn rescan(found: &Found) {
    let file = found.folder.join("rescan");
    if let Err(error) = files::write_attribute(&file, "1") {
        tracing::debug!(path = %file.display(), %error, "no rescan of the disk");
    }
}

fn gave_up(lun: u8, least_bytes: u64, missing: &Missing) -> Error {
    match missing {
        Missing::TooSmall(found) => Error::precondition(format!(
            "the disk at LUN {lun} ({}) has {} bytes, but the volume has at least {least_bytes}: it is another \
             disk, or its new size has not arrived",
            found.block.name, found.block.bytes
        )),
        Missing::NotYet(seen) | Missing::Ambiguous(seen) => Error::unavailable(format!(
            "the disk at LUN {lun} has not appeared on this machine; seen: {seen}"
        )),
    }
}
