//! The emulator's program and its control endpoint.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::Failure;
use crate::program::{Program, built};
use crate::tools::Moment;

/// The subscription, resource group and region of every world.
const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
const GROUP: &str = "e2e";
const LOCATION: &str = "eastus2";

/// A running emulator.
pub struct Emulator {
    program: Program,
    base: String,
    state: PathBuf,
}

/// What the emulator holds.
#[derive(Debug)]
pub struct State {
    /// The names of the disks.
    pub disks: Vec<String>,
    /// The names of the snapshots.
    pub snapshots: Vec<String>,
}

impl Emulator {
    /// Starts it with its state in `folder`; its operations take `latency`.
    pub async fn start(folder: &Path, latency: &str) -> Result<Emulator, Failure> {
        let state = folder.join("azure");
        let mut command = Command::new(built("azure-emulator")?);
        command
            .args(["--listen", "127.0.0.1:0", "--devices", "loop", "--strict", "--latency", latency])
            .args(["--subscription", SUBSCRIPTION, "--location", LOCATION, "--group", GROUP])
            .arg("--state")
            .arg(&state);
        let mut program = Program::start("azure-emulator", command, &folder.join("azure-emulator.log"))?;
        let log = folder.join("azure-emulator.log");
        let base = program
            .ready(async || {
                let text = std::fs::read_to_string(&log).ok()?;
                let line = text.lines().find_map(|line| line.strip_prefix("listening on "))?;
                Some(line.trim().to_owned())
            })
            .await?;
        Ok(Emulator { program, base, state })
    }

    /// Its address, as a URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Makes a VM for `node`.
    pub async fn add_vm(&self, node: &str, size: &str, zone: Option<&str>) -> Result<(), Failure> {
        let body = json!({"group": GROUP, "name": node, "size": size, "zone": zone.unwrap_or_default()});
        self.control("POST", "/vms", &body).await?;
        Ok(())
    }

    /// An azure.json for a driver.
    pub fn cloud_config(&self) -> String {
        json!({
            "cloud": "AzurePublicCloud",
            "tenantId": "00000000-0000-0000-0000-0000000000ff",
            "subscriptionId": SUBSCRIPTION,
            "resourceGroup": GROUP,
            "location": LOCATION,
            "useManagedIdentityExtension": true,
            "resourceManagerEndpoint": self.base,
        })
        .to_string()
    }

    /// Where a driver gets its tokens.
    pub fn identity_endpoint(&self) -> String {
        format!("{}/msi/token", self.base)
    }

    /// Where the driver on `node` finds its instance metadata.
    pub fn imds_endpoint(&self, node: &str) -> String {
        format!("{}/vms/{node}", self.base)
    }

    /// The root below which `node` has its devices.
    pub fn device_root(&self, node: &str) -> PathBuf {
        self.state.join("vms").join(node)
    }

    /// What it holds now.
    pub async fn state(&self) -> Result<State, Failure> {
        let state = self.control("GET", "", &Value::Null).await?;
        let names = |kind: &str| -> Vec<String> {
            let list = state[kind].as_array().into_iter().flatten();
            // The VMs' own disks come and go with them.
            let list = list.filter(|item| item["properties"].get("osType").is_none());
            list.map(|item| item["name"].as_str().unwrap_or_default().to_owned()).collect()
        };
        Ok(State { disks: names("disks"), snapshots: names("snapshots") })
    }

    /// The process `pid` dies at its `n`-th ARM request from now.
    pub async fn kill_at(&self, pid: u32, n: usize, moment: Moment) -> Result<(), Failure> {
        let moment = if moment == Moment::Before { "before" } else { "after" };
        let action = json!({"kind": "kill", "pid": pid, "moment": moment});
        self.control("POST", "/faults", &json!({"nth": n, "action": action})).await?;
        Ok(())
    }

    /// No fault is waiting any more, and ARM requests are counted from zero.
    pub async fn reset(&self) -> Result<(), Failure> {
        self.control("DELETE", "/faults", &Value::Null).await?;
        self.control("DELETE", "/requests", &Value::Null).await?;
        Ok(())
    }

    /// The ARM requests since the last [`Emulator::reset`].
    pub async fn requests(&self) -> Result<usize, Failure> {
        let log = self.control("GET", "/requests", &Value::Null).await?;
        Ok(log.as_array().map_or(0, Vec::len))
    }

    async fn control(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let text = send(method, &format!("{}/_emulator{path}", self.base), body.to_string()).await?;
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        self.program.terminate()?;
        let status = self.program.ended(Duration::from_secs(20)).await?;
        if status.success() { Ok(()) } else { Err(format!("azure-emulator ended with {status}").into()) }
    }

    /// Asks it to end and to release its loop devices, without waiting for a failed run's sake.
    pub(crate) fn release_on_drop(&mut self) {
        if !self.program.is_running() || self.program.terminate().is_err() {
            return;
        }
        self.program.wait_on_drop();
    }
}

/// The body behind a loopback URL.
pub async fn get(url: &str) -> Result<String, Failure> {
    send("GET", url, String::new()).await
}

/// The body of what is answered to `method` with `body`, behind a loopback URL; fails if it is no success.
pub async fn send(method: &str, url: &str, body: String) -> Result<String, Failure> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = http::Request::builder().method(method).uri(url).body(Full::from(body))?;
    let answer = client.request(request).await?;
    let status = answer.status();
    let text = String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()).into_owned();
    if status.is_success() { Ok(text) } else { Err(format!("{method} {url}: {status}: {text}").into()) }
}
