//! NodeStageVolume: the disk is found, made fit to be mounted, and mounted at the staging path.
//!
//! ```text
//! find the disk ─► look at the staging path ─┬─ mounted, the same ────────────► grow if smaller ─► OK
//!                                            ├─ mounted, another ─► ALREADY_EXISTS
//!                                            ├─ its disk is gone ─► unmount, then as free
//!                                            └─ free ─► prepare (check, format, grow) ─► mount ─► grow
//! ```
//! A volume that was published read-only is mounted so, and its device is sealed after that: see `seal`.
//! For a raw block volume there is nothing to mount: see `raw`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use csi::Error;
use tokio::time::Instant;

use crate::device::Found;
use crate::host::{DeviceNumber, Disk, Growth, Host, Mount, Open, files, sysfs};
use crate::mountinfo::Mounts;
use crate::options::MountWish;
use crate::patience::is_held;
use crate::prepare::{Job, prepare};
use crate::record::Record;
use crate::superblock::FsType;
use crate::{Inner, expand, find, mounts, path_error, raw, seal, unstage};

/// The arguments, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stage {
    pub(crate) volume_id: String,
    pub(crate) staging: PathBuf,
    pub(crate) lun: u8,
    pub(crate) least_bytes: u64,
    /// The controller published it read-only on this node: the device is sealed, too.
    pub(crate) is_published_read_only: bool,
    /// `None` for a raw block volume.
    pub(crate) mount: Option<MountWish>,
}

/// What the mount table says about a staging path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing is mounted there.
    Free,
    /// The very mount that is wanted.
    Done,
    /// A file system of ours whose device is gone: nothing can be read from or written to it any more.
    Dead,
    /// Something else.
    Taken(String),
}

/// Compares what is mounted with what is wanted.
fn compare(mounts: &Mounts, staging: &Path, found: &Found, wish: &MountWish) -> Place {
    let Some(top) = mounts.top(staging) else {
        let elsewhere = mounts.of_device(found.block.number).find(|mount| mount.root == Path::new("/"));
        return elsewhere.map_or(Place::Free, |mount| {
            Place::Taken(format!("the disk is mounted at {} already", mount.target.display()))
        });
    };
    let is_same = top.device == found.block.number
        && top.fs_type == wish.fs_type.name()
        && top.read_only == wish.read_only;
    if is_same {
        return Place::Done;
    }
    let way = if top.read_only { "read-only" } else { "writable" };
    Place::Taken(format!(
        "{} from device {} is mounted {way} there, wanted is {} from {} {}",
        top.fs_type,
        top.device,
        wish.fs_type.name(),
        found.block.number,
        if wish.read_only { "read-only" } else { "writable" }
    ))
}

/// Stages a volume; see the module.
pub(crate) async fn stage(node: Arc<Inner>, call: Stage, deadline: Instant) -> Result<(), Error> {
    let found = node.find(call.lun, call.least_bytes, deadline).await?;
    let Some(wish) = call.mount.clone() else { return raw::stage(&node, call, found).await };
    let (look, disk, wanted) = (call.clone(), found.clone(), wish.clone());
    let (place, staging) = node.blocking(move |host| look_at(host, &look, &disk, &wanted)).await?;
    if place == Place::Dead {
        tracing::warn!(path = %staging.display(), "unmounting a file system whose disk is gone");
        unstage::unmount_all(&node, &staging, false, deadline).await?;
    }
    match place {
        Place::Taken(why) => {
            return Err(Error::exists(format!("volume {} at {}: {why}", call.volume_id, staging.display())));
        }
        Place::Done => {}
        Place::Free | Place::Dead => {
            let job = job(&node, &call, &found, &wish);
            let disk = found.clone();
            node.blocking(move |host| seal::unseal(host, &disk)).await?;
            prepare_and_mount(&node, &job, &wish, &staging, deadline).await?;
        }
    }
    if wish.read_only {
        let is_sealed = call.is_published_read_only;
        return node.blocking(move |host| if is_sealed { seal::seal(host, &found) } else { Ok(()) }).await;
    }
    node.blocking(move |host| {
        grow_best_effort(host, &call.volume_id, &staging, &found, wish.fs_type);
        Ok(())
    })
    .await
}

/// Looks at the staging path, and makes it if there is none.
fn look_at(
    host: &dyn Host,
    call: &Stage,
    found: &Found,
    wish: &MountWish,
) -> Result<(Place, PathBuf), Error> {
    let staging = resolved(&call.staging)?;
    let mounts = mounts(host)?;
    if let Some(top) = mounts.top(&staging) {
        let is_dead = !top.fs_type.is_empty()
            && FsType::parse(&top.fs_type).is_some()
            && !sysfs::has_block_device(host.root(), top.device);
        let place = if is_dead { Place::Dead } else { compare(&mounts, &staging, found, wish) };
        return Ok((place, staging));
    }
    files::make_folder(&staging).map_err(|error| path_error(&staging, "made", &error))?;
    let raw = raw::users(host, &mounts, found, &staging)?;
    if let Some(user) = raw {
        return Ok((
            Place::Taken(format!("it is staged or published as a raw block volume ({user})")),
            staging,
        ));
    }
    Ok((compare(&mounts, &staging, found, wish), staging))
}

fn job(node: &Inner, call: &Stage, found: &Found, wish: &MountWish) -> Job {
    Job {
        volume_id: call.volume_id.clone(),
        found: found.clone(),
        node: find::node(&*node.host, &found.block.name),
        fs_type: wish.fs_type,
        read_only: wish.read_only,
    }
}

