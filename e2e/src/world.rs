//! An emulated Azure, one controller and some nodes, started as users start them: four and more
//! processes that share nothing but sockets, a folder and the kernel.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::sleep;
use tonic::{Code, Response, Status};

use crate::Failure;
use crate::azure::Emulator;
use crate::client::Clients;
use crate::program::{LOOK_AGAIN, Program, built};
use crate::tools::Tools;
use crate::traces;

/// How often a sidecar would repeat a call that says "not now" before this run gives up.
const REPEATS: usize = 400;

/// What a world is made of.
pub struct Options {
    /// How long an operation takes: `instant` or `fixed:<ms>`.
    pub latency: String,
    /// The size of every VM.
    pub vm_size: String,
    /// The zone of every VM; none: a region without zones.
    pub zone: Option<String>,
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// Whether the nodes' tools are wrapped (see [`Tools`]).
    pub wrap_tools: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            latency: "instant".to_owned(),
            vm_size: "Standard_D2s_v5".to_owned(),
            zone: None,
            nodes: vec!["node-a".to_owned(), "node-b".to_owned()],
            wrap_tools: false,
        }
    }
}

/// A running world. Dropping it ends its programs and unmounts what they left.
pub struct World {
    /// The local Azure.
    pub azure: Emulator,
    /// The controller.
    pub controller: Driver,
    /// The nodes, as named in [`Options::nodes`].
    pub nodes: Vec<Driver>,
    /// The wrapped tools, if asked for.
    pub tools: Option<Tools>,
    folder: PathBuf,
    _temporary: tempfile::TempDir,
}

impl World {
    /// Starts everything and waits until it answers.
    pub async fn start(options: Options) -> Result<World, Failure> {
        let temporary = tempfile::Builder::new().prefix("azuredisk-e2e-").tempdir()?;
        let folder = temporary.path().canonicalize()?;
        let azure = Emulator::start(&folder, &options.latency).await?;
        for node in &options.nodes {
            azure.add_vm(node, &options.vm_size, options.zone.as_deref()).await?;
        }
        let tools = if options.wrap_tools { Some(Tools::wrap(&folder.join("tools"))?) } else { None };
        let credentials = folder.join("azure.json");
        std::fs::write(&credentials, azure.cloud_config())?;

        let setting = |name: &str, arguments: Vec<String>| Setting {
            name: name.to_owned(),
            arguments,
            credentials: credentials.clone(),
            path: tools.as_ref().map(Tools::path),
            identity_endpoint: azure.identity_endpoint(),
            folder: folder.clone(),
        };
        let controller = Driver::start(setting("controller", Vec::new())).await?;
        let mut nodes = Vec::new();
        for node in &options.nodes {
            let arguments = vec![
                format!("--nodeid={node}"),
                format!("--device-root={}", azure.device_root(node).display()),
                format!("--imds-endpoint={}", azure.imds_endpoint(node)),
            ];
            nodes.push(Driver::start(setting(node, arguments)).await?);
        }
        Ok(World { azure, controller, nodes, tools, folder, _temporary: temporary })
    }

    /// The folder that holds everything of this world.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where `volume` is staged or published (`what`) on node number `node`.
    pub fn path(&self, node: usize, what: &str, volume: &str) -> Result<PathBuf, Failure> {
        let parent = self.folder.join("kubelet").join(&self.nodes[node].setting.name).join(what);
        std::fs::create_dir_all(&parent)?;
        Ok(parent.join(volume))
    }

    /// Fails if a disk, a snapshot, a mount, or a loop device other than the VMs' own is left.
    pub async fn nothing_left(&self) -> Result<(), Failure> {
        let state = self.azure.state().await?;
        let mounts = traces::mounts(&self.folder)?;
        let loops = traces::loop_devices(&self.folder.join("azure/disks"))?;
        if state.disks.is_empty() && state.snapshots.is_empty() && mounts.is_empty() && loops.is_empty() {
            return Ok(());
        }
        let (disks, snapshots) = (&state.disks, &state.snapshots);
        Err(format!("left: disks {disks:?}, snapshots {snapshots:?}, mounts {mounts:?}, loops {loops:?}")
            .into())
    }

    /// Ends every program as an operator would, and fails if that leaves a loop device or a mount.
    pub async fn stop(mut self) -> Result<Left, Failure> {
        for driver in self.nodes.iter_mut().chain([&mut self.controller]) {
            driver.stop().await?;
        }
        let disks = self.azure.state().await?.disks.len();
        self.azure.stop().await?;
        let loops = traces::loop_devices(&self.folder)?.len();
        Ok(Left { disks, loops, mounts: traces::mounts(&self.folder)?.len() })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        traces::unmount_all(&self.folder);
        self.azure.release_on_drop();
    }
}

