//! Short names for the few VMs and disks of a world, so that what is judged a thousand times a second is made of small
//! numbers, and a trace can be read.

use azure_emulator::SUBSCRIPTION;

/// A VM of the world, by its place in `Names`.
pub type VmNo = u8;

/// A volume, counted from the start of its world; its disk is called `v` and this number.
pub type VolumeNo = u16;

/// Whose disk it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskName {
    /// The disk of a volume.
    Ours(VolumeNo),
    /// A disk of the second writer.
    Foreign(u16),
}

/// One VM, as it was made.
#[derive(Clone, Debug)]
pub(crate) struct VmName {
    /// ARM id.
    pub(crate) id: String,
    /// What CSI calls it.
    pub(crate) node_id: String,
}

/// Every VM that was made, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) vms: Vec<VmName>,
}

impl Names {
    /// The number of the VM with this ARM id.
    pub(crate) fn vm(&self, id: &str) -> Option<VmNo> {
        let found = self.vms.iter().position(|vm| vm.id.eq_ignore_ascii_case(id))?;
        VmNo::try_from(found).ok()
    }
}

/// The ARM id of a volume's disk, which is its volume id.
pub(crate) fn volume_id(volume: VolumeNo) -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/disks/{}",
        volume_name(volume)
    )
}

/// What the volume is called when it is asked for.
pub(crate) fn volume_name(volume: VolumeNo) -> String {
    format!("v{volume}")
}

/// Whose disk has this ARM id.
pub(crate) fn disk_name(id: &str) -> Option<DiskName> {
    let name = id.rsplit('/').next()?;
    let foreign = name.strip_prefix("foreign-").and_then(|number| number.parse().ok());
    let ours = name.strip_prefix('v').and_then(|number| number.parse().ok());
    foreign.map(DiskName::Foreign).or(ours.map(DiskName::Ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_known_by_their_names() {
        assert_eq!(disk_name(&volume_id(17)), Some(DiskName::Ours(17)));
        assert_eq!(disk_name("/a/disks/foreign-3"), Some(DiskName::Foreign(3)));
        assert_eq!(disk_name("/a/disks/other"), None);
    }
}