/// While a tool of a former life of the driver holds the device, its end is waited for.
async fn prepare_and_mount(
    node: &Inner,
    job: &Job,
    wish: &MountWish,
    staging: &Path,
    deadline: Instant,
) -> Result<(), Error> {
    let (this, counters) = (job.clone(), Arc::clone(&node.counters));
    let prepared = node.patiently(deadline, move |host| prepare(host, &this, &counters)).await?;
    let (this, wish, staging) = (job.clone(), wish.clone(), staging.to_owned());
    let mounted = match prepared {
        Some(()) => node.patiently(deadline, move |host| mount(host, &this, &wish, &staging)).await?,
        None => None,
    };
    mounted.ok_or_else(|| {
        Error::unavailable(format!(
            "volume {}: {} is held by another program (a check or format of it still running, or a mount in \
             another namespace); try again",
            job.volume_id,
            job.node.display()
        ))
    })
}

/// Mounts; `None` while somebody holds the device.
fn mount(host: &dyn Host, job: &Job, wish: &MountWish, staging: &Path) -> Result<Option<()>, Error> {
    // Held open until the mount holds it: the kernel can't give the name to another disk meanwhile.
    let disk = host.open(&job.node, Open::Read).map_err(|error| path_error(&job.node, "opened", &error))?;
    let number = disk.number().map_err(|error| path_error(&job.node, "looked at", &error))?;
    if number != job.found.block.number {
        return Err(Error::unavailable(format!("{} is another device now; try again", job.node.display())));
    }
    note(host, staging, &disk, number, false);
    let mount = Mount {
        source: job.node.clone(),
        target: staging.to_owned(),
        fs_type: wish.fs_type.name(),
        options: wish.options.clone(),
    };
    let error = match host.mount(&mount) {
        Ok(()) => return Ok(Some(())),
        Err(error) if is_held(&error) => return Ok(None),
        Err(error) => error,
    };
    Record::erase(staging);
    let why = format!("volume {} could not be mounted at {}: {error}", job.volume_id, staging.display());
    // A bad option or a damaged file system: a person must act. Anything else may pass.
    Err(if error.kind() == std::io::ErrorKind::InvalidInput {
        Error::precondition(why)
    } else {
        Error::unavailable(why)
    })
}

/// Notes what is staged; see [`Record`].
pub(crate) fn note(host: &dyn Host, staging: &Path, disk: &Disk, device: DeviceNumber, is_raw: bool) {
    match host.boot_id() {
        Ok(boot) => Record { device, sequence: disk.sequence(), is_raw, boot }.write(staging),
        Err(error) => tracing::warn!(%error, "no boot id"),
    }
}

/// After the mount, by the kernel. Who may not grow it has grown it before the mount; that it could not be
/// grown at all keeps nobody from his data.
fn grow_best_effort(host: &dyn Host, volume_id: &str, staging: &Path, found: &Found, fs_type: FsType) {
    let node = find::node(host, &found.block.name);
    match expand::missing_growth(host, &node, staging, fs_type, found.block.bytes) {
        Ok(None) => {}
        Ok(Some(Growth::ExtBlocks(_))) if !host.has_sys_resource() => {
            tracing::warn!(volume_id, "the file system is smaller than its disk; the next stage grows it");
        }
        Ok(Some(growth)) => {
            if let Err(error) = host.grow(staging, growth) {
                tracing::warn!(volume_id, %error, "the file system is smaller than its disk and did not grow");
            }
        }
        Err(error) => {
            tracing::warn!(volume_id, %error, "could not tell whether the file system fills its disk");
        }
    }
}

/// A path as the mount table writes it.
pub(crate) fn resolved(path: &Path) -> Result<PathBuf, Error> {
    let resolved = files::resolve(path).map_err(|error| path_error(path, "resolved", &error))?;
    Ok(resolved.unwrap_or_else(|| path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sysfs::BlockDevice;

    #[test]
    fn a_staging_path_is_compared_by_device_file_system_and_writability() {
        let number = DeviceNumber { major: 8, minor: 32 };
        let block = BlockDevice { name: "sdc".to_owned(), number, bytes: 1 << 30 };
        let found = Found { block, folder: PathBuf::new() };
        let wish = |fs_type, read_only| MountWish { fs_type, read_only, options: Vec::new() };
        let at_path = "1 2 8:32 / /stage rw - ext4 /dev/sdc rw";
        let rows = [
            ("", wish(FsType::Ext4, false), "free"),
            (at_path, wish(FsType::Ext4, false), "done"),
            (at_path, wish(FsType::Ext4, true), "taken"),
            (at_path, wish(FsType::Xfs, false), "taken"),
            ("1 2 8:48 / /stage rw - ext4 /dev/sdd rw", wish(FsType::Ext4, false), "taken"),
            ("1 2 8:32 / /other rw - ext4 /dev/sdc rw", wish(FsType::Ext4, false), "taken"),
            ("1 2 8:48 / /other rw - ext4 /dev/sdd rw", wish(FsType::Ext4, false), "free"),
        ];
        for (table, wish, wanted) in rows {
            let place = match compare(&Mounts::parse(table), Path::new("/stage"), &found, &wish) {
                Place::Free => "free",
                Place::Done => "done",
                Place::Dead => "dead",
                Place::Taken(_) => "taken",
            };
            assert_eq!(place, wanted, "{table:?} {wish:?}");
        }
    }
}
