//! How long a feed waits before it tries again: pure. The window doubles with each failure in a row; where in
//! it a feed comes back is drawn, so that feeds that were cut off together do not come back together.

use std::time::Duration;

/// The window of the first pause.
const FIRST: Duration = Duration::from_millis(500);
/// The largest one.
const LARGEST: Duration = Duration::from_secs(30);

/// The pause after failure number `failures` (from 1). `asked`: what the server wants at least; what is drawn comes on
/// top, for it says the same to all. `chance`: 0 to 1.
pub(super) fn pause(failures: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let window = FIRST.saturating_mul(1 << doublings).min(LARGEST);
    let drawn = window / 2 + (window / 2).mul_f64(chance.clamp(0.0, 1.0));
    drawn.saturating_add(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses() {
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
        for (failures, asked, chance, milliseconds) in [
            (1, None, 0.0, 250),
            (1, None, 1.0, 500),
            (2, None, 0.5, 750),
            (7, None, 1.0, 30_000),
            (u32::MAX, None, 0.0, 15_000),
            (1, seconds(3), 0.0, 3250),
            (1, seconds(3), 1.0, 3500),
            (9, seconds(3), 1.0, 33_000),
        ] {
            let pause = pause(failures, asked, chance);
            assert_eq!(pause, Duration::from_millis(milliseconds), "{failures} {asked:?} {chance}");
        }
        assert_eq!(pause(1, seconds(u64::MAX), 1.0).as_secs(), u64::MAX, "whatever the server says");
    }
}
