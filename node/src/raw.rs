//! Raw block volumes at their staging path: nothing is mounted, nothing is written but what ends a cut format.
//!
//! One that was published read-only is sealed (see `seal`), and then not even that is written.
//!
//! What is noted beneath the path is which device it is, so that unstage and expand, which get no context,
//! find it, and so that nobody formats a disk that a workload has in its hands.

use csi::Error;

use crate::device::Found;
use crate::host::{DeviceNumber, Disk, Host, Open, files};
use crate::mountinfo::{MountPoint, Mounts};
use crate::prepare::{self, Job};
use crate::record::Record;
use crate::stage::{self, Stage};
use crate::superblock::FsType;
use crate::{Inner, find, marker, mounts, path_error, seal};
use std::path::Path;

/// Every path at which the device node is bound.
pub(crate) fn views<'a>(
    mounts: &'a Mounts,
    number: DeviceNumber,
    node: &'a Path,
) -> impl Iterator<Item = &'a MountPoint> {
    let is_node = move |mount: &&MountPoint| {
        files::kind(&mount.target).is_ok_and(|kind| kind == Some(files::Kind::Block(number)))
    };
    mounts.of_node(node).filter(is_node)
}

/// Who has the disk as a raw block volume: a published path, or the staging path itself.
pub(crate) fn users(
    host: &dyn Host,
    mounts: &Mounts,
    found: &Found,
    staging: &Path,
) -> Result<Option<String>, Error> {
    let node = find::node(host, &found.block.name);
    if let Some(view) = views(mounts, found.block.number, &node).next() {
        return Ok(Some(view.target.display().to_string()));
    }
    let boot = host.boot_id().map_err(|error| path_error(staging, "compared with the boot", &error))?;
    let Some(record) = Record::read(staging, &boot).filter(|record| record.is_raw) else { return Ok(None) };
    let disk = host.open(&node, Open::Read).map_err(|error| path_error(&node, "opened", &error))?;
    Ok(record.is_of(&disk).then(|| staging.display().to_string()))
}

/// Stages a raw block volume.
pub(crate) async fn stage(node: &Inner, call: Stage, found: Found) -> Result<(), Error> {
    node.blocking(move |host| {
        let staging = &call.staging;
        files::make_folder(staging).map_err(|error| path_error(staging, "made", &error))?;
        let staging = stage::resolved(staging)?;
        if let Some(top) = mounts(host)?.top(&staging) {
            let there = format!("{} from device {}", top.fs_type, top.device);
            let id = &call.volume_id;
            return Err(Error::exists(format!("volume {id}: {there} is mounted at {}", staging.display())));
        }
        let path = find::node(host, &found.block.name);
        let disk = host.open(&path, Open::Read).map_err(|error| path_error(&path, "opened", &error))?;
        let number = disk.number().map_err(|error| path_error(&path, "looked at", &error))?;
        if number != found.block.number {
            return Err(Error::unavailable(format!("{} is another device now; try again", path.display())));
        }
        if call.is_published_read_only {
            refuse_writable_views(host, &call, number, &path)?;
        } else {
            end_interrupted_format(host, &call, &found, &disk)?;
        }
        stage::note(host, &staging, &disk, number, true);
        if call.is_published_read_only { seal::seal(host, &found) } else { Ok(()) }
    })
    .await
}

/// Who has the volume writable would lose it.
fn refuse_writable_views(
    host: &dyn Host,
    call: &Stage,
    number: DeviceNumber,
    node: &Path,
) -> Result<(), Error> {
    let mounts = mounts(host)?;
    let Some(view) = views(&mounts, number, node).find(|view| !view.read_only) else { return Ok(()) };
    let (id, target) = (&call.volume_id, view.target.display());
    Err(Error::exists(format!("volume {id}, published read-only, is writable at {target}")))
}

/// A raw volume's owner may write anything. If a format of it was once cut, the marker must go now, or a
/// later stage as a file system would take the owner's bytes for that ruin.
fn end_interrupted_format(host: &dyn Host, call: &Stage, found: &Found, disk: &Disk) -> Result<(), Error> {
    let mut there = vec![0; marker::SIZE];
    if found.block.bytes < marker::PLACE + marker::SIZE as u64
        || disk.read_medium(marker::PLACE, &mut there).is_err()
    {
        return Ok(());
    }
    if marker::read(&there, &call.volume_id) != marker::Seen::Ours {
        return Ok(());
    }
    let node = find::node(host, &found.block.name);
    let held = host
        .open(&node, Open::Exclusive)
        .map_err(|error| path_error(&node, "freed of its marker", &error))?;
    let job = Job {
        volume_id: call.volume_id.clone(),
        found: found.clone(),
        node,
        fs_type: FsType::Ext4,
        read_only: false,
    };
    prepare::erase_marker(&held, &job)
}
