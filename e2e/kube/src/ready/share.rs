//! The driver's own share of a pod's way to ready: the time of its calls, by its own metrics, before and after. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The bound on the driver's own share, with an Azure that answers at once.
pub const BOUND: Duration = Duration::from_millis(300);

/// What each step of a volume's way into a pod is called, and its call.
const STEPS: [(&str, &str); 4] = [
    ("provision", "CreateVolume"),
    ("attach", "ControllerPublishVolume"),
    ("stage", "NodeStageVolume"),
    ("publish", "NodePublishVolume"),
];

/// Method → seconds spent in its calls, in all processes of the driver and whatever they answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent(BTreeMap<String, f64>);

impl Spent {
    /// Adds the metrics page of one process.
    pub fn add(&mut self, page: &str) {
        for line in page.lines() {
            let Some((method, seconds)) =
                line.strip_prefix("azuredisk_csi_rpc_seconds_sum{").and_then(sample)
            else {
                continue;
            };
            *self.0.entry(method.to_owned()).or_default() += seconds;
        }
    }

    fn of(&self, method: &str) -> f64 {
        self.0.get(method).copied().unwrap_or_default()
    }
}

/// `method="x",code="y"} 1.5`, the labels in any order.
fn sample(labels_and_value: &str) -> Option<(&str, f64)> {
    let (labels, value) = labels_and_value.split_once('}')?;
    let method = labels.split(',').find_map(|label| label.strip_prefix("method=\"")?.strip_suffix('"'))?;
    Some((method, value.split_whitespace().next()?.parse().ok()?))
}

/// The driver's time for one volume, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    steps: [(&'static str, Duration); 4],
}

impl Share {
    /// The mean of `volumes` volumes, by what was spent before and after.
    pub fn between(before: &Spent, after: &Spent, volumes: u32) -> Share {
        let took = |method: &str| (after.of(method) - before.of(method)).max(0.0) / f64::from(volumes.max(1));
        Share { steps: STEPS.map(|(step, method)| (step, Duration::from_secs_f64(took(method)))) }
    }

    /// All steps together.
    pub fn total(&self) -> Duration {
        self.steps.iter().map(|(_, took)| *took).sum()
    }

    /// Steps that took no time at all: the driver was not asked, or its metrics are not what we read.
    pub fn missing(&self) -> Vec<&'static str> {
        self.steps.iter().filter(|(_, took)| took.is_zero()).map(|(step, _)| *step).collect()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, took) in self.steps {
            write!(to, "{step} {}, ", milliseconds(took))?;
        }
        write!(to, "together {}", milliseconds(self.total()))
    }
}

/// For a reader.
pub fn milliseconds(took: Duration) -> String {
    format!("{:.0} ms", took.as_secs_f64() * 1000.0)
}

/// The middle of the times; of an even number of them the mean of the two in the middle.
pub fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    let middle = times.len() / 2;
    let upper = *times.get(middle)?;
    Some(if times.len() % 2 == 1 { upper } else { (times[middle - 1] + upper) / 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE azuredisk_csi_rpc_seconds histogram\n\
        azuredisk_csi_rpc_seconds_sum{method=\"CreateVolume\",code=\"Ok\"} 1.5\n\
        azuredisk_csi_rpc_seconds_count{method=\"CreateVolume\",code=\"Ok\"} 10\n\
        azuredisk_csi_rpc_seconds_sum{code=\"Unavailable\",method=\"CreateVolume\"} 0.5\n\
        azuredisk_csi_rpc_seconds_sum{method=\"NodeStageVolume\",code=\"Ok\"} 0.4 1795262914\n\
        azuredisk_csi_panics_total 0\n";

    #[test]
    fn the_share_of_a_volume_is_what_all_calls_took_meanwhile() {
        let mut before = Spent::default();
        before.add(PAGE);
        let mut after = before.clone();
        after.add(PAGE);
        let share = Share::between(&before, &after, 10);
        assert_eq!(
            share.to_string(),
            "provision 200 ms, attach 0 ms, stage 40 ms, publish 0 ms, together 240 ms"
        );
        assert_eq!(share.missing(), ["attach", "publish"]);
        assert_eq!(Share::between(&after, &before, 10).total(), Duration::ZERO);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let rows: &[(&[u64], Option<u64>)] =
            &[(&[], None), (&[3], Some(3)), (&[9, 1, 2], Some(2)), (&[1, 9, 3, 5], Some(4))];
        for (times, wanted) in rows {
            let times = times.iter().copied().map(Duration::from_secs).collect();
            assert_eq!(median(times), wanted.map(Duration::from_secs));
        }
    }
}
