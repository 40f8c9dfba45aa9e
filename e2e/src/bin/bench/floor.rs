//! What work costs at least, whoever does it: the figure that every time of the table stands beside.
//!
//! Pure. The durations are those that the emulator drew for the very updates that happened, from the arrival of
//! the update to the end of its operation or to its answer, whichever is later: reads, polls and the way there
//! cost nothing here, so nobody can be faster.

use std::time::Duration;

/// Updates of one VM that Azure takes at once, and then in a minute: the bucket of `attachDetachDataDisks`.
const BURST: u32 = 12;
const PER_MINUTE: u32 = 4;

/// The floor of work on several VMs side by side. `taken` has, for each VM, how long each of its updates took;
/// `needed` of them were needed, and as nobody knows which they would have been, the longest count.
pub(crate) fn of_updates<'a>(taken: impl Iterator<Item = &'a [Duration]>, needed: usize) -> Duration {
    let of_vm = |taken: &[Duration]| {
        let mut longest = taken.to_vec();
        longest.sort_unstable_by(|one, other| other.cmp(one));
        longest.iter().take(needed).sum()
    };
    taken.map(of_vm).max().unwrap_or_default()
}

/// The floor of a rolling move, in which each disk leaves one VM before it comes to the next: two operations, and
/// for a VM that needs more updates than its bucket holds the time until they have come back.
pub(crate) fn of_rolling_move(needed_by_vm: impl Iterator<Item = u32>, operation: Duration) -> Duration {
    let waits = needed_by_vm.map(|needed| needed.saturating_sub(BURST) * Duration::from_mins(1) / PER_MINUTE);
    waits.max().unwrap_or_default() + 2 * operation
}

/// The middle one; of an even number the earlier of both. Nothing if there is none.
pub(crate) fn median(mut durations: Vec<Duration>) -> Option<Duration> {
    durations.sort_unstable();
    durations.get(durations.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(all: &[u64]) -> Vec<Duration> {
        all.iter().copied().map(Duration::from_secs).collect()
    }

    #[test]
    fn the_floor_is_the_longest_way_of_one_vm() {
        for (taken, needed, floor) in [
            (&[][..], 1, 0),
            (&[&[]], 1, 0),
            (&[&[6]], 0, 0),
            (&[&[6]], 1, 6),
            // More updates than needed do not lift the floor.
            (&[&[6, 9, 7]], 1, 9),
            (&[&[6, 9, 7]], 2, 16),
            // VMs go side by side.
            (&[&[6], &[8, 1], &[7]], 1, 8),
        ] as [(&[&[u64]], usize, u64); 7]
        {
            let taken: Vec<_> = taken.iter().map(|vm| seconds(vm)).collect();
            let found = of_updates(taken.iter().map(Vec::as_slice), needed);
            assert_eq!(found, Duration::from_secs(floor), "{taken:?}, {needed}");
        }
    }

    #[test]
    fn a_rolling_move_waits_for_its_bucket_only_when_it_is_empty() {
        for (needed, floor) in [(&[][..], 12), (&[2, 2], 12), (&[12], 12), (&[13], 27), (&[2, 32, 16], 312)] {
            let found = of_rolling_move(needed.iter().copied(), Duration::from_secs(6));
            assert_eq!(found, Duration::from_secs(floor), "{needed:?}");
        }
    }

    #[test]
    fn the_median_is_the_middle_one() {
        for (durations, middle) in
            [(&[][..], None), (&[4], Some(4)), (&[9, 1, 5], Some(5)), (&[9, 1, 5, 6], Some(5))]
        {
            assert_eq!(median(seconds(durations)), middle.map(Duration::from_secs), "{durations:?}");
        }
    }
}
