//! Turns among the requests that the Resource Manager grants one identity in one subscription, shared by everything
//! that this process sends: 250 reads at once and 25 more each second, 200 writes or deletions and 10 more each
//! second ("Understand how Azure Resource Manager throttles requests"). Pure: the time in, how long to wait out.
//!
//! ```text
//!  asks ──▶ token there, nobody waits ──▶ goes, and the token is taken
//!      └──▶ a slot behind those who wait ──▶ its time comes: token there ──▶ goes
//!                        ▲─────────────────────────────────── none ◀┘
//! ```
//! Two kinds of reads wait in two queues: a poll can come later, so it leaves a reserve to the reads that calls hang
//! on; and while these take all there is, a fifth is left to the polls, or nobody would see an operation end.
//! **Invariants:** whoever goes has taken a token, so no more go than Azure grants; a second's tokens are never counted
//! on, since Azure may give them back all at once. Who waits holds a time only: if it hangs up, nothing is lost.

use std::time::Duration;

use tokio::time::Instant;

use super::draw::Verb;

/// Kept back from polls, for the reads that calls hang on.
const RESERVE: f64 = 50.0;
/// Polls each second while calls use up the bucket.
const SHARE: f64 = 5.0;
/// Nobody waits for less.
const ROUNDING: Duration = Duration::from_micros(1);

/// What somebody needs a turn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A call hangs on it.
    Call,
    /// A look at how far an operation is.
    Poll,
}

/// One bucket of the Resource Manager.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    /// Of the bucket without a second's tokens.
    size: f64,
    /// Tokens that come back each second.
    refill: f64,
    /// Slots of calls in a second.
    drain: f64,
    left: f64,
    at: Instant,
    /// The first slot that no call has.
    calls: Instant,
    /// The first slot that no poll has.
    polls: Instant,
    /// From when on a poll may go though it finds no more than the reserve.
    share: Instant,
}

impl Turns {
    /// A full bucket.
    pub(crate) fn full(verb: Verb, now: Instant) -> Turns {
        let (bucket, refill, drain) = match verb {
            Verb::Read => (250.0, 25.0, 25.0 - SHARE),
            Verb::Write | Verb::Delete => (200.0, 10.0, 10.0),
        };
        let size = bucket - refill;
        Turns { size, refill, drain, left: size, at: now, calls: now, polls: now, share: now }
    }

    /// Takes a token for somebody who comes (`None`: go), or says how long to wait for a slot. One that is not before
    /// the deadline is not taken.
    pub(crate) fn turn(&mut self, purpose: Purpose, now: Instant, deadline: Instant) -> Option<Duration> {
        let is_first = *self.queue(purpose) <= now;
        let wait = self.again(purpose, now);
        if is_first && wait.is_none() {
            return None;
        }
        if wait.is_none() {
            // It was for one of those who wait.
            self.left += 1.0;
        }
        let step = match purpose {
            Purpose::Call => seconds(1.0 / self.drain),
            Purpose::Poll if self.calls > now => seconds(1.0 / SHARE),
            Purpose::Poll => seconds(1.0 / self.refill),
        };
        let queue = self.queue(purpose);
        let slot = (now + wait.unwrap_or_default()).max(*queue);
        if slot < deadline {
            *queue = slot + step;
        }
        Some(slot - now)
    }

    /// The same for somebody whose slot has come.
    pub(crate) fn again(&mut self, purpose: Purpose, now: Instant) -> Option<Duration> {
        self.pass(now);
        let (left, refill) = (self.left, self.refill);
        let until = |level: f64| seconds((level - left) / refill);
        let wait = match purpose {
            Purpose::Call => until(1.0),
            Purpose::Poll => {
                let share = self.share.saturating_duration_since(now);
                until(RESERVE + 1.0).min(share.max(until(1.0)))
            }
        };
        if wait > ROUNDING {
            return Some(wait);
        }
        self.left -= 1.0;
        if purpose == Purpose::Poll {
            self.share = now + seconds(1.0 / SHARE);
        }
        None
    }

    /// A token that was taken and not used.
    pub(crate) fn given_back(&mut self) {
        self.left = (self.left + 1.0).min(self.size);
    }

    /// Azure says what it has left. More than we thought changes nothing: another of its front doors may have
    /// counted.
    pub(crate) fn told(&mut self, left: u32, now: Instant) {
        self.pass(now);
        self.left = self.left.min(f64::from(left) - self.refill);
    }

    fn queue(&mut self, purpose: Purpose) -> &mut Instant {
        match purpose {
            Purpose::Call => &mut self.calls,
            Purpose::Poll => &mut self.polls,
        }
    }

    /// Brings it to the present.
    fn pass(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.left = (self.left + passed.as_secs_f64() * self.refill).min(self.size);
        self.at = now.max(self.at);
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}

#[cfg(test)]
mod tests;
