//! Whether a request is repeated, and when: pure. Repeated is what is known to be safe and may help: an
//! answer that says "not now", or none at all to a request that may be sent twice. `Retry-After` is obeyed
//! to the second; without it the pause is drawn from a growing window, so that callers that failed together
//! do not come back together. Nothing waits past the caller's deadline: it is told how long it would take.

use std::time::Duration;

/// At most this many attempts of one request.
const MOST_ATTEMPTS: u32 = 6;
/// The window of the first pause; it doubles each time.
const FIRST_WINDOW: Duration = Duration::from_millis(200);
/// The largest window.
const LARGEST_WINDOW: Duration = Duration::from_secs(10);

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer came, with this status and `Retry-After`.
    Answer {
        /// HTTP status.
        status: u16,
        /// From the headers.
        retry_after: Option<Duration>,
    },
    /// No answer; the request was surely not taken.
    Unsent,
    /// No answer; it may have been taken.
    Lost,
    /// It could not even be sent, and trying again would not change that.
    Hopeless,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The outcome stands.
    Take,
    /// Try again after this.
    Again(Duration),
}

/// Decides after attempt number `attempt` (from 1). `is_repeatable`: sending it twice is as good as once.
/// `left`: until the deadline. `chance`: 0 to 1, places the pause in its window.
pub(crate) fn decide(
    attempt: u32,
    outcome: Outcome,
    is_repeatable: bool,
    left: Duration,
    chance: f64,
) -> Step {
    let (helps, asked) = match outcome {
        // 429 says that nothing was done; so it is safe for any request.
        Outcome::Answer { status: 429, retry_after } => (true, retry_after),
        Outcome::Answer { status: 408 | 500 | 502 | 503 | 504, retry_after } => (is_repeatable, retry_after),
        Outcome::Answer { .. } | Outcome::Hopeless => (false, None),
        Outcome::Unsent => (true, None),
        Outcome::Lost => (is_repeatable, None),
    };
    if !helps || attempt >= MOST_ATTEMPTS {
        return Step::Take;
    }
    let pause = asked.unwrap_or_else(|| drawn(attempt, chance));
    if pause < left { Step::Again(pause) } else { Step::Take }
}

fn drawn(attempt: u32, chance: f64) -> Duration {
    let window = FIRST_WINDOW.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LARGEST_WINDOW);
    window.mul_f64(chance.clamp(0.0, 1.0))
}

/// `Retry-After` of an answer: seconds, or the milliseconds that some services send beside it. A date is
/// not read: Azure sends seconds.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    number("retry-after-ms")
        .or_else(|| number("x-ms-retry-after-ms"))
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(attempt: u32, outcome: Outcome, is_repeatable: bool, left: u64, expected: Step) {
        let step = decide(attempt, outcome, is_repeatable, Duration::from_secs(left), 0.5);
        assert_eq!(step, expected, "{attempt} {outcome:?} repeatable {is_repeatable} left {left}");
    }

    #[test]
    fn only_what_may_help_and_is_safe_is_repeated() {
        let answer = |status| Outcome::Answer { status, retry_after: None };
        let again = Step::Again(FIRST_WINDOW / 2);
        check(1, answer(200), true, 60, Step::Take);
        check(1, answer(404), true, 60, Step::Take);
        check(1, answer(409), true, 60, Step::Take);
        check(1, answer(503), true, 60, again);
        check(1, answer(503), false, 60, Step::Take);
        check(1, answer(429), false, 60, again);
        check(1, Outcome::Lost, true, 60, again);
        check(1, Outcome::Lost, false, 60, Step::Take);
        check(1, Outcome::Unsent, false, 60, again);
        check(1, Outcome::Hopeless, true, 60, Step::Take);
        check(MOST_ATTEMPTS, answer(503), true, 60, Step::Take);
    }

    #[test]
    fn retry_after_is_obeyed_or_not_waited_for() {
        let throttled = Outcome::Answer { status: 429, retry_after: Some(Duration::from_secs(20)) };
        check(1, throttled, false, 60, Step::Again(Duration::from_secs(20)));
        check(1, throttled, false, 10, Step::Take);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_stay_in_their_window() {
        for attempt in 1..40 {
            let (least, most) = (drawn(attempt, 0.0), drawn(attempt, 1.0));
            assert_eq!(least, Duration::ZERO);
            assert!(most <= LARGEST_WINDOW && most >= FIRST_WINDOW, "{attempt}: {most:?}");
        }
    }

    #[test]
    fn retry_after_is_read_in_its_forms() {
        let rows = [
            ("retry-after", "2", Some(2000)),
            ("retry-after-ms", "150", Some(150)),
            ("x-ms-retry-after-ms", "150", Some(150)),
            ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", None),
            ("other", "2", None),
        ];
        for (name, value, millis) in rows {
            let headers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )]);
            assert_eq!(retry_after(&headers), millis.map(Duration::from_millis), "{name}: {value}");
        }
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        let answer = (100..600_u16, prop::option::of(0..u64::MAX)).prop_map(|(status, seconds)| {
            Outcome::Answer { status, retry_after: seconds.map(Duration::from_secs) }
        });
        prop_oneof![8 => answer, 1 => Just(Outcome::Unsent), 1 => Just(Outcome::Lost), 1 => Just(Outcome::Hopeless)]
    }

    proptest! {
        #[test]
        fn whatever_happens_a_repetition_is_safe_bounded_and_in_time(
            attempt in 1..20_u32, outcome in outcome(), is_repeatable: bool, left in 0..200_000_u64, chance in -1.0..2.0,
        ) {
            let left = Duration::from_millis(left);
            if let Step::Again(pause) = decide(attempt, outcome, is_repeatable, left, chance) {
                prop_assert!(attempt < MOST_ATTEMPTS && pause < left);
                let surely_not_done =
                    matches!(outcome, Outcome::Unsent | Outcome::Answer { status: 429, .. });
                prop_assert!(is_repeatable || surely_not_done);
                if let Outcome::Answer { retry_after: Some(asked), .. } = outcome {
                    prop_assert_eq!(pause, asked);
                }
            }
        }
    }
}
