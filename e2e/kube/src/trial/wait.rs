//! Waiting for the world to become as expected: a look again and again, never a pause that hopes.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::Failure;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until a look answers, at most for `limit`. What the last look lacked is in the failure.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let end = Instant::now() + limit;
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match look().await {
            Ok(found) => return Ok(found),
            Err(lacking) if Instant::now() >= end => {
                return Err(format!("waited {limit:?} until {what}; at last: {lacking}").into());
            }
            Err(_) => {}
        }
    }
}

/// `Ok` where `is_so`, else what lacks: for the looks of [`until`].
pub fn holds(is_so: bool, lacking: impl FnOnce() -> String) -> Result<(), Failure> {
    if is_so { Ok(()) } else { Err(lacking().into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_first_look_that_answers() {
        let mut looks = 0;
        let found = until("three", Duration::from_secs(5), async || {
            looks += 1;
            holds(looks == 3, || format!("{looks} is not 3"))
        });
        assert!(found.await.is_ok());
        assert_eq!(looks, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_lacked_last_is_told() {
        let limit = Duration::from_secs(2);
        let failure = until("a pod runs", limit, async || Err::<(), _>("it is Pending".into()));
        assert_eq!(
            failure.await.unwrap_err().to_string(),
            "waited 2s until a pod runs; at last: it is Pending"
        );
    }
}
