//! Which block device is the disk at a LUN? Pure: from what sysfs shows to one answer or a reason.
//!
//! A wrong answer formats or mounts somebody else's disk, so every rule must agree: the controller is one
//! that carries data disks, the LUN is the one that Azure told, it is a disk of Hyper-V, and it is not
//! smaller than the volume. Two disks that match are no answer.
//!
//! **Invariant:** [`CONTROLLERS`] is the only place that says which controller carries what.

use crate::host::sysfs::{BlockDevice, ScsiDevice};

/// What a controller's disks are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The operating system's disk and the machine's temporary one.
    System,
    /// Disks that are attached through Azure.
    Data,
}

/// VMBus `device_id` (its beginning) and the role of that controller. The first five are of generation-2
/// machines; on generation 1 the IDE channels carry the system disks and the data controller is the same.
const CONTROLLERS: [(&str, Role); 6] = [
    ("f8b3781a-1e82-4818-a1c3-63d806ec15bb", Role::System),
    ("f8b3781b-1e82-4818-a1c3-63d806ec15bb", Role::Data),
    ("f8b3781c-1e82-4818-a1c3-63d806ec15bb", Role::Data),
    ("f8b3781d-1e82-4818-a1c3-63d806ec15bb", Role::Data),
    ("00000000-0000-", Role::System),
    ("00000000-0001-", Role::System),
];

/// The role of the controller with this `device_id`; one that is not in the table has none.
pub(crate) fn role(device_id: &str) -> Option<Role> {
    CONTROLLERS.iter().find(|(beginning, _)| device_id.starts_with(beginning)).map(|(_, role)| *role)
}

/// A disk that was found: where it is and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The kernel's device.
    pub(crate) block: BlockDevice,
    /// The SCSI device's folder, for `rescan` and `delete`.
    pub(crate) folder: std::path::PathBuf,
}

/// Why there is no answer (yet).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Not there, or not ready: worth waiting for. What was seen instead.
    NotYet(String),
    /// There, but smaller than wanted: worth a rescan.
    TooSmall(Found),
    /// Two disks claim the place: a person must look.
    Ambiguous(String),
}

/// The disk at `lun` with at least `least_bytes`.
pub(crate) fn choose(devices: &[ScsiDevice], lun: u8, least_bytes: u64) -> Result<Found, Missing> {
    let at_lun: Vec<&ScsiDevice> = devices
        .iter()
        .filter(|device| {
            device.address[3] == u64::from(lun) && carries_data(device) && is_virtual_disk(device)
        })
        .collect();
    let device = match at_lun[..] {
        [] => return Err(Missing::NotYet(describe(devices))),
        [one] => one,
        _ => return Err(Missing::Ambiguous(describe(devices))),
    };
    if !matches!(device.state.as_str(), "" | "running") {
        return Err(Missing::NotYet(format!("LUN {lun} is there but {}", device.state)));
    }
    let Some(block) = &device.block else {
        return Err(Missing::NotYet(format!("LUN {lun} is there but has no block device yet")));
    };
    let found = Found { block: block.clone(), folder: device.folder.clone() };
    if block.bytes == 0 || block.bytes < least_bytes { Err(Missing::TooSmall(found)) } else { Ok(found) }
}

/// The SCSI device that a block device number belongs to, if it is one that carries data.
pub(crate) fn by_number(devices: Vec<ScsiDevice>, number: crate::host::DeviceNumber) -> Option<Found> {
    devices.into_iter().filter(carries_data).find_map(|device| {
        let block = device.block.filter(|block| block.number == number)?;
        Some(Found { block, folder: device.folder })
    })
}

fn carries_data(device: &ScsiDevice) -> bool {
    device.controller.as_deref().and_then(role) == Some(Role::Data)
}

fn is_virtual_disk(device: &ScsiDevice) -> bool {
    device.vendor == "Msft" && device.model == "Virtual Disk"
}