/// What a stopped world left behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// Disks in Azure.
    pub disks: usize,
    /// Loop devices with a file of this world.
    pub loops: usize,
    /// Mounts below the world's folder.
    pub mounts: usize,
}

struct Setting {
    name: String,
    arguments: Vec<String>,
    credentials: PathBuf,
    path: Option<String>,
    identity_endpoint: String,
    folder: PathBuf,
}

/// A driver process that is started again when it dies.
pub struct Driver {
    setting: Setting,
    program: Program,
    clients: Clients,
    metrics: String,
    deaths: usize,
}

impl Driver {
    async fn start(setting: Setting) -> Result<Driver, Failure> {
        let metrics = free_address()?;
        let (program, clients) = launch(&setting, &metrics).await?;
        Ok(Driver { setting, program, clients, metrics, deaths: 0 })
    }

    /// Its name: `controller`, or the node's.
    pub fn name(&self) -> &str {
        &self.setting.name
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        socket(&self.setting)
    }

    /// Its metrics, as Prometheus reads them.
    pub async fn metrics(&self) -> Result<String, Failure> {
        crate::azure::get(&format!("http://{}/metrics", self.metrics)).await
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32, Failure> {
        self.program.pid().ok_or_else(|| format!("{} has ended", self.setting.name).into())
    }

    /// How often it died and was started again.
    pub fn deaths(&self) -> usize {
        self.deaths
    }

    /// The process, to signal it or to read what it logged.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// A client of it.
    pub fn clients(&self) -> Clients {
        self.clients.clone()
    }

    /// Makes one call as a sidecar would: again while the answer says "not now", and again after the driver
    /// died and was started anew. What is neither is the answer.
    pub async fn ask<T>(
        &mut self,
        rpc: impl AsyncFn(Clients) -> Result<Response<T>, Status>,
    ) -> Result<Result<T, Status>, Failure> {
        for _ in 0..REPEATS {
            let status = match rpc(self.clients.clone()).await {
                Ok(answer) => return Ok(Ok(answer.into_inner())),
                Err(status) => status,
            };
            if self.revive().await? {
                continue;
            }
            match status.code() {
                Code::Unavailable | Code::Aborted | Code::DeadlineExceeded => sleep(LOOK_AGAIN * 4).await,
                _ => return Ok(Err(status)),
            }
        }
        Err(format!("{} said \"not now\" {REPEATS} times:\n{}", self.setting.name, self.program.tail())
            .into())
    }

    /// Makes one call that must succeed; see [`Driver::ask`].
    pub async fn call<T>(
        &mut self,
        what: &str,
        rpc: impl AsyncFn(Clients) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let name = self.setting.name.clone();
        self.ask(rpc)
            .await?
            .map_err(|status| format!("{what} on {name}: {:?}: {}", status.code(), status.message()).into())
    }

    /// Starts it again if it is dead; says whether it was. A killed process may take a moment to be seen so.
    pub async fn revive(&mut self) -> Result<bool, Failure> {
        let alive =
            self.program.is_running() && self.clients.identity.probe(csi::v1::ProbeRequest {}).await.is_ok();
        if alive {
            return Ok(false);
        }
        self.program.ended(Duration::from_secs(10)).await?;
        self.deaths += 1;
        (self.program, self.clients) = launch(&self.setting, &self.metrics).await?;
        Ok(true)
    }

    /// Kills it and starts it again: it remembers nothing.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        self.program.kill().await?;
        (self.program, self.clients) = launch(&self.setting, &self.metrics).await?;
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        self.program.terminate()?;
        let status = self.program.ended(Duration::from_secs(10)).await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{} ended with {status}", self.setting.name).into())
        }
    }
}

fn socket(setting: &Setting) -> PathBuf {
    setting.folder.join(format!("{}.sock", setting.name))
}

async fn launch(setting: &Setting, metrics: &str) -> Result<(Program, Clients), Failure> {
    let socket = socket(setting);
    let mut command = Command::new(built("azuredisk-csi")?);
    command
        .arg(format!("--endpoint=unix://{}", socket.display()))
        .arg(format!("--metrics-address={metrics}"))
        .args(&setting.arguments)
        .env("AZURE_CREDENTIAL_FILE", &setting.credentials)
        .env("IDENTITY_ENDPOINT", &setting.identity_endpoint)
        .env("IDENTITY_HEADER", "e2e");
    if let Some(path) = &setting.path {
        command.env("PATH", path);
    }
    let log = setting.folder.join(format!("{}.log", setting.name));
    let mut program = Program::start(&setting.name, command, &log)?;
    let clients = program
        .ready(async || {
            let mut clients = Clients::connect(&socket).await.ok()?;
            clients.identity.probe(csi::v1::ProbeRequest {}).await.ok()?;
            Some(clients)
        })
        .await?;
    Ok((program, clients))
}

/// A loopback address that was free a moment ago.
fn free_address() -> Result<String, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
