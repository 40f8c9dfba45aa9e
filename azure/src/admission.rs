//! Before a request is sent: waits until its gates are open and it has its turn, or says at once that the caller's
//! deadline comes first. What to wait for is decided by `gates`; who waits here holds nothing.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Deadline;
use crate::ask::Ask;
use crate::client::{Arm, Unanswered};
use crate::follow::rested;
use crate::gates::Gates;
use crate::gates::draw::Draw;
use crate::gates::turns::Purpose;

/// Why a request is not sent whose gates are closed for too long.
pub(crate) const CLOSED: &str = "not sent, since Azure is throttling such requests";
/// Why a request is not sent whose turn comes too late.
pub(crate) const TOO_MANY: &str = "not sent, since more requests wait than Azure takes from one identity";

impl Arm {
    /// Waits until every gate of the request is open; if that is only after the deadline, says so at once.
    pub(crate) async fn pass(&self, ask: &Ask<'_>, draw: &Draw) -> Result<(), Unanswered> {
        while let Some(wait) = self.closed(draw) {
            if !ask.is_patient || wait >= ask.deadline.saturating_duration_since(Instant::now()) {
                return Err(Unanswered::Error(ask.throttled(wait, CLOSED)));
            }
            sleep(wait).await;
        }
        Ok(())
    }

    /// Waits for the request's turn, unless it has it; if that is only after the deadline, says so at once.
    pub(crate) async fn take_turn(&self, ask: &Ask<'_>, draw: &Draw) -> Result<(), Unanswered> {
        if ask.has_turn.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let turn = self.turn(Purpose::Call, draw, ask.deadline).await;
        turn.map_err(|wait| Unanswered::Error(ask.throttled(wait, TOO_MANY)))
    }

    /// Takes a turn if there is one now and nobody waits for it.
    pub(crate) fn has_turn_at_once(&self, draw: &Draw) -> bool {
        let now = Instant::now();
        self.gates().turns(draw, now).turn(Purpose::Call, now, now).is_none()
    }

    /// Gives a turn back that was not used.
    pub(crate) fn give_back(&self, draw: &Draw) {
        self.gates().turns(draw, Instant::now()).given_back();
    }

    /// Between the begins of two lists, for each page that they have; `wish`: at least.
    pub(crate) fn spacing(&self, draw: &Draw, wish: Duration) -> Duration {
        self.gates().spacing(draw, wish, Instant::now())
    }

    /// How long the Resource Manager takes no request of this verb in the subscription; `None`: it does.
    pub(crate) fn closed_to_all(&self, draw: &Draw) -> Option<Duration> {
        self.gates().wait_for_all(draw, Instant::now())
    }

    /// Waits for a poll's turn among all reads of the subscription, unless that is past the deadline.
    pub(crate) async fn has_turn(&self, draw: &Draw, deadline: Deadline) -> bool {
        self.turn(Purpose::Poll, draw, deadline).await.is_ok()
    }

    /// Waits for a turn; an error is how long it takes until there is one, after the deadline.
    pub(crate) async fn turn(
        &self,
        purpose: Purpose,
        draw: &Draw,
        deadline: Deadline,
    ) -> Result<(), Duration> {
        let now = Instant::now();
        let mut wait = self.gates().turns(draw, now).turn(purpose, now, deadline);
        while let Some(time) = wait {
            if !rested(time, deadline).await {
                return Err(time);
            }
            let now = Instant::now();
            wait = self.gates().turns(draw, now).again(purpose, now);
        }
        Ok(())
    }

    /// How long the gates of a request stay closed; `None`: they are open.
    pub(crate) fn closed(&self, draw: &Draw) -> Option<Duration> {
        self.gates().wait(draw, Instant::now())
    }

    /// Held for as long as a decision takes, never across an await.
    pub(crate) fn gates(&self) -> MutexGuard<'_, Gates> {
        self.inner.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
