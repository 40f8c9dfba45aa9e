//! The reads that Azure grants one identity in one subscription, shared by everything that this process reads:
//! 250 at once, and 25 more each second ("Understand how Azure Resource Manager throttles requests"). Pure.
//!
//! Only polls wait for their turn here: they can come later, a read that a call hangs on should not. Turns are
//! given in the order in which they are asked for, so that many operations share what is left evenly.

use std::time::Duration;

use tokio::time::Instant;

/// Reads at once.
pub(crate) const BUCKET: f64 = 250.0;
/// Reads that come back each second.
pub(crate) const REFILL: f64 = 25.0;
/// Kept back from polls, for the reads that calls hang on.
const RESERVE: f64 = 50.0;

/// What is left; below the reserve while polls wait for turns that they were given.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    left: f64,
    at: Instant,
}

impl Reads {
    /// A full bucket.
    pub(crate) fn full(now: Instant) -> Reads {
        Reads { left: BUCKET, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.left = (self.left + passed.as_secs_f64() * REFILL).min(BUCKET);
        self.at = now.max(self.at);
    }

    /// A read that does not wait is sent.
    pub(crate) fn spend(&mut self, now: Instant) {
        self.refill(now);
        self.left = (self.left - 1.0).max(-BUCKET);
    }

    /// Gives a poll its turn: how long it has to wait for it.
    pub(crate) fn turn(&mut self, now: Instant) -> Duration {
        self.refill(now);
        self.left -= 1.0;
        Duration::from_secs_f64(((RESERVE - self.left) / REFILL).max(0.0))
    }

    /// Takes back a turn that nobody will use.
    pub(crate) fn give_back(&mut self) {
        self.left = (self.left + 1.0).min(BUCKET);
    }

    /// Azure says what it has left. More than we thought changes nothing: another of its front doors may have
    /// counted.
    pub(crate) fn told(&mut self, left: u32, now: Instant) {
        self.refill(now);
        self.left = self.left.min(f64::from(left));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_azure_says_slows_polls_down() {
        let now = Instant::now();
        let mut reads = Reads::full(now);
        assert_eq!(reads.turn(now), Duration::ZERO);
        reads.told(50, now);
        assert_eq!(reads.turn(now), Duration::from_millis(40));
        reads.told(3000, now);
        assert_eq!(reads.turn(now), Duration::from_millis(80), "nothing came back");
        reads.give_back();
        assert_eq!(reads.turn(now), Duration::from_millis(80), "the turn was free again");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Any number of operations for up to an hour: what they poll stays within the bucket, and takes what
        /// Azure sustains.
        #[test]
        fn polls_of_many_operations_stay_within_the_bucket(
            operations in 1..300_usize, seconds in 1..3600_u32, own in 300..4000_u64,
        ) {
            let start = Instant::now();
            let end = Duration::from_secs(u64::from(seconds));
            let mut reads = Reads::full(start);
            // When each operation asks for its next turn.
            let mut asks = std::collections::BinaryHeap::from(vec![std::cmp::Reverse(Duration::ZERO); operations]);
            let mut polls = Vec::new();
            while let Some(std::cmp::Reverse(ask)) = asks.pop().filter(|ask| ask.0 < end) {
                let at = ask + reads.turn(start + ask);
                polls.push(at);
                asks.push(std::cmp::Reverse(at + Duration::from_millis(own)));
            }
            polls.sort();
            for (count, at) in polls.iter().enumerate() {
                let count = f64::from(u32::try_from(count).unwrap() + 1);
                prop_assert!(count <= BUCKET + at.as_secs_f64() * REFILL + 0.01, "{count} polls in {at:?}");
            }
            // As many as the operations ask for, or else as Azure gives back.
            let wanted = f64::from(u32::try_from(operations).unwrap()) * 1000.0 / f64::from(u32::try_from(own).unwrap());
            let made = f64::from(u32::try_from(polls.len()).unwrap());
            prop_assert!(made >= (wanted.min(REFILL) * f64::from(seconds)).floor() - 1.0, "{made} of {wanted}/s");
        }
    }
}
