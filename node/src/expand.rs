//! NodeExpandVolume: the file system grows into the room that its disk has gained.
//!
//! Looks first: a file system that fills its device is an answer, with no growth call and no tool. The call
//! brings no context, so the device is read from the path: a device node, a mount, or the staging
//! folder's record.

use std::path::{Path, PathBuf};
use std::time::Duration;

use csi::Error;
use tokio::time::Instant;

use crate::device::{self, Found};
use crate::host::{DeviceNumber, Growth, Host, Open, files, sysfs};
use crate::record::Record;
use crate::superblock::{self, FileSystem, FsType};
use crate::{Inner, find, mounts, path_error, stage};

/// The arguments, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expand {
    pub(crate) volume_id: String,
    pub(crate) path: PathBuf,
    pub(crate) staging: Option<PathBuf>,
    /// What the disk must have at least, bytes; 0 if nobody said.
    pub(crate) required_bytes: u64,
}

/// Where a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A raw block volume.
    Block(DeviceNumber),
    /// A mounted file system, by the kernel's name of its type.
    Mounted { device: DeviceNumber, target: PathBuf, fs_type: String },
}

impl Place {
    fn device(&self) -> DeviceNumber {
        let (Place::Block(device) | Place::Mounted { device, .. }) = self;
        *device
    }
}

/// What is at a path that the CO calls a volume's; `None` if no volume is.
pub(crate) fn locate(host: &dyn Host, path: &Path) -> Result<Option<Place>, Error> {
    if !path.is_absolute() {
        return Ok(None);
    }
    let kind = files::kind(path).map_err(|error| path_error(path, "looked at", &error))?;
    if let Some(files::Kind::Block(number)) = kind {
        return Ok(Some(Place::Block(number)));
    }
    let path = stage::resolved(path)?;
    Ok(mounts(host)?.top(&path).filter(|_| kind.is_some()).map(|mount| Place::Mounted {
        device: mount.device,
        target: path,
        fs_type: mount.fs_type.clone(),
    }))
}

/// The device that was staged at a folder as a raw block volume, if it is still that disk.
fn staged_block(host: &dyn Host, staging: &Path) -> Option<Place> {
    let record = Record::read(staging, &host.boot_id().ok()?)?;
    let found = device::by_number(sysfs::scsi_devices(host.root()).ok()?, record.device)?;
    let disk = host.open(&find::node(host, &found.block.name), Open::Read).ok()?;
    record.is_of(&disk).then_some(Place::Block(record.device))
}

/// Expands; answers the device's size in bytes.
pub(crate) async fn expand(
    node: std::sync::Arc<Inner>,
    call: Expand,
    deadline: Instant,
) -> Result<u64, Error> {
    let look = call.clone();
    let place = node
        .blocking(move |host| {
            let at_path = locate(host, &look.path)?;
            let staged =
                || look.staging.as_deref().or(Some(&look.path)).and_then(|path| staged_block(host, path));
            Ok(at_path.or_else(staged))
        })
        .await?;
    let Some(place) = place else {
        return Err(Error::not_found(format!("volume {} is not at {}", call.volume_id, call.path.display())));
    };
    let found = wait_for_size(&node, &call, place.device(), deadline).await?;
    let bytes = found.block.bytes;
    if let Place::Mounted { target, fs_type, .. } = place {
        node.blocking(move |host| grow(host, &call.volume_id, &target, &fs_type, &found)).await?;
    }
    Ok(bytes)
}

/// Until the kernel shows the size that Azure gave the disk.
async fn wait_for_size(
    node: &Inner,
    call: &Expand,
    number: DeviceNumber,
    deadline: Instant,
) -> Result<Found, Error> {
    let required = call.required_bytes;
    let mut pause = Duration::from_millis(20);
    loop {
        let look = move |host: &dyn Host| {
            let devices =
                sysfs::scsi_devices(host.root()).map_err(|error| path_error(host.root(), "read", &error))?;
            let found = device::by_number(devices, number);
            if let Some(found) = found.as_ref().filter(|found| found.block.bytes < required) {
                find::rescan(found);
            }
            Ok(found)
        };
        let (id, found) = (&call.volume_id, node.blocking(look).await?);
        let Some(found) = found else {
            return Err(Error::unavailable(format!(
                "volume {id}: its device {number} is not a disk of this machine any more"
            )));
        };
        if found.block.bytes >= required {
            return Ok(found);
        }
        if Instant::now() + pause >= deadline {
            return Err(Error::unavailable(format!(
                "volume {id}: {} still has {} bytes, not the {required} asked for; try again",
                found.block.name, found.block.bytes
            )));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

fn grow(host: &dyn Host, volume_id: &str, target: &Path, fs_type: &str, found: &Found) -> Result<(), Error> {
    let Some(fs_type) = FsType::parse(fs_type) else {
        return Err(Error::precondition(format!("volume {volume_id}: growing {fs_type} is not supported")));
    };
    let node = find::node(host, &found.block.name);
    let missing = || {
        missing_growth(host, &node, target, fs_type, found.block.bytes)
            .map_err(|error| path_error(&node, "read", &error))
    };
    let Some(growth) = missing()? else { return Ok(()) };
    host.grow(target, growth).map_err(|error| {
        let name = fs_type.name();
        match (error.raw_os_error(), growth) {
            (Some(nix::libc::EPERM), Growth::ExtBlocks(_)) => Error::precondition(format!(
                "volume {volume_id}: the kernel lets only a process with CAP_SYS_RESOURCE grow a mounted {name}; \
                 give it to the driver's container, or restart the pod: the next stage grows it"
            )),
            _ => Error::unavailable(format!("volume {volume_id}: {name} did not grow: {error}")),
        }
    })?;
    if missing()?.is_some() {
        return Err(Error::unavailable(format!(
            "volume {volume_id}: the file system is still smaller than its disk"
        )));
    }
    Ok(())
}

/// The growth that the file system on `node`, mounted at `mounted`, lacks to fill a device of `bytes`;
/// `None` if it fills it. ext keeps its superblock in the device's page cache; of a mounted xfs the one
/// on the disk may be older than the truth, so its size is what statfs counts and the log that it does not.
pub(crate) fn missing_growth(
    host: &dyn Host,
    node: &Path,
    mounted: &Path,
    fs_type: FsType,
    bytes: u64,
) -> std::io::Result<Option<Growth>> {
    let disk = host.open(node, Open::Read)?;
    let mut block = vec![0; 4096];
    if fs_type == FsType::Xfs {
        disk.read_medium(0, &mut block)?;
        let counted = host.usage(mounted)?.bytes;
        let fs = superblock::xfs(&block).map(|fs| FileSystem { bytes: counted + fs.uncounted_bytes, ..fs });
        return Ok(fs.filter(|fs| fs.is_smaller_than(bytes)).map(|_| Growth::XfsBytes(bytes)));
    }
    disk.read_cached(0, &mut block)?;
    let fs: Option<FileSystem> = block.get(superblock::EXT_AT..).and_then(superblock::ext_superblock);
    Ok(fs.filter(|fs| fs.is_smaller_than(bytes)).map(|fs| Growth::ExtBlocks(bytes / fs.block_bytes)))
}
