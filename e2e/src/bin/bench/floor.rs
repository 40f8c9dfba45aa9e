//! What work costs at least, whoever does it: the figure that every time of the table stands beside.
//!
//! Pure. The durations are those that the emulator drew for the very updates that happened, from the arrival of
//! the update to the end of its operation or to its answer, whichever is later: reads, polls and the way there
//! cost nothing here, so nobody can be faster.

use std::time::Duration;

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
}
