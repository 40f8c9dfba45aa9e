//! The smallest ARM client: sends one request to an emulator in process and reads status, headers and JSON.

use std::time::Duration;

use azure_emulator::{Emulator, Latency, Options, SUBSCRIPTION};
use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::{Value, json};

/// An emulator and the token to use it.
pub(crate) struct Client {
    pub(crate) emulator: Emulator,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn slow(operation: Duration) -> Self {
        Self::with(Options { latency: Latency::fixed(operation), ..Options::default() })
    }

    pub(crate) fn with(options: Options) -> Self {
        Self { emulator: Emulator::new(options).unwrap() }
    }

    /// Sends to a path below `…/resourceGroups/rg/providers/Microsoft.Compute/`, or to a whole URL.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Reply {
        self.send_with(method, path, body, &[]).await
    }

    pub(crate) async fn send_with(
        &self,
        method: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Reply {
        let uri = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("http://emulator{}?api-version=2025-04-01", id(path))
        };
        let mut request = Request::builder().method(method).uri(uri).header("authorization", "Bearer t");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let (head, bytes) = self.emulator.handle(request.body(bytes).unwrap()).await.into_parts();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Reply { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let reply = self.send("GET", path, Value::Null).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    }

    pub(crate) async fn poll(&self, accepted: &Reply) -> Value {
        self.get(accepted.header("azure-asyncoperation")).await
    }

    /// Creates an empty disk and waits for it.
    pub(crate) async fn disk(&self, name: &str, sku: &str, gib: u64) -> String {
        let body = json!({ "location": "eastus2", "sku": { "name": sku },
            "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": gib } });
        self.create(name, body).await
    }

    pub(crate) async fn create(&self, name: &str, body: Value) -> String {
        let reply = self.send("PUT", &format!("disks/{name}"), body).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        self.end(&reply).await;
        id(&format!("disks/{name}"))
    }

    /// Waits until an accepted operation has ended; answers its last poll.
    pub(crate) async fn end(&self, accepted: &Reply) -> Value {
        loop {
            let poll = self.poll(accepted).await;
            if poll["status"] != "InProgress" {
                return poll;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn attach(&self, vm: &str, disks: Value) -> Reply {
        let body = json!({ "dataDisksToAttach": disks });
        self.send("POST", &format!("virtualMachines/{vm}/attachDetachDataDisks"), body).await
    }

    pub(crate) async fn detach(&self, vm: &str, disk: &str) -> Reply {
        let body = json!({ "dataDisksToDetach": [{ "diskId": disk }] });
        self.send("POST", &format!("virtualMachines/{vm}/attachDetachDataDisks"), body).await
    }
}

/// The ARM id of a path below the provider.
pub(crate) fn id(path: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/{path}")
}
