//! From the bytes of a request to the whole GiB that Azure sells, and back.
//!
//! **Invariant:** a size chosen here is never below `required_bytes` and never above `limit_bytes`; where
//! no whole GiB lies between them the answer is OUT_OF_RANGE (CSI 1.13, CreateVolume and
//! ControllerExpandVolume errors), never a size that breaks the limit.

use std::ops::RangeInclusive;

use csi::Error;
use csi::v1::CapacityRange;

/// Bytes in a GiB.
pub(crate) const GIB: u64 = 1 << 30;

/// How large a volume may be, as the caller said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeRange {
    /// At least this many bytes; zero where the caller does not mind.
    pub(crate) least_bytes: u64,
    /// At most this many bytes, if the caller set a limit.
    pub(crate) most_bytes: Option<u64>,
}

impl SizeRange {
    /// The range of a request; an absent one is open on both sides.
    pub(crate) fn of(range: Option<&CapacityRange>) -> Result<SizeRange, Error> {
        let (least_bytes, most) = csi::require::capacity(range)?;
        Ok(SizeRange { least_bytes, most_bytes: (most != 0).then_some(most) })
    }

    /// Whether the caller asked for any size at all.
    pub(crate) fn is_open(self) -> bool {
        self.least_bytes == 0
    }

    /// Whether a volume of `bytes` is what was asked for.
    pub(crate) fn holds(self, bytes: u64) -> bool {
        bytes >= self.least_bytes && self.most_bytes.is_none_or(|most| bytes <= most)
    }

    /// The smallest size in `sizes_gib` that fits and is not below `floor_gib`.
    ///
    /// # Errors
    /// OUT_OF_RANGE, naming `what` cannot be had, if none fits.
    pub(crate) fn smallest_gib(
        self,
        floor_gib: u64,
        sizes_gib: &RangeInclusive<u64>,
        what: &str,
    ) -> Result<u64, Error> {
        let gib = self.least_bytes.div_ceil(GIB).max(floor_gib).max(*sizes_gib.start());
        if gib > *sizes_gib.end() {
            let largest = sizes_gib.end();
            return Err(Error::out_of_range(format!("{what} comes in up to {largest} GiB, not {gib} GiB")));
        }
        match self.most_bytes {
            Some(most) if gib.saturating_mul(GIB) > most => Err(Error::out_of_range(format!(
                "limit_bytes {most} is too low: {what} of at least {} bytes takes {gib} GiB, the next whole size",
                self.least_bytes
            ))),
            _ => Ok(gib),
        }
    }
}

/// `gib` as a size in an answer.
///
/// # Errors
/// INTERNAL if it is more than CSI can say, which no Azure disk is.
pub(crate) fn answer_bytes(bytes: u64) -> Result<i64, Error> {
    i64::try_from(bytes).map_err(|_| Error::internal(format!("a size of {bytes} bytes cannot be answered")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi::Kind;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_rounded_up_within_the_limit() {
        let open = None;
        // least, most, floor, what comes out
        let rows = [
            (0, open, 0, Ok(1)),
            (1, open, 0, Ok(1)),
            (GIB, open, 0, Ok(1)),
            (GIB + 1, open, 0, Ok(2)),
            (GIB + 1, Some(2 * GIB), 0, Ok(2)),
            (GIB + 1, Some(2 * GIB - 1), 0, Err(Kind::OutOfRange)),
            (0, Some(GIB - 1), 0, Err(Kind::OutOfRange)),
            (GIB, open, 513, Ok(513)),
            (GIB, Some(512 * GIB), 513, Err(Kind::OutOfRange)),
            (100 * GIB, open, 0, Ok(100)),
            (100 * GIB + 1, open, 0, Err(Kind::OutOfRange)),
            (u64::MAX, open, 0, Err(Kind::OutOfRange)),
        ];
        for (least_bytes, most_bytes, floor, want) in rows {
            let range = SizeRange { least_bytes, most_bytes };
            let got =
                range.smallest_gib(floor, &(1..=100.max(floor)), "a disk").map_err(|error| error.kind());
            assert_eq!(got, want, "{range:?} floor {floor}");
        }
    }

    proptest! {
        #[test]
        fn a_chosen_size_lies_in_the_range(least_bytes in 0..40_000 * GIB, room in proptest::option::of(0..3 * GIB)) {
            let range = SizeRange { least_bytes, most_bytes: room.map(|room| least_bytes + room) };
            if let Ok(gib) = range.smallest_gib(0, &(1..=32_767), "a disk") {
                prop_assert!(range.holds(gib * GIB));
                prop_assert!(gib == 1 || (gib - 1) * GIB < least_bytes, "not the smallest");
            }
        }
    }
}
