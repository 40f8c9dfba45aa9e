//! How long things take: the one type that durations are drawn from.
//!
//! A profile with spread (as measured on the real service) belongs here, drawing from the generator it is given.

use std::str::FromStr;
use std::time::Duration;

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
}

impl Latency {
    /// Operations take `operation`; all else is instant.
    pub fn fixed(operation: Duration) -> Self {
        Self { operation, ..Self::default() }
    }

    /// Draws the duration of one phase.
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

    /// `instant`, or `fixed:<ms>` for the duration of operations.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "instant" {
            return Ok(Self::default());
        }
        let number = text.strip_prefix("fixed:").and_then(|ms| ms.parse().ok());
        let ms = number.ok_or_else(|| format!("'{text}' is neither 'instant' nor 'fixed:<ms>'"))?;
        Ok(Self::fixed(Duration::from_millis(ms)))
    }
}
