//! The note that the driver leaves on a disk while it formats it.
//!
//! mkfs can be cut at any byte: the node dies, the container is killed. What it leaves is neither blank nor a
//! file system, and a driver that never formats what is not blank would refuse that disk for ever. So before
//! mkfs a marker is written and flushed; after mkfs is complete and flushed it is erased, and only then
//! is the disk mounted. **Hence: a disk with the marker of its own volume was not mounted by us since that
//! mkfs began, and nothing on it can be anyone's data.**
//!
//! Place: the last 4 KiB below 128 MiB. Neither `mkfs.ext*` (it is the last block of the first group, or for
//! small blocks one deep inside a group) nor `mkfs.xfs` (inside the first allocation group, behind the first
//! inodes) writes there; a test holds this for several sizes. If a later mkfs did, the marker would be gone
//! and an interrupted format would be refused: safe, only not convenient.
//!
//! Everything that counts is in the first 512 bytes, which a disk writes whole or not at all. The marker
//! carries a hash of the volume id: on a snapshot or a clone it is a stranger's, and proves nothing.

use sha2::{Digest, Sha256};

use crate::superblock::FsType;

/// Where the marker is, in bytes from the start of the disk.
pub(crate) const PLACE: u64 = (128 << 20) - SIZE as u64;

/// How much of the disk it covers.
pub(crate) const SIZE: usize = 4096;

const MAGIC: &[u8; 16] = b"\x89azd-formatting\x0a";
const VERSION: u8 = 1;

/// What is at the marker's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// No marker.
    None,
    /// The marker of this volume.
    Ours,
    /// A marker of another volume, of another version, or a damaged one.
    Strange,
}

/// The marker of a volume about to get a file system.
pub(crate) fn block(volume_id: &str, fs_type: FsType) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    let mut head = MAGIC.to_vec();
    head.push(VERSION);
    head.extend_from_slice(&Sha256::digest(volume_id.as_bytes()));
    head.extend(fs_type.name().bytes().chain([0; 8]).take(8));
    head.extend_from_slice(&Sha256::digest(&head));
    for (byte, value) in bytes.iter_mut().zip(head) {
        *byte = value;
    }
    bytes
}

/// Reads the marker's place for a volume.
pub(crate) fn read(block_there: &[u8], volume_id: &str) -> Seen {
    if !block_there.starts_with(MAGIC) {
        return Seen::None;
    }
    let is_ours = FsType::ALL.into_iter().any(|fs_type| block(volume_id, fs_type) == block_there);
    if is_ours { Seen::Ours } else { Seen::Strange }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_its_volumes_and_whole() {
        let ours = block("a", FsType::Xfs);
        assert_eq!(read(&ours, "a"), Seen::Ours);
        assert_eq!(read(&ours, "b"), Seen::Strange);
        assert_eq!(read(&[0; SIZE], "a"), Seen::None);
        for at in [16, 17, 40, 49, 60, 80, 4095] {
            let mut damaged = ours.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged, "a"), Seen::Strange, "byte {at}");
        }
        assert!(ours[512..].iter().all(|byte| *byte == 0), "one sector says it all");
    }
}
