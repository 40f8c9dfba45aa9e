//! The proof that a disk is blank: every sampled byte was read, and every one was zero.
//!
//! Samples: the first and the last MiB (all primary and many backup headers of anything), the places of the
//! backup superblocks of ext and xfs, each MiB of the first 64, and blocks spread evenly over the disk. A new Azure disk reads as
//! zeros everywhere, so nothing is refused that should not be; what was ever used by anything that keeps
//! metadata in more than one corner has bytes in one of them. An unread sample is no proof.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is read at each sampled place.
const BLOCK: u64 = 4096;
const MIB: u64 = 1 << 20;
/// How many blocks are spread over the disk.
const SPREAD: u64 = 128;

/// Why a disk is not proven blank.
#[derive(Debug)]
pub(crate) enum Doubt {
    /// A byte that is not zero, at this offset.
    Bytes(u64),
    /// The read at this offset failed.
    Unread(u64, io::Error),
}

/// The places to read on a disk of `size` bytes, as (offset, length), all inside it.
pub(crate) fn places(size: u64) -> Vec<(u64, u64)> {
    let mut places = vec![(0, MIB.min(size))];
    let mut blocks: Vec<u64> = Vec::new();
    // ext: group 1, and the groups that are powers of 3, 5 and 7, for block sizes of 1, 2 and 4 KiB.
    for block_bytes in [1024_u64, 2048, 4096] {
        let group_bytes = block_bytes * 8 * block_bytes;
        let groups = [1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343];
        blocks.extend(groups.iter().map(|group| group * group_bytes));
    }
    // xfs: up to 4 TiB the disk is cut in four; beyond, each TiB begins a group.
    blocks.extend((1..4).map(|quarter| size / 4 * quarter));
    blocks.extend((1..64).map(|tebibytes| tebibytes << 40));
    // btrfs keeps copies at 64 MiB and 256 GiB, VMFS begins at 1 MiB.
    blocks.extend([MIB, 64 * MIB, 256 << 30]);
    // Who writes raw bytes begins near the beginning.
    blocks.extend((1..64).map(|step| step * MIB));
    blocks.extend((1..=SPREAD).map(|step| size / (SPREAD + 1) * step));
    let aligned = blocks.into_iter().map(|offset| offset / BLOCK * BLOCK);
    let mut inside: Vec<u64> = aligned.filter(|offset| offset + BLOCK <= size).collect();
    inside.sort_unstable();
    inside.dedup();
    // A superblock copy may begin one small block later, or its group may be cut a little short: two blocks.
    places.extend(inside.into_iter().map(|offset| (offset, (2 * BLOCK).min(size - offset))));
    let last = size.saturating_sub(MIB) / BLOCK * BLOCK;
    places.push((last, size - last));
    places
}

/// How many reads are under way at once: a disk in the cloud answers one after milliseconds, and many at once.
const READERS: usize = 8;

/// Reads every place with `read`; a doubt ends it.
pub(crate) fn prove(size: u64, read: impl Fn(u64, &mut [u8]) -> io::Result<()> + Sync) -> Result<(), Doubt> {
    let (places, next) = (places(size), AtomicUsize::new(0));
    let reader = || {
        while let Some((offset, length)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = prove_place(*offset, *length, &read);
            if outcome.is_err() {
                next.store(places.len(), Ordering::Relaxed); // the others need not go on
                return outcome;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(reader)).collect();
        let panicked = |_| Err(Doubt::Unread(0, io::Error::other("a reader panicked")));
        // Every reader is joined: an outcome that nobody looked at would be a place that nobody proved.
        let outcomes: Vec<_> =
            readers.into_iter().map(|reader| reader.join().unwrap_or_else(panicked)).collect();
        outcomes.into_iter().collect()
    })
}

fn prove_place(
    offset: u64,
    length: u64,
    read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
) -> Result<(), Doubt> {
    let length = usize::try_from(length).map_err(|error| Doubt::Unread(offset, io::Error::other(error)))?;
    let mut bytes = vec![0xff; length];
    read(offset, &mut bytes).map_err(|error| Doubt::Unread(offset, error))?;
    match first_byte(&bytes) {
        Some(at) => Err(Doubt::Bytes(offset + at as u64)),
        None => Ok(()),
    }
}

/// Where the first byte is that is not zero. Whole blocks are compared first: that is quick in any build, and almost
/// every disk that is looked at is blank.
fn first_byte(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let block = bytes.chunks(ZEROS.len()).position(|block| block != &ZEROS[..block.len()])?;
    let start = block * ZEROS.len();
    bytes[start..].iter().position(|byte| *byte != 0).map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    /// A disk with one byte set, and one range that cannot be read.
    fn check(size: u64, byte_at: Option<u64>, bad_at: Option<u64>) -> Result<(), Doubt> {
        prove(size, |offset, bytes| {
            let range = offset..offset + bytes.len() as u64;
            if bad_at.is_some_and(|at| range.contains(&at)) {
                return Err(io::Error::from_raw_os_error(5));
            }
            bytes.fill(0);
            if let Some(at) = byte_at.filter(|at| range.contains(at)) {
                bytes[usize::try_from(at - offset).unwrap()] = 1;
            }
            Ok(())
        })
    }

    #[test]
    fn known_corners_are_read() {
        assert!(check(8 * GIB, None, None).is_ok());
        let corners =
            [0, 511, MIB - 1, 8 * GIB - 1, 8 * GIB - MIB, 32768 * 4096, 8193 * 1024, 2 * GIB, 64 * MIB];
        for corner in corners {
            assert!(
                matches!(check(8 * GIB, Some(corner), None), Err(Doubt::Bytes(at)) if at == corner),
                "{corner}"
            );
            assert!(matches!(check(8 * GIB, None, Some(corner)), Err(Doubt::Unread(..))), "{corner}");
        }
    }

    proptest! {
        #[test]
        fn places_are_inside_aligned_and_cover_both_ends(sectors in 1_u64..(64 << 31)) {
            let size = sectors * 512;
            let places = places(size);
            for (offset, length) in &places {
                prop_assert!(offset + length <= size && offset % BLOCK == 0 && length % 512 == 0 && *length > 0);
            }
            prop_assert_eq!(places.first().map(|place| place.0), Some(0));
            prop_assert_eq!(places.last().map(|place| place.0 + place.1), Some(size));
        }

        #[test]
        fn no_run_of_a_hundredth_of_the_disk_stays_unread(gib in 1_u64..4096, at in 0_u64..100) {
            let size = gib * GIB;
            let (start, end) = (size / 100 * at, size / 100 * (at + 1));
            prop_assert!(places(size).iter().any(|(offset, _)| (start..end).contains(offset)));
        }
    }
}
