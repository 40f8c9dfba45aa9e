//! The program `azure-emulator`: a local Azure on a loopback address.
//!
//! It prints one line, `listening on http://127.0.0.1:PORT`, when it can be used. SIGTERM and SIGINT save the model,
//! release the block devices and end it with 0; the disks' bytes stay in the state directory.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use azure_emulator::{DeviceKind, Emulator, Latency, Options, SUBSCRIPTION, serve};
use clap::{Parser, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A local Azure: disks, snapshots, VMs and scale sets on loopback.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; loopback only. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Directory that keeps the model and the disks' bytes. Without it nothing outlives the program.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Show attached disks as block devices below STATE/vms/<vm>; needs root and --state.
    #[arg(long, value_enum)]
    devices: Option<Devices>,
    /// How long operations take: instant, or fixed:<milliseconds>.
    #[arg(long, default_value = "instant")]
    latency: Latency,
    /// Refuse request properties that Azure does not know.
    #[arg(long)]
    strict: bool,
    /// Most resources on a page of a list.
    #[arg(long, default_value_t = 250)]
    page: usize,
    /// Spell the group's name in capitals in the ids of lists, as the real service was seen to do.
    #[arg(long)]
    shouting_lists: bool,
    /// The one subscription that exists.
    #[arg(long, default_value = SUBSCRIPTION)]
    subscription: String,
    /// Region of everything that does not name its own.
    #[arg(long, default_value = "eastus2")]
    location: String,
    /// Resource group to start with; may be given more than once.
    #[arg(long = "group", default_value = "rg")]
    groups: Vec<String>,
    /// VM to start with, as NAME:SIZE[:ZONE], if it is not there; may be given more than once.
    #[arg(long = "vm")]
    vms: Vec<String>,
    /// File to write the port to, once it listens.
    #[arg(long)]
    port_file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Devices {
    Loop,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if !arguments.listen.ip().is_loopback() {
        return Err(
            format!("{} is not a loopback address: anybody could use this Azure", arguments.listen).into()
        );
    }
    let emulator = Emulator::new(Options {
        subscription: arguments.subscription,
        location: arguments.location,
        groups: arguments.groups,
        latency: arguments.latency,
        strict: arguments.strict,
        page: arguments.page,
        shouting_lists: arguments.shouting_lists,
        state: arguments.state,
        devices: arguments.devices.map(|Devices::Loop| DeviceKind::Loop),
        wall: wall(),
        ..Options::default()
    })?;
    for vm in &arguments.vms {
        let mut parts = vm.split(':');
        let (Some(name), Some(size)) = (parts.next(), parts.next()) else {
            return Err(format!("--vm {vm} is not NAME:SIZE[:ZONE]").into());
        };
        if !emulator.has_vm(name) {
            emulator.add_vm(name, size, parts.next().unwrap_or_default())?;
        }
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(arguments.listen).await?;
    let address = listener.local_addr()?;
    if let Some(path) = &arguments.port_file {
        let next = path.with_extension("next");
        std::fs::write(&next, address.port().to_string())?;
        std::fs::rename(&next, path)?;
    }
    // The one line that scripts wait for; a reader that went away is no reason to stop.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve(emulator.clone(), listener, stop).await?;
    emulator.close()?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reading of the wall clock; the model goes on with tokio's"
)]
fn wall() -> SystemTime {
    SystemTime::now()
}
