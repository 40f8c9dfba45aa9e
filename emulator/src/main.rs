//! The program `azure-emulator`: a local Azure on a loopback address, and behind https for who is elsewhere.
//!
//! It prints one line for each listener when all can be used, `listening on http://127.0.0.1:PORT` first. SIGTERM and SIGINT save the model,
//! release the block devices and end it with 0; the disks' bytes stay in the state directory.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use azure_emulator::{
    Authority, DeviceKind, Door, Emulator, Habits, Latency, Options, Races, SUBSCRIPTION, Subnet, Throttling,
    serve_doors,
};
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
    /// Address, any, of a second listener that speaks https: ARM, tokens and the cloud's description, no control.
    #[arg(long)]
    tls: Option<SocketAddr>,
    /// Name or address for the https certificate beside that of --tls; may be given more than once.
    #[arg(long = "tls-name", requires = "tls")]
    tls_names: Vec<String>,
    /// Address, any, of a listener for instance metadata and managed-identity tokens in plain http, as VMs know it from
    /// 169.254.169.254. It tells them by --address.
    #[arg(long)]
    metadata: Option<SocketAddr>,
    /// From where a VM asks for its metadata, as VM=ADDRESS or VM=SUBNET, instead of what was kept; may be given more
    /// than once, and the narrowest counts.
    #[arg(long = "address")]
    addresses: Vec<String>,
    /// File to write the certification authority to that clients must trust; with --state it is STATE/ca.crt, too.
    #[arg(long, requires = "tls")]
    ca_file: Option<PathBuf>,
    /// Directory that keeps the model and the disks' bytes. Without it nothing outlives the program.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Show attached disks as block devices below STATE/vms/<vm>; needs root and --state.
    #[arg(long, value_enum)]
    devices: Option<Devices>,
    /// How long operations take: instant, fixed:<milliseconds>, or as on Azure, realistic[:<seed>].
    #[arg(long, default_value = "instant")]
    latency: Latency,
    /// Whether writes that are too near in time collide: none, or azure.
    #[arg(long, default_value = "none")]
    races: Races,
    /// Throttle as Azure does: off, real, or real:<times as fast>.
    #[arg(long, default_value = "off")]
    throttle: Throttling,
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
    /// Seed of a second writer: another program that changes the VMs at random times, with disks of its own.
    #[arg(long)]
    second_writer: Option<u64>,
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
    let emulator = Emulator::new(options(&arguments))?;
    for vm in &arguments.vms {
        let mut parts = vm.split(':');
        let (Some(name), Some(size)) = (parts.next(), parts.next()) else {
            return Err(format!("--vm {vm} is not NAME:SIZE[:ZONE]").into());
        };
        if !emulator.has_vm(name) {
            emulator.add_vm(name, size, parts.next().unwrap_or_default())?;
        }
    }
    for (vm, subnets) in addresses(&arguments.addresses)? {
        emulator.set_addresses(&vm, &subnets).map_err(|error| format!("--address for {vm}: {error}"))?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut writer = match arguments.second_writer {
        Some(seed) => Some(emulator.second_writer(seed, Habits::default()).await?),
        None => None,
    };
    let (doors, lines) = open(&arguments).await?;
    // What scripts wait for; a reader that went away is no reason to stop.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{}", lines.join("\n")).and_then(|()| out.flush());
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let writes = async {
        match &mut writer {
            Some(writer) => writer.run().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = serve_doors(emulator.clone(), doors, stop) => served?,
        () = writes => {}
    }
    emulator.close()?;
    Ok(())
}

fn options(arguments: &Arguments) -> Options {
    Options {
        subscription: arguments.subscription.clone(),
        location: arguments.location.clone(),
        groups: arguments.groups.clone(),
        latency: arguments.latency,
        races: arguments.races,
        throttling: arguments.throttle,
        strict: arguments.strict,
        page: arguments.page,
        shouting_lists: arguments.shouting_lists,
        state: arguments.state.clone(),
        devices: arguments.devices.map(|Devices::Loop| DeviceKind::Loop),
        wall: wall(),
        ..Options::default()
    }
}

/// Binds every listener that is asked for, and tells in one line each where it is.
async fn open(arguments: &Arguments) -> Result<(Vec<Door>, Vec<String>), Box<dyn std::error::Error>> {
    let listener = bind(arguments.listen).await?;
    let address = listener.local_addr()?;
    let mut lines = vec![format!("listening on http://{address}")];
    let mut doors = vec![Door::inside(listener)];
    if let Some(tls) = arguments.tls {
        let authority = authority(arguments)?;
        let listener = bind(tls).await?;
        let names: Vec<String> =
            [tls.ip().to_string()].into_iter().chain(arguments.tls_names.iter().cloned()).collect();
        lines.push(format!("listening on https://{}", listener.local_addr()?));
        doors.push(Door::cloud(listener, authority.server(&names)?));
    }
    if let Some(metadata) = arguments.metadata {
        let listener = bind(metadata).await?;
        lines.push(format!("metadata on http://{}", listener.local_addr()?));
        doors.push(Door::metadata(listener));
    }
    if let Some(path) = &arguments.port_file {
        let next = path.with_extension("next");
        std::fs::write(&next, address.port().to_string())?;
        std::fs::rename(&next, path)?;
    }
    Ok((doors, lines))
}

/// VM → from where it speaks.
fn addresses(flags: &[String]) -> Result<BTreeMap<String, Vec<Subnet>>, String> {
    let mut all: BTreeMap<String, Vec<Subnet>> = BTreeMap::new();
    for flag in flags {
        let (vm, subnet) =
            flag.split_once('=').ok_or_else(|| format!("--address {flag} is not VM=SUBNET"))?;
        let subnet = subnet.parse().map_err(|error| format!("--address {flag}: {error}"))?;
        all.entry(vm.to_owned()).or_default().push(subnet);
    }
    Ok(all)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// Kept with the state, or else given out in a file: a client must have something to trust.
fn authority(arguments: &Arguments) -> Result<Authority, Box<dyn std::error::Error>> {
    let authority = match (&arguments.state, &arguments.ca_file) {
        (Some(state), _) => Authority::kept_in(state)?,
        (None, Some(_)) => Authority::new()?,
        (None, None) => {
            return Err("--tls needs --state or --ca-file: clients must know what to trust".into());
        }
    };
    if let Some(file) = &arguments.ca_file {
        authority.publish(file)?;
    }
    Ok(authority)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reading of the wall clock; the model goes on with tokio's"
)]
fn wall() -> SystemTime {
    SystemTime::now()
}
