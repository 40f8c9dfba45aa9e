//! How often an operation is asked for its end: at once, after 0.1 s, then every 0.3 s for as long as Azure's bucket of
//! polls per operation lasts (45, and 15 more per minute: "Compute throttling limits"), then as often as it is refilled. So a
//! short operation is seen to end within 0.3 s, and a long one never gets a 429. Pure; `follow` waits, also for the
//! turn among all reads of the subscription (`gates/turns.rs`).

use std::time::Duration;

/// The polls of one operation.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    tokens: f64,
    polls: u32,
}

/// Polls that Azure allows at once.
const BUCKET: f64 = 45.0;
/// Polls that it gives back each second.
const REFILL: f64 = 0.25;
/// Kept back: another process may watch the same operation.
const RESERVE: f64 = 15.0;
/// Between the first poll and the second: what Azure does in a moment is seen in a moment.
const FIRST: Duration = Duration::from_millis(100);
/// Between two polls while the bucket lasts.
const QUICK: Duration = Duration::from_millis(300);
/// Between two polls that the refill sustains.
const STEADY: Duration = Duration::from_secs(4);

impl Pace {
    /// A full bucket.
    pub(crate) fn new() -> Pace {
        Pace { tokens: BUCKET, polls: 0 }
    }

    /// How long to wait before the next poll: not at all before the first, never less than Azure asked.
    pub(crate) fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let pause = match (self.polls, self.tokens - 1.0 > RESERVE) {
            (0, _) => Duration::ZERO,
            (_, false) => STEADY,
            (1, true) => FIRST,
            (_, true) => QUICK,
        };
        let pause = pause.max(asked.unwrap_or_default());
        self.polls = self.polls.saturating_add(1);
        self.tokens = (self.tokens - 1.0 + pause.as_secs_f64() * REFILL).min(BUCKET);
        pause
    }

    /// Azure says how many polls it still takes. More than we thought changes nothing.
    pub(crate) fn told(&mut self, left: u32) {
        self.tokens = self.tokens.min(f64::from(left));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn polling_is_quick_at_first_and_never_more_than_azure_sustains() {
        let mut pace = Pace::new();
        assert_eq!(pace.pause(None), Duration::ZERO);
        assert_eq!(pace.pause(None), FIRST);
        assert_eq!(pace.pause(None), QUICK);
        let (mut spent, mut clock) = (3.0, 0.4);
        for _ in 0..1000 {
            clock += pace.pause(None).as_secs_f64();
            spent += 1.0;
            assert!(spent <= BUCKET + clock * REFILL, "{spent} polls in {clock} s");
        }
        assert_eq!(pace.pause(None), STEADY);
    }

    #[test]
    fn retry_after_is_the_earliest_next_poll() {
        let asked = Some(Duration::from_secs(9));
        let mut pace = Pace::new();
        assert_eq!(pace.pause(asked), Duration::from_secs(9));
        assert_eq!(pace.pause(asked), Duration::from_secs(9));
        assert_eq!(pace.pause(Some(Duration::from_millis(1))), QUICK);
    }

    #[test]
    fn what_azure_says_is_left_slows_polling_down() {
        let mut pace = Pace::new();
        pace.pause(None);
        pace.pause(None);
        pace.told(44);
        assert_eq!(pace.pause(None), QUICK);
        pace.told(10);
        assert_eq!(pace.pause(None), STEADY);
        pace.told(45);
        assert_eq!(pace.pause(None), STEADY, "another process may watch the same operation");
    }

    proptest! {
        #[test]
        fn no_wish_of_azures_makes_polling_too_quick_or_too_early(
            asked in prop::collection::vec(prop::option::of(0..20_000_u64), 1..1200),
            told in prop::collection::vec(prop::option::of(0..60_u32), 1..40),
        ) {
            let (mut pace, mut clock) = (Pace::new(), 0.0);
            for (polls, asked) in asked.into_iter().enumerate() {
                let asked = asked.map(Duration::from_millis);
                let pause = pace.pause(asked);
                prop_assert!(pause >= asked.unwrap_or_default());
                clock += pause.as_secs_f64();
                told[polls % told.len()].iter().for_each(|left| pace.told(*left));
                // A bucket that is full stays full: it is enough to count from the start.
                prop_assert!(f64::from(u32::try_from(polls).unwrap()) < BUCKET + clock * REFILL);
            }
        }
    }
}
