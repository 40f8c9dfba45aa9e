//! Durations with the spread of the real service: the middle from a few recorded calls, the tails from what users reported.
//!
//! | what | drawn from |
//! |---|---|
//! | answer to a GET | 50–150 ms |
//! | answer to a write | 150–400 ms |
//! | attach | median 6 s, 95 % in 20 s, 99 % in 60 s; 2 s more for each further disk in the call |
//! | detach | log-normal, median 6 s, 95 % in 15 s |
//! | forced detach | 0.6 s |
//! | disk | 0.1–1 s |
//! | snapshot | 0.5–2 s |
//!
//! An update that both attaches and detaches takes as long as the longer. Assumed, for want of figures: other writes of a
//! VM or scale set take as long as a detach, groups and networks as long as a disk. Nothing takes longer than
//! [`LONGEST`]. A draw depends on the seed and the number it is given alone, not on what was drawn before.

use std::time::Duration;

use fastrand::Rng;

use crate::latency::work::{Change, Work};

/// The tail ends here: what takes longer on the real service is a fault, and is scripted as one.
pub(crate) const LONGEST: Duration = Duration::from_mins(3);

const FORCED: Duration = Duration::from_millis(600);
const FURTHER_DISK: Duration = Duration::from_secs(2);

/// Standard deviations above the median that 95 % and 99 % are below.
const Z95: f64 = 1.645;
const Z99: f64 = 2.326;

/// One duration. `number` tells one draw from another.
pub(crate) fn draw(seed: u64, number: u64, work: Work) -> Duration {
    // Seeds in a row must not give durations in a row.
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.rotate_left(32));
    match work {
        Work::Read => between(&mut rng, 50, 150),
        Work::Write => between(&mut rng, 150, 400),
        Work::Disk | Work::Other => between(&mut rng, 100, 1000),
        Work::Snapshot => between(&mut rng, 500, 2000),
        Work::Vm(change) => of_vm(&mut rng, change),
    }
}

fn of_vm(rng: &mut Rng, change: Change) -> Duration {
    let z = normal(rng);
    let attach = || log_normal(z, &[(0.0, 6.0), (Z95, 20.0), (Z99, 60.0)]);
    let detach = || log_normal(z, &[(0.0, 6.0), (Z95, 15.0)]);
    let mut longest = Duration::ZERO;
    if change.attached > 0 {
        longest = attach() + FURTHER_DISK * (change.attached - 1);
    }
    if change.detached > 0 || change == Change::default() {
        longest = longest.max(detach());
    }
    if change.forced > 0 {
        longest = longest.max(FORCED);
    }
    longest.min(LONGEST)
}

/// Evenly, both ends included.
fn between(rng: &mut Rng, least: u64, most: u64) -> Duration {
    Duration::from_millis(rng.u64(least..=most))
}

/// A normally distributed number, by the method of Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

/// The duration at `z` standard deviations: its logarithm is a line through each two neighbours of `knots` (deviations,
/// seconds), which goes on beyond the first and the last. Two knots are a log-normal distribution.
fn log_normal(z: f64, knots: &[(f64, f64)]) -> Duration {
    let pairs = || knots.windows(2);
    let segment = pairs().find(|pair| z <= pair[1].0).or_else(|| pairs().last());
    let Some([(z0, s0), (z1, s1)]) = segment else { return Duration::ZERO };
    let seconds = (s0.ln() + (z - z0) / (z1 - z0) * (s1.ln() - s0.ln())).exp();
    Duration::from_secs_f64(seconds.clamp(FORCED.as_secs_f64(), LONGEST.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds of 20 000 draws, in order.
    fn sample(work: Work) -> Vec<u128> {
        let mut drawn: Vec<u128> = (0..20_000).map(|number| draw(7, number, work).as_millis()).collect();
        drawn.sort_unstable();
        drawn
    }

    fn vm(attached: u32, detached: u32, forced: u32) -> Work {
        Work::Vm(Change { attached, detached, forced })
    }

    #[test]
    fn durations_are_spread_as_the_table_says() {
        // Per mille of the draws, and seconds that they are below, give or take a tenth.
        for (work, per_mille, seconds) in [
            (vm(1, 0, 0), 500, 6.0),
            (vm(1, 0, 0), 950, 20.0),
            (vm(1, 0, 0), 990, 60.0),
            (vm(3, 0, 0), 500, 10.0),
            (vm(0, 1, 0), 500, 6.0),
            (vm(0, 5, 0), 950, 15.0),
            (vm(0, 0, 0), 500, 6.0),
            (vm(0, 0, 2), 500, 0.6),
            (vm(1, 1, 0), 950, 20.0),
            (Work::Disk, 500, 0.55),
            (Work::Snapshot, 500, 1.25),
            (Work::Read, 500, 0.1),
            (Work::Write, 500, 0.275),
        ] {
            let drawn = sample(work);
            let found = drawn[drawn.len() * per_mille / 1000];
            let wanted = Duration::from_secs_f64(seconds).as_millis();
            assert!(found.abs_diff(wanted) * 10 <= wanted, "{work:?} {per_mille}: {found} ms");
        }
    }

    #[test]
    fn no_duration_is_out_of_bounds() {
        for (work, least, most) in [
            (vm(1, 0, 0), 600, 180_000),
            (vm(64, 0, 0), 600, 180_000),
            (vm(0, 1, 0), 600, 180_000),
            (Work::Disk, 100, 1000),
            (Work::Snapshot, 500, 2000),
            (Work::Read, 50, 150),
            (Work::Write, 150, 400),
        ] {
            let drawn = sample(work);
            assert!(drawn[0] >= least && drawn[drawn.len() - 1] <= most, "{work:?}");
        }
    }

    #[test]
    fn a_draw_depends_on_its_seed_and_its_number_alone() {
        let of = |seed: u64| -> Vec<Duration> { (0..50).map(|n| draw(seed, n, vm(1, 0, 0))).collect() };
        assert_eq!(of(1), of(1));
        let (one, two) = (of(1), of(2));
        assert!(one.iter().zip(&two).all(|(one, two)| one != two));
        assert_ne!(one[..49], two[1..], "the next seed is not the next number");
    }
}
