//! What the driver weighs and how fast it is there, beside a bare tonic server measured in the same run:
//! size of the stripped program, idle memory in both modes, time from start to an open socket with Azure and
//! Kubernetes out of reach, and calls per second. Tells which promises of the README are broken.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use csi::v1::ProbeRequest;
use csi::v1::identity_client::IdentityClient;
use e2e::program::built;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::driver::memory_of;
use crate::row::megabytes;

type Outcome<T> = Result<T, e2e::Failure>;

const STARTS: usize = 25;
const CALLS: usize = 20_000;
const IN_FLIGHT: usize = 50;
/// After this long nothing of the start is still going on.
const SETTLED: Duration = Duration::from_secs(2);

/// What must hold: bytes of the program, bytes of memory, time to the socket.
const MOST_BYTES: u64 = 8_000_000;
const MOST_MEMORY: u64 = 8_000_000;
const LATEST: Duration = Duration::from_millis(15);

/// One way to start a program.
struct Subject {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    credentials: PathBuf,
}

struct Figures {
    bytes: u64,
    memory: u64,
    memory_after_calls: u64,
    /// Sorted.
    starts: Vec<Duration>,
    calls_per_second: f64,
}

/// Prints the table; true if every promise is kept.
pub(crate) async fn print() -> Outcome<bool> {
    let place = tempfile::tempdir()?;
    let socket = place.path().join("csi.sock");
    let credentials = place.path().join("azure.json");
    // 192.0.2.0/24 is reserved for documentation: packets to it get no answer.
    let text = r#"{"tenantId": "00000000-0000-0000-0000-000000000001", "aadClientId": "c", "aadClientSecret": "s",
        "subscriptionId": "00000000-0000-0000-0000-000000000002", "resourceGroup": "group",
        "location": "eastus2", "resourceManagerEndpoint": "https://192.0.2.1"}"#;
    std::fs::write(&credentials, text)?;

    let endpoint = format!("--endpoint=unix://{}", socket.display());
    let (bare, driver) = (built("bare")?, built("azuredisk-csi")?);
    let subject = |name, program: &Path, arguments: &[&str]| Subject {
        name,
        program: program.to_owned(),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        credentials: credentials.clone(),
    };
    let subjects = [
        subject("bare tonic", &bare, &[&socket.display().to_string()]),
        subject("controller", &driver, &[&endpoint, "--metrics-address=127.0.0.1:0"]),
        subject("node", &driver, &[&endpoint, "--metrics-address=127.0.0.1:0", "--nodeid=node-a"]),
    ];
    println!(
        "{:<12} {:>10} {:>10} {:>12} {:>11} {:>11} {:>9}",
        "", "program", "idle RSS", "after calls", "start: med", "max", "calls/s"
    );
    let mut broken = Vec::new();
    for subject in &subjects {
        let figures = measure(subject, &socket).await?;
        let (median, latest) = (figures.starts[STARTS / 2], figures.starts[STARTS - 1]);
        println!(
            "{:<12} {:>10} {:>10} {:>12} {:>11} {:>11} {:>9.0}",
            subject.name,
            megabytes(figures.bytes),
            megabytes(figures.memory),
            megabytes(figures.memory_after_calls),
            milliseconds(median),
            milliseconds(latest),
            figures.calls_per_second,
        );
        if subject.name != "bare tonic" {
            broken.extend(judge(subject.name, &figures, median));
        }
    }
    println!(
        "promised for the driver: program and idle RSS at most 8 MB, start (median of {STARTS}) at most 15 ms"
    );
    for line in &broken {
        println!("BROKEN: {line}");
    }
    Ok(broken.is_empty())
}

async fn measure(subject: &Subject, socket: &Path) -> Outcome<Figures> {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let (child, took) = start(subject, socket)?;
        starts.push(took);
        end(child, socket).await?;
    }
    starts.sort();

    let (child, _) = start(subject, socket)?;
    let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))?.connect().await?;
    IdentityClient::new(channel.clone()).probe(ProbeRequest {}).await?;
    tokio::time::sleep(SETTLED).await;
    let memory = memory(&child)?;
    let calls_per_second = flood(channel).await?;
    let memory_after_calls = self::memory(&child)?;
    end(child, socket).await?;
    let bytes = std::fs::metadata(&subject.program)?.len();
    Ok(Figures { bytes, memory, memory_after_calls, starts, calls_per_second })
}

/// Starts the program and waits, without sleeping, until its socket takes a connection.
fn start(subject: &Subject, socket: &Path) -> Outcome<(Child, Duration)> {
    let began = Instant::now();
    let child = Command::new(&subject.program)
        .args(&subject.arguments)
        .env_clear()
        .env("AZURE_CREDENTIAL_FILE", &subject.credentials)
        .env("KUBERNETES_SERVICE_HOST", "192.0.2.2")
        .env("KUBERNETES_SERVICE_PORT", "443")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    while std::os::unix::net::UnixStream::connect(socket).is_err() {
        if began.elapsed() > Duration::from_secs(10) {
            return Err(format!("{} opens no socket", subject.name).into());
        }
        std::thread::yield_now();
    }
    Ok((child, began.elapsed()))
}

async fn end(mut child: Child, socket: &Path) -> Outcome<()> {
    child.kill().await?;
    std::fs::remove_file(socket)?;
    Ok(())
}

/// Resident memory in bytes.
fn memory(child: &Child) -> Outcome<u64> {
    Ok(memory_of(child.id().ok_or("the program has ended")?)?.now)
}

/// Probes per second, with some in flight all the time.
async fn flood(channel: Channel) -> Outcome<f64> {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let mut client = IdentityClient::new(channel.clone());
        callers.spawn(async move {
            for _ in 0..CALLS / IN_FLIGHT {
                client.probe(ProbeRequest {}).await?;
            }
            Ok::<(), tonic::Status>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    let calls = f64::from(u32::try_from(CALLS)?);
    Ok(calls / began.elapsed().as_secs_f64())
}

fn judge(name: &str, figures: &Figures, median: Duration) -> Vec<String> {
    let mut broken = Vec::new();
    if figures.bytes > MOST_BYTES {
        broken.push(format!("{name}: the program is {}", megabytes(figures.bytes)));
    }
    if figures.memory > MOST_MEMORY {
        broken.push(format!("{name}: idle it holds {}", megabytes(figures.memory)));
    }
    if median > LATEST {
        broken.push(format!("{name}: its socket is there after {}", milliseconds(median)));
    }
    broken
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