/// What an operator needs to see why nothing matched.
fn describe(devices: &[ScsiDevice]) -> String {
    let lines: Vec<String> = devices
        .iter()
        .map(|device| {
            let [host, channel, target, lun] = device.address;
            let role = match device.controller.as_deref().map(role) {
                Some(Some(Role::System)) => "system",
                Some(Some(Role::Data)) => "data",
                Some(None) => "unknown controller",
                None => "no controller",
            };
            let name = device.block.as_ref().map_or("no block device", |block| block.name.as_str());
            format!("{host}:{channel}:{target}:{lun} {name} ({role})")
        })
        .collect();
    if lines.is_empty() { "no SCSI device at all".to_owned() } else { lines.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::DeviceNumber;

    const SYSTEM: &str = "f8b3781a-1e82-4818-a1c3-63d806ec15bb";
    const DATA: &str = "f8b3781b-1e82-4818-a1c3-63d806ec15bb";
    const GIB: u64 = 1 << 30;

    fn disk(controller: &str, host: u64, lun: u64, name: &str) -> ScsiDevice {
        let minor = u64::from(name.as_bytes()[2]);
        ScsiDevice {
            address: [host, 0, 0, lun],
            controller: Some(controller.to_owned()),
            vendor: "Msft".to_owned(),
            model: "Virtual Disk".to_owned(),
            state: "running".to_owned(),
            block: Some(BlockDevice {
                name: name.to_owned(),
                number: DeviceNumber { major: 8, minor },
                bytes: 8 * GIB,
            }),
            folder: name.into(),
        }
    }

    fn machine() -> Vec<ScsiDevice> {
        vec![
            disk(SYSTEM, 0, 0, "sda"),
            disk(SYSTEM, 0, 1, "sdb"),
            disk(DATA, 1, 0, "sdc"),
            disk(DATA, 1, 1, "sdd"),
            disk(DATA, 1, 12, "sde"),
        ]
    }

    /// The name found after `change` was done to the machine above, or the start of the reason.
    fn check(change: impl Fn(&mut Vec<ScsiDevice>), lun: u8, least: u64, wanted: &str) {
        let mut devices = machine();
        change(&mut devices);
        let answer = match choose(&devices, lun, least) {
            Ok(found) => found.block.name,
            Err(Missing::NotYet(seen)) => format!("not yet: {seen}"),
            Err(Missing::TooSmall(found)) => format!("too small: {}", found.block.name),
            Err(Missing::Ambiguous(_)) => "ambiguous".to_owned(),
        };
        assert!(answer.starts_with(wanted), "LUN {lun}, {least} bytes: {answer}, wanted {wanted}");
    }

    #[test]
    fn only_the_data_controller_counts() {
        check(|_| (), 0, 0, "sdc");
        check(|_| (), 1, 0, "sdd");
        check(|_| (), 12, 8 * GIB, "sde");
        check(
            |all| all.retain(|device| device.folder != std::path::Path::new("sdd")),
            1,
            0,
            "not yet: 0:0:0:0 sda",
        );
        check(Vec::clear, 1, 0, "not yet: no SCSI device at all");
        check(|all| all[3].controller = None, 1, 0, "not yet");
        check(|all| all[3].controller = Some("12345678-aaaa".to_owned()), 1, 0, "not yet");
        check(
            |all| all[3].controller = Some("00000000-0001-8899-0000-000000000000".to_owned()),
            1,
            0,
            "not yet",
        );
    }

    #[test]
    fn a_disk_must_be_whole() {
        check(|all| all[3].vendor = "QEMU".to_owned(), 1, 0, "not yet");
        check(|all| all[3].model = "DVD-ROM".to_owned(), 1, 0, "not yet");
        check(|all| all[3].state = "offline".to_owned(), 1, 0, "not yet: LUN 1 is there but offline");
        check(|all| all[3].state = String::new(), 1, 0, "sdd");
        check(|all| all[3].block = None, 1, 0, "not yet: LUN 1 is there but has no block");
        check(|_| (), 1, 8 * GIB + 1, "too small: sdd");
        check(|all| all[3].block.as_mut().unwrap().bytes = 0, 1, 0, "too small: sdd");
    }

    #[test]
    fn two_disks_at_one_lun_are_no_answer() {
        check(|all| all.push(disk("f8b3781c-1e82-4818-a1c3-63d806ec15bb", 2, 1, "sdf")), 1, 0, "ambiguous");
    }

    #[test]
    fn a_number_leads_back_to_data_disks_only() {
        let number = |name: u8| DeviceNumber { major: 8, minor: u64::from(name) };
        assert_eq!(by_number(machine(), number(b'd')).unwrap().block.name, "sdd");
        assert_eq!(by_number(machine(), number(b'b')), None);
    }
}
