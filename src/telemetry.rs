//! The log: one subscriber on standard error, and a panic hook that logs in the same form and counts.
//!
//! Lines of our own crates follow `--v`; libraries only warn, since some of them would print requests with
//! their headers when asked for more.

use std::panic::PanicHookInfo;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::LogFormat;
use crate::metrics::Metrics;

/// Our crates, by the prefix of their targets.
const OWN: [&str; 5] = ["azuredisk_csi", "azure", "controller", "csi", "node"];
/// Foreign crates whose names begin like ours.
const FOREIGN: [&str; 2] = ["azure_core", "azure_identity"];

/// Sends the log of this process to standard error. Only the first call has an effect.
pub fn install(format: LogFormat, level: Level) {
    // Fails only if a subscriber is there already: then that one stays.
    let _ = tracing::subscriber::set_global_default(subscriber(format, level, std::io::stderr));
}

/// The log, written to `writer`.
pub fn subscriber<W>(format: LogFormat, level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter(level)))
}

fn filter(level: Level) -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(OWN.map(|target| (target, level)))
        .with_targets(FOREIGN.map(|target| (target, Level::WARN)))
}

/// From now on every panic of this process, in a call or in a task of its own, is one log line and counts.
pub fn watch_panics(metrics: Metrics) {
    std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        metrics.panicked();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("(no message)");
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(place, %backtrace, "panic: {message}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_only_warn() {
        let filter = filter(Level::TRACE);
        for (target, level, shown) in [
            ("azuredisk_csi::rpc", Level::TRACE, true),
            ("azure::client", Level::TRACE, true),
            ("azure_identity::cache", Level::DEBUG, false),
            ("azure_core", Level::WARN, true),
            ("h2::codec", Level::INFO, false),
            ("hyper", Level::WARN, true),
        ] {
            assert_eq!(filter.would_enable(target, &level), shown, "{target} {level}");
        }
    }
}
