//! Which device was staged at a staging path, told again after a restart.
//!
//! NodeUnstage gets no context. A mounted file system names its device itself; a raw block volume has
//! nothing mounted, and an unstage that was cut after its unmount has nothing mounted any more. So stage
//! writes one line into an extended attribute of the staging folder: it lies beneath the mount, goes with
//! the folder, and does not keep another driver from removing the folder.
//!
//! Device numbers are given to other disks later. The line holds the boot and, where the kernel counts
//! disks, the disk's sequence number, and is believed only if both are still so.

use std::path::Path;

use crate::host::{DeviceNumber, Disk, files};

/// `trusted`: for root's eyes only.
const NAME: &str = "trusted.azuredisk-csi.stage";

/// What was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The device's number at that time.
    pub(crate) device: DeviceNumber,
    /// The kernel's number of the disk.
    pub(crate) sequence: Option<u64>,
    /// Staged as a raw block volume: nothing is mounted for it.
    pub(crate) is_raw: bool,
    /// The boot in which this was true.
    pub(crate) boot: String,
}

impl Record {
    fn encode(&self) -> String {
        let sequence = self.sequence.map_or("-".to_owned(), |number| number.to_string());
        let kind = if self.is_raw { "raw" } else { "mount" };
        format!("1 {} {sequence} {kind} {}", self.device, self.boot)
    }

    fn decode(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (version, device, sequence) = (words.next()?, words.next()?, words.next()?);
        let (kind, boot) = (words.next()?, words.next()?);
        if version != "1" || words.next().is_some() || boot.is_empty() {
            return None;
        }
        let sequence = if sequence == "-" { None } else { Some(sequence.parse().ok()?) };
        let is_raw = match kind {
            "raw" => true,
            "mount" => false,
            _ => return None,
        };
        Some(Record { device: DeviceNumber::parse(device)?, sequence, is_raw, boot: boot.to_owned() })
    }

    /// Writes it; a file system without such attributes costs only the best-effort parts of unstage.
    pub(crate) fn write(&self, staging: &Path) {
        if let Err(error) = files::set_attribute(staging, NAME, &self.encode()) {
            tracing::warn!(path = %staging.display(), %error, "could not note the staged device");
        }
    }

    /// Reads it, if it speaks of this boot.
    pub(crate) fn read(staging: &Path, boot: &str) -> Option<Self> {
        let text = files::attribute(staging, NAME)?;
        Record::decode(&text).filter(|record| record.boot == boot)
    }

    /// Whether it speaks of this open disk.
    pub(crate) fn is_of(&self, disk: &Disk) -> bool {
        disk.number().is_ok_and(|number| number == self.device) && disk.sequence() == self.sequence
    }

    /// Removes it.
    pub(crate) fn erase(staging: &Path) {
        files::remove_attribute(staging, NAME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_comes_back(
            major in 0_u64..4096, minor: u32, sequence: Option<u64>, is_raw: bool, boot in "[0-9a-f-]{1,36}",
        ) {
            let device = DeviceNumber { major, minor: u64::from(minor) };
            let record = Record { device, sequence, is_raw, boot };
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            Record::decode(&text);
        }
    }

    #[test]
    fn another_version_is_not_believed() {
        let good = "1 8:32 7 raw boot";
        assert!(Record::decode(good).is_some());
        let bad = [
            "2 8:32 7 raw boot",
            "1 8:32 7 raw ",
            "1 8:32 x raw boot",
            "1 8 7 raw boot",
            "1 8:32 7 odd boot",
        ];
        for text in bad.into_iter().chain(["1 8:32 7 raw boot more", ""]) {
            assert_eq!(Record::decode(text), None, "{text:?}");
        }
    }
}
