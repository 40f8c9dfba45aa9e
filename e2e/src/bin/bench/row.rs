//! From what was measured to a line of the table. Pure.

use std::time::Duration;

use crate::traffic::Traffic;

/// One run of a case.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// From the first call to the last answer.
    pub(crate) time: Duration,
    pub(crate) floor: Duration,
    pub(crate) traffic: Traffic,
    /// Calls that failed and were made again.
    pub(crate) again: usize,
}

/// The head of the table; [`cells`] follows it.
pub(crate) fn head() -> Vec<String> {
    let titles = [
        "case",
        "Azure",
        "time",
        "floor",
        "× floor",
        "above",
        "updates",
        "VM reads",
        "disk reads",
        "polls",
        "other",
        "429",
        "again",
        "VM/disk",
        "disk/disk",
        "wanted",
    ];
    titles.map(str::to_owned).to_vec()
}

/// The line of a case that moves `disks` disks: the run whose time above the floor is the middle one, and the most
/// requests that any run needed. Nothing if there was no run.
pub(crate) fn cells(
    name: &str,
    pace: &str,
    disks: usize,
    samples: &[Sample],
    wanted: &str,
) -> Option<Vec<String>> {
    let mut order: Vec<&Sample> = samples.iter().collect();
    order.sort_by_key(|sample| sample.time.saturating_sub(sample.floor));
    let middle = *order.get(samples.len().checked_sub(1)? / 2)?;
    let most = |count: fn(&Traffic) -> usize| {
        samples.iter().map(|sample| count(&sample.traffic)).max().unwrap_or_default()
    };
    let again = samples.iter().map(|sample| sample.again).max().unwrap_or_default();
    Some(vec![
        name.to_owned(),
        pace.to_owned(),
        duration(middle.time),
        duration(middle.floor),
        ratio(middle.time, middle.floor),
        duration(middle.time.saturating_sub(middle.floor)),
        most(|traffic| traffic.updates).to_string(),
        most(|traffic| traffic.vm_reads).to_string(),
        most(|traffic| traffic.disk_reads).to_string(),
        most(|traffic| traffic.polls).to_string(),
        most(|traffic| traffic.other).to_string(),
        most(|traffic| traffic.throttled).to_string(),
        again.to_string(),
        share(most(|traffic| traffic.updates + traffic.vm_reads), disks),
        share(most(|traffic| traffic.disk_reads), disks),
        wanted.to_owned(),
    ])
}

/// Milliseconds below a second, else seconds.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

/// Bytes as megabytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

/// Without a floor there is no ratio.
fn ratio(time: Duration, floor: Duration) -> String {
    if floor.is_zero() { "–".to_owned() } else { format!("{:.3}", time.div_duration_f64(floor)) }
}

fn share(requests: usize, disks: usize) -> String {
    if disks == 0 {
        return "–".to_owned();
    }
    let hundredths = (requests * 100).div_ceil(disks);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time: u64, floor: u64, updates: usize, vm_reads: usize) -> Sample {
        Sample {
            time: Duration::from_millis(time),
            floor: Duration::from_millis(floor),
            traffic: Traffic { updates, vm_reads, throttled: updates - 1, ..Traffic::default() },
            again: vm_reads,
        }
    }

    #[track_caller]
    fn check(samples: &[Sample], disks: usize, expected: &str) {
        let cells = cells("attach", "0.1 s", disks, samples, "≤ 2 ×");
        assert_eq!(cells.map(|cells| cells.join(" | ")).unwrap_or_default(), expected);
    }

    #[test]
    fn a_line_shows_the_middle_time_and_the_most_requests() {
        check(&[], 1, "");
        check(
            &[sample(7, 0, 1, 2)],
            1,
            "attach | 0.1 s | 7.0 ms | 0.0 ms | – | 7.0 ms | 1 | 2 | 0 | 0 | 0 | 0 | 2 | 3.00 | 0.00 | ≤ 2 ×",
        );
        // The middle is that of the time above the floor: 900, 100 and 150 ms.
        let samples = [sample(1000, 100, 1, 3), sample(6100, 6000, 2, 1), sample(300, 150, 1, 1)];
        check(
            &samples,
            16,
            "attach | 0.1 s | 300.0 ms | 150.0 ms | 2.000 | 150.0 ms | 2 | 3 | 0 | 0 | 0 | 1 | 3 | 0.25 | 0.00 | ≤ 2 ×",
        );
    }

    #[test]
    fn a_share_is_never_shown_smaller_than_it_is() {
        for (requests, disks, shown) in [(0, 8, "0.00"), (161, 320, "0.51"), (320, 320, "1.00"), (1, 0, "–")]
        {
            assert_eq!(share(requests, disks), shown, "{requests}/{disks}");
        }
    }

    #[test]
    fn every_title_has_its_cell() {
        let line = cells("", "", 1, &[sample(1, 1, 1, 1)], "");
        assert_eq!(line.map(|cells| cells.len()), Some(head().len()));
    }
}
