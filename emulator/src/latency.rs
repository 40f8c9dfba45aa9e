//! How long things take: the one type that durations are drawn from.
//!
//! Either fixed, or with the spread of the real service ([`realistic`]), which is drawn from a seed.

mod draws;
mod realistic;
mod work;

use std::str::FromStr;
use std::time::Duration;

pub(crate) use draws::Draws;
pub(crate) use work::Work;

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From the arrival of a request to its answer.
    Accept,
    /// From the accept of an operation to its end.
    Operation,
    /// The same for disks and snapshots, which Azure is quicker with than with VMs.
    Disk,
    /// The background copy of a snapshot of a disk that is bought by the number.
    Copy,
}

/// Durations of each [`Phase`]. `Default`: everything is instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// See [`Phase::Accept`].
    pub accept: Duration,
    /// See [`Phase::Operation`].
    pub operation: Duration,
    /// See [`Phase::Disk`]; as `operation` if absent.
    pub disk: Option<Duration>,
    /// See [`Phase::Copy`].
    pub copy: Duration,
    /// With a seed here all but `copy` is drawn, with the spread of the real service.
    pub spread: Option<u64>,
}

impl Latency {
    /// Operations take `operation`; all else is instant.
    pub fn fixed(operation: Duration) -> Self {
        Self { operation, ..Self::default() }
    }

    /// Durations as on the real service: seconds for an attach, sometimes a minute.
    pub fn realistic(seed: u64) -> Self {
        Self { spread: Some(seed), ..Self::default() }
    }

    /// How long `work` takes; `number` tells one draw from another.
    pub(crate) fn of(&self, work: Work, number: u64) -> Duration {
        match (self.spread, work) {
            (Some(seed), _) => realistic::draw(seed, number, work),
            (None, Work::Read | Work::Write) => self.accept,
            (None, Work::Vm(_) | Work::Other) => self.operation,
            (None, Work::Disk | Work::Snapshot) => self.disk.unwrap_or(self.operation),
        }
    }

    /// The fixed duration of one phase.
    pub fn draw(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Accept => self.accept,
            Phase::Operation => self.operation,
            Phase::Disk => self.disk.unwrap_or(self.operation),
            Phase::Copy => self.copy,
        }
    }
}

impl FromStr for Latency {
    type Err = String;

    /// `instant`, `fixed:<ms>` for the duration of operations, `realistic` or `realistic:<seed>`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "instant" {
            return Ok(Self::default());
        }
        let seed = if text == "realistic" { Some("0") } else { text.strip_prefix("realistic:") };
        if let Some(seed) = seed.and_then(|seed| seed.parse().ok()) {
            return Ok(Self::realistic(seed));
        }
        let number = text.strip_prefix("fixed:").and_then(|ms| ms.parse().ok());
        let ms = number
            .ok_or_else(|| format!("'{text}' is none of 'instant', 'fixed:<ms>', 'realistic[:<seed>]'"))?;
        Ok(Self::fixed(Duration::from_millis(ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_read_as_it_is_documented() {
        for (text, latency) in [
            ("instant", Some(Latency::default())),
            ("fixed:250", Some(Latency::fixed(Duration::from_millis(250)))),
            ("realistic", Some(Latency::realistic(0))),
            ("realistic:7", Some(Latency::realistic(7))),
            ("realistic:", None),
            ("realistic7", None),
            ("fixed", None),
        ] {
            assert_eq!(text.parse().ok(), latency, "{text}");
        }
    }
}
