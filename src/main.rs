//! The program: arguments → configuration → log → run → exit code. Exit 0 after a clean stop or a question
//! answered, 1 when it could not serve or not finish, 2 when it was called wrongly.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use azuredisk_csi::config::Config;
use azuredisk_csi::environment::Environment;
use azuredisk_csi::flags::{self, Flags};
use azuredisk_csi::metrics::Metrics;
use azuredisk_csi::telemetry;
use azuredisk_csi::wiring::Seams;
use tokio::signal::unix::{SignalKind, signal};

/// Gives back what a burst of calls took; glibc keeps it for as long as the process lives. Its settings are in
/// `.cargo/config.toml`.
#[global_allocator]
static HEAP: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Threads for work that blocks: tools, mounts, statfs. Bounds memory; waiting work queues.
const BLOCKING_THREADS: usize = 256;

fn main() -> ExitCode {
    let flags = Flags::parse(std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()));
    if flags.errors.is_empty() {
        if flags.is_on("help", false) {
            return say(&flags::help());
        }
        if flags.is_on("version", false) {
            return say(concat!("azuredisk-csi ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        if flags.is_on("pre-stop-hook", false) {
            return say("nothing to do before a stop: the driver finishes its calls when it is signalled\n");
        }
    }
    match Config::new(&flags, Environment::of_process()) {
        Ok(config) => serve(config),
        Err(errors) => {
            for error in errors {
                complain(&format!("azuredisk-csi: {error}"));
            }
            ExitCode::from(2)
        }
    }
}

fn serve(config: Config) -> ExitCode {
    telemetry::install(config.log_format, config.log_level);
    if !config.without_effect.is_empty() {
        let flags: Vec<String> = config.without_effect.iter().map(|name| format!("--{name}")).collect();
        tracing::warn!("flags of the Go driver that have no effect here: {}", flags.join(", "));
    }
    let metrics = Metrics::new(config.mode);
    telemetry::watch_panics(metrics.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(2))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let seams = Seams::real(&config);
    let result = runtime.block_on(async {
        let shutdown = asked_to_stop()?;
        azuredisk_csi::run(config, &seams, metrics, shutdown).await.map_err(Box::<dyn Error>::from)
    });
    // A thread stuck in the kernel must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => {
            tracing::info!("stopped: everything that was begun is finished");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&*error),
    }
}

/// SIGTERM or SIGINT; both are caught from the moment this returns.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn failed(error: &dyn Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    tracing::error!("{text}");
    ExitCode::FAILURE
}

/// An answer for a person; a closed pipe is no failure.
fn say(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
