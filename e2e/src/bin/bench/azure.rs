//! The emulated Azure that a driver is measured on, seen through its control endpoint only: one of this process,
//! on a thread of its own, or one that somebody else started.

use azure_emulator::{Emulator, LoggedRequest, Options, SUBSCRIPTION};
use e2e::Failure;
use e2e::azure::send;
use serde_json::{Value, json};

use crate::cases::Pace;

/// Takes 32 data disks.
const SIZE: &str = "Standard_D16s_v5";

/// An emulator's address.
pub(crate) struct Azure {
    base: String,
}

impl Azure {
    /// Starts one without devices or state, which ends with this process.
    pub(crate) fn serve() -> Result<Azure, Failure> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let base = format!("http://{}", listener.local_addr()?);
        let emulator = Emulator::new(Options { strict: true, ..Options::default() })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            azure_emulator::serve(emulator, listener, std::future::pending()).await
        };
        std::thread::Builder::new().name("azure".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serving) {
                eprintln!("the emulator ended: {error}");
            }
        })?;
        Ok(Azure { base })
    }

    /// The one that listens at `base`, a URL.
    pub(crate) fn at(base: &str) -> Azure {
        Azure { base: base.trim_end_matches('/').to_owned() }
    }

    /// The name of VM number `vm`, which is also its node's.
    pub(crate) fn node(vm: usize) -> String {
        format!("bench-{vm:03}")
    }

    /// An azure.json for a driver on [`Azure::serve`].
    pub(crate) fn cloud_config(&self) -> String {
        cloud_config(&self.base)
    }

    /// Where such a driver gets its tokens.
    pub(crate) fn identity_endpoint(&self) -> String {
        format!("{}/msi/token", self.base)
    }

    /// Makes the first `count` VMs, anew if an earlier run left them.
    pub(crate) async fn add_vms(&self, count: usize) -> Result<(), Failure> {
        self.remove_vms(count).await;
        for vm in 0..count {
            self.control("POST", "/vms", &json!({"name": Azure::node(vm), "size": SIZE})).await?;
        }
        Ok(())
    }

    /// Takes them away again, as far as they are there.
    pub(crate) async fn remove_vms(&self, count: usize) {
        for vm in 0..count {
            // That it is not there is as good.
            let _ = self.control("DELETE", &format!("/vms/{}", Azure::node(vm)), &Value::Null).await;
        }
    }

    /// From now on Azure is as slow as this.
    pub(crate) async fn set_pace(&self, pace: Pace) -> Result<(), Failure> {
        self.control("PUT", "/latency", &pace.durations()).await.map(drop)
    }

    /// Throttles as `mode` says (`off`, `real`, `real:SPEED`), with full buckets.
    pub(crate) async fn set_throttle(&self, mode: &str) -> Result<(), Failure> {
        self.control("PUT", "/throttle", &json!({"mode": mode})).await.map(drop)
    }

    /// Forgets the requests so far.
    pub(crate) async fn forget_requests(&self) -> Result<(), Failure> {
        self.control("DELETE", "/requests", &Value::Null).await.map(drop)
    }

    /// Every request since then; fails if there were more than the emulator remembers.
    pub(crate) async fn requests(&self) -> Result<Vec<LoggedRequest>, Failure> {
        let log: Vec<LoggedRequest> =
            serde_json::from_value(self.control("GET", "/requests", &Value::Null).await?)?;
        if log.first().is_some_and(|first| first.n > 1) {
            return Err("there were more requests than the emulator's log holds".into());
        }
        Ok(log)
    }

    async fn control(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let text = send(method, &format!("{}/_emulator{path}", self.base), body.to_string()).await?;
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }
}

/// An azure.json for the emulator of [`Options::default`] at `base`.
pub(crate) fn cloud_config(base: &str) -> String {
    json!({
        "cloud": "AzurePublicCloud",
        "tenantId": "00000000-0000-0000-0000-0000000000ff",
        "subscriptionId": SUBSCRIPTION,
        "resourceGroup": "rg",
        "location": "eastus2",
        "useManagedIdentityExtension": true,
        "resourceManagerEndpoint": base,
    })
    .to_string()
}
