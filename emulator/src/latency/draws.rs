//! Which draw is which: the numbers that, with the seed, decide the durations.
//!
//! The durations of operations depend on what is asked of which resource and how often it was asked before, and on nothing
//! else: a client that polls more often, or goes on with another VM first, meets the same Azure. Answers are numbered as
//! they come. Owner of the counts; they are not saved, so after a restart the numbers begin anew.

use std::collections::BTreeMap;

use crate::call::Call;

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Draws {
    answers: u64,
    /// By the hash of method and path.
    operations: BTreeMap<u64, u64>,
}

impl Draws {
    /// The number of the next answer.
    pub(crate) fn answer(&mut self) -> u64 {
        self.answers += 1;
        self.answers
    }

    /// The number of the operation that `call` starts.
    pub(crate) fn operation(&mut self, call: &Call) -> u64 {
        let place = hash(call.method.as_str().bytes().chain(call.lower.join("/").bytes()));
        let count = self.operations.entry(place).or_default();
        *count += 1;
        hash(place.to_le_bytes().into_iter().chain(count.to_le_bytes()))
    }
}

/// FNV-1a: the same everywhere and for ever, so that a seed can be written down.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}
