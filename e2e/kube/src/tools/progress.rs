//! What a person sees while the tools are built: one line per step, with the time since the start.

use std::io::Write as _;

use tokio::time::Instant;

/// Counts from its creation.
pub(super) struct Progress {
    start: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// `[  12.3 s] etcd, containerd …`
    pub(super) fn say(&self, what: &str) {
        let line = format!("[{:6.1} s] {what}\n", self.start.elapsed().as_secs_f64());
        // Who closed standard error wants no progress.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
