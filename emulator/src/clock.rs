//! The emulator's time: milliseconds since the model began, and the wall-clock text that Azure prints.
//!
//! Everything is counted with tokio's clock, so a paused test steers it, and the wall clock enters once as an
//! argument. The count is part of the saved model: after a restart it goes on where the last commit left it,
//! which is what keeps the *remaining* time of an operation across a crash.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

/// Milliseconds since the model's first start.
pub(crate) type Millis = u64;

/// A running clock. Invariant: [`Clock::now`] never goes back, not even over a restart.
pub(crate) struct Clock {
    begun: Instant,
    before: Millis,
    wall: OffsetDateTime,
}

impl Clock {
    /// A clock that goes on from `before`; `wall` is what the wall clock shows at this moment.
    pub(crate) fn resumed(before: Millis, wall: SystemTime) -> Self {
        Self { begun: Instant::now(), before, wall: wall.into() }
    }

    /// Model time.
    pub(crate) fn now(&self) -> Millis {
        self.before.saturating_add(millis(self.begun.elapsed()))
    }

    /// Skips so much time.
    pub(crate) fn advance(&mut self, by: Millis) {
        self.before = self.before.saturating_add(by);
        self.wall += Duration::from_millis(by);
    }

    /// When tokio's clock shows `at`.
    pub(crate) fn instant(&self, at: Millis) -> Instant {
        self.begun + Duration::from_millis(at.saturating_sub(self.before))
    }

    /// Seconds since 1970, for token lifetimes.
    pub(crate) fn unix(&self) -> i64 {
        (self.wall + self.begun.elapsed()).unix_timestamp()
    }

    /// So long ago, as Azure prints it.
    pub(crate) fn stamp_before(&self, ago: Millis) -> String {
        let then = self.wall + self.begun.elapsed() - Duration::from_millis(ago);
        then.format(&Rfc3339).unwrap_or_default()
    }

    /// The present as Azure prints it.
    pub(crate) fn stamp(&self) -> String {
        self.stamp_before(0)
    }
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
