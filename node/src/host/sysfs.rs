//! Reads the SCSI part of a sysfs tree into plain values. What they mean is decided in `device`.
//!
//! A device that vanishes while it is read is left out: the next look sees the truth.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{DeviceNumber, files};

/// The block device of a SCSI device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockDevice {
    /// The kernel's name, "sdc": its node is `<root>/dev/<name>`.
    pub(crate) name: String,
    /// Its number.
    pub(crate) number: DeviceNumber,
    /// Its size; sysfs counts in 512 bytes whatever the sector size is.
    pub(crate) bytes: u64,
}

/// One SCSI device as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScsiDevice {
    /// Host, channel, target, LUN.
    pub(crate) address: [u64; 4],
    /// `device_id` of the VMBus device that it hangs on, without braces, in lower case.
    pub(crate) controller: Option<String>,
    /// Who made it.
    pub(crate) vendor: String,
    /// What it is.
    pub(crate) model: String,
    /// "running", if it is well; empty where the kernel does not say.
    pub(crate) state: String,
    /// Missing while the kernel is still looking at it.
    pub(crate) block: Option<BlockDevice>,
    /// Its folder, for `rescan` and `delete`.
    pub(crate) folder: PathBuf,
}

/// A SCSI host and the controller that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScsiHost {
    /// As in [`ScsiDevice::controller`].
    pub(crate) controller: Option<String>,
    /// Where "look again" is written.
    pub(crate) scan: PathBuf,
}

/// All SCSI devices below `root`, by address.
pub(crate) fn scsi_devices(root: &Path) -> io::Result<Vec<ScsiDevice>> {
    let mut devices: Vec<ScsiDevice> = list(&root.join("sys/bus/scsi/devices"))?
        .into_iter()
        .filter_map(|(name, path)| scsi_device(&name, &path))
        .collect();
    devices.sort_by_key(|device| device.address);
    Ok(devices)
}

/// All SCSI hosts below `root`.
pub(crate) fn scsi_hosts(root: &Path) -> io::Result<Vec<ScsiHost>> {
    let hosts = list(&root.join("sys/class/scsi_host"))?;
    Ok(hosts
        .into_iter()
        .map(|(_, path)| ScsiHost { controller: controller(&path), scan: path.join("scan") })
        .collect())
}

/// The size in bytes that sysfs shows for a device number.
pub(crate) fn block_bytes(root: &Path, number: DeviceNumber) -> Option<u64> {
    let devices = scsi_devices(root).ok()?;
    devices
        .into_iter()
        .filter_map(|device| device.block)
        .find(|block| block.number == number)
        .map(|b| b.bytes)
}

/// Whether the kernel knows a block device of this number, of whatever kind.
pub(crate) fn has_block_device(root: &Path, number: DeviceNumber) -> bool {
    root.join("sys/dev/block").join(number.to_string()).exists() || block_bytes(root, number).is_some()
}

/// Name and path of each entry, a missing folder being an empty one.
fn list(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if files::is_absent(&error) => return Ok(Vec::new()),
        entries => entries?,
    };
    let named = entries.filter_map(Result::ok).filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, entry.path()))
    });
    Ok(named.collect())
}

fn scsi_device(name: &str, path: &Path) -> Option<ScsiDevice> {
    let address = address(name)?;
    let folder = fs::canonicalize(path).ok()?;
    Some(ScsiDevice {
        address,
        controller: controller(&folder),
        vendor: attribute(&folder.join("vendor")),
        model: attribute(&folder.join("model")),
        state: attribute(&folder.join("state")),
        block: block(&folder),
        folder,
    })
}

/// "2:0:0:5"; hosts and targets are listed beside the devices and have other names.
fn address(name: &str) -> Option<[u64; 4]> {
    let mut parts = name.split(':').map(|part| part.parse().ok());
    let address = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(address)
}

fn block(folder: &Path) -> Option<BlockDevice> {
    let (name, path) = list(&folder.join("block")).ok()?.into_iter().next()?;
    let number = DeviceNumber::parse(&attribute(&path.join("dev")))?;
    let sectors: u64 = attribute(&path.join("size")).parse().ok()?;
    Some(BlockDevice { name, number, bytes: sectors.checked_mul(512)? })
}

/// The nearest folder above that has a `device_id`.
fn controller(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let id = path.ancestors().find_map(|folder| files::read(&folder.join("device_id")).ok().flatten())?;
    Some(id.trim().trim_matches(['{', '}']).to_ascii_lowercase())
}

fn attribute(path: &Path) -> String {
    files::read(path).ok().flatten().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_devices_have_four_numbers() {
        let rows = [
            ("2:0:0:5", Some([2, 0, 0, 5])),
            ("host2", None),
            ("target2:0:0", None),
            ("2:0:0", None),
            ("2:0:0:5:1", None),
            ("2:0:0:x", None),
        ];
        for (name, wanted) in rows {
            assert_eq!(address(name), wanted, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_read_without_a_panic(name in ".*") {
            if let Some(found) = address(&name) {
                let parts: Vec<u64> = name.split(':').map(|part| part.parse().unwrap()).collect();
                proptest::prop_assert_eq!(&found[..], &parts[..]);
            }
        }
    }
}
