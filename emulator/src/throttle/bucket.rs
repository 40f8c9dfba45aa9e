//! One bucket of tokens: a pure function of what was taken, of who else takes, and of the time that is handed in.
//!
//! ```text
//! full ── first take: a period begins ──▶ draining ── each end of a period: refill ──▶ … ── full
//! ```
//! A period begins with the first take from a full bucket: where Azure's own periods begin is not published. Tokens are
//! counted in thousandths, so that a share of a refill is exact. Invariant: never above the capacity.

use crate::clock::Millis;
use crate::throttle::policy::{Fill, Policy};

const WHOLE: u64 = 1000;

/// What somebody else takes out of each refill: 0.9 is nine tenths, and from 1.0 on nothing is left.
pub(crate) type Share = f64;

/// A bucket. Its policy is not in it, but handed to each call: all buckets of a policy have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Thousandths of tokens.
    level: u64,
    /// When the present period began.
    since: Millis,
    /// Calls that were turned away in this period.
    refused: u64,
}

impl Bucket {
    /// A bucket that had so many tokens at `at`.
    pub(crate) fn holding(policy: &Policy, tokens: u64, at: Millis) -> Self {
        Self { level: tokens.min(policy.capacity) * WHOLE, since: at, refused: 0 }
    }

    /// Brings it to the present.
    pub(crate) fn pass(&mut self, policy: &Policy, others: Share, now: Millis) {
        let top = top(policy, others);
        let (comes, goes) = (net(policy, others), lost(policy, others));
        let periods = now.saturating_sub(self.since) / policy.every;
        if periods > 0 {
            self.since += periods * policy.every;
            self.refused = 0;
            self.level = match policy.fill {
                Fill::Anew => top,
                Fill::Adds(_) => {
                    let level = self.level.saturating_add(comes.saturating_mul(periods));
                    level.saturating_sub(goes.saturating_mul(periods))
                }
            };
        }
        self.level = self.level.min(top);
        if self.level == top && goes == 0 {
            self.since = now;
        }
    }

    /// Whole tokens that are left.
    pub(crate) fn remaining(&self) -> u64 {
        self.level / WHOLE
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self) {
        self.level = self.level.saturating_sub(WHOLE);
    }

    /// Counts a call that is turned away.
    pub(crate) fn refuse(&mut self) -> u64 {
        self.refused += 1;
        self.refused
    }

    /// How long until there is a token. If nothing comes back, one period: Azure always names a time.
    pub(crate) fn wait(&self, policy: &Policy, others: Share, now: Millis) -> Millis {
        let (missing, net) = (WHOLE.saturating_sub(self.level), net(policy, others));
        let periods = match policy.fill {
            _ if missing == 0 => return 0,
            Fill::Adds(_) if net > 0 => missing.div_ceil(net),
            Fill::Adds(_) | Fill::Anew => 1,
        };
        (self.since + periods * policy.every).saturating_sub(now)
    }

    /// When the present period began.
    pub(crate) fn since(&self) -> Millis {
        self.since
    }
}

/// Thousandths that `share` of a refill is.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "shares are checked to be small and not negative, refills are small"
)]
fn taken(policy: &Policy, share: Share) -> u64 {
    (refill(policy) as f64 * share.max(0.0)).round() as u64
}

/// Thousandths that come with each period, if nobody else takes.
fn refill(policy: &Policy) -> u64 {
    WHOLE
        * match policy.fill {
            Fill::Adds(tokens) => tokens,
            Fill::Anew => policy.capacity,
        }
}

/// What comes in each period beside the others' calls.
fn net(policy: &Policy, others: Share) -> u64 {
    refill(policy).saturating_sub(taken(policy, others))
}

/// What the others take in each period beyond what comes.
fn lost(policy: &Policy, others: Share) -> u64 {
    taken(policy, others).saturating_sub(refill(policy))
}

/// As full as it gets: a window that is filled anew is shared from its beginning, whereas others who take less than
/// comes leave a full bucket full.
fn top(policy: &Policy, others: Share) -> u64 {
    match policy.fill {
        Fill::Adds(_) => policy.capacity * WHOLE,
        Fill::Anew => net(policy, others),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::policy::Per;

    const MINUTE: Millis = 60_000;

    fn policy(capacity: u64, fill: Fill) -> Policy {
        Policy { name: "p", capacity, fill, every: MINUTE, per: Per::Resource, assumed: "" }
    }

    /// Takes all there is at each moment; answers how many it got.
    fn drained(policy: &Policy, others: Share, moments: &[Millis]) -> Vec<u64> {
        let mut bucket = Bucket::holding(policy, policy.capacity, 0);
        let drain = |now: &Millis| {
            bucket.pass(policy, others, *now);
            let got = bucket.remaining();
            (0..got).for_each(|_| bucket.take());
            assert_eq!(bucket.remaining(), 0);
            got
        };
        moments.iter().map(drain).collect()
    }

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_what_comes_back() {
        let per_vm = policy(12, Fill::Adds(4));
        let window = policy(12, Fill::Anew);
        for (policy, others, moments, got) in [
            (&per_vm, 0.0, vec![0, 59_999, 60_000, 180_000], vec![12, 0, 4, 8]),
            // Never more than it holds, and the period begins with the first take.
            (&per_vm, 0.0, vec![3_600_000, 3_659_999, 3_660_000], vec![12, 0, 4]),
            (&per_vm, 0.75, vec![0, 60_000, 120_000, 240_000], vec![12, 1, 1, 2]),
            // Less than a token a minute adds up.
            (&per_vm, 0.9, vec![0, 60_000, 120_000, 180_000], vec![12, 0, 0, 1]),
            (&per_vm, 1.0, vec![0, 600_000], vec![12, 0]),
            (&window, 0.0, vec![0, 59_999, 60_000, 200_000], vec![12, 0, 12, 12]),
            (&window, 0.75, vec![0, 59_999, 60_000], vec![3, 0, 3]),
        ] {
            assert_eq!(drained(policy, others, &moments), got, "{:?} {others}", policy.fill);
        }
    }

    #[test]
    fn who_takes_more_than_comes_back_empties_it() {
        let policy = policy(12, Fill::Adds(4));
        let mut bucket = Bucket::holding(&policy, 12, 0);
        bucket.pass(&policy, 1.5, 0);
        bucket.take();
        for (now, left) in [(60_000, 9), (120_000, 7), (600_000, 0)] {
            bucket.pass(&policy, 1.5, now);
            assert_eq!(bucket.remaining(), left, "{now}");
        }
    }

    #[test]
    fn the_wait_is_until_a_whole_token_is_there() {
        let adds = policy(12, Fill::Adds(4));
        let window = policy(12, Fill::Anew);
        for (policy, others, now, wait) in [
            (&adds, 0.0, 0, 60_000),
            (&adds, 0.0, 45_000, 15_000),
            (&adds, 0.9, 0, 180_000),
            (&adds, 1.0, 30_000, 30_000),
            (&window, 0.0, 20_000, 40_000),
        ] {
            let bucket = Bucket::holding(policy, 0, 0);
            assert_eq!(bucket.wait(policy, others, now), wait, "{:?} {others} {now}", policy.fill);
            let mut then = bucket.clone();
            then.pass(policy, others, now + wait);
            assert_eq!(then.remaining() > 0, others < 1.0);
        }
        assert_eq!(Bucket::holding(&adds, 1, 0).wait(&adds, 0.0, 0), 0);
    }
}
