//! The emulator behind a port, on a thread of its own, so that a test may block while a program talks to it.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use azure_emulator::{Emulator, Latency, Options, SUBSCRIPTION};
use http_body_util::BodyExt as _;

/// A request that never comes fails its test after this long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A local Azure with one node, `node-a`.
pub(crate) struct Azure {
    address: SocketAddr,
    /// "METHOD path" of every request, as it comes in.
    requests: Receiver<String>,
}

impl Azure {
    /// Operations take `operation`.
    pub(crate) fn start(operation: Duration) -> Azure {
        let options = Options { latency: Latency::fixed(operation), ..Options::default() };
        let emulator = Emulator::new(options).unwrap();
        emulator.add_vm("node-a", "Standard_D4s_v5", "").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (told, requests) = channel();
        let router = axum::Router::new().fallback(move |request: axum::extract::Request| {
            let (door, told) = (emulator.clone(), told.clone());
            async move {
                let (parts, body) = request.into_parts();
                // Nobody listens once the test is over.
                let _ = told.send(format!("{} {}", parts.method, parts.uri.path()));
                let body = body.collect().await.unwrap().to_bytes();
                door.handle(http::Request::from_parts(parts, body)).await.map(axum::body::Body::from)
            }
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Azure { address, requests }
    }

    /// What `azure.json` says of it.
    pub(crate) fn credential_file(&self) -> String {
        let address = self.address;
        format!(
            r#"{{"tenantId": "00000000-0000-4000-8000-000000000009", "subscriptionId": "{SUBSCRIPTION}",
                "resourceGroup": "rg", "location": "eastus2", "useManagedIdentityExtension": true,
                "vmType": "standard", "resourceManagerEndpoint": "http://{address}"}}"#
        )
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until a request with `part` in its method and path has come in.
    pub(crate) fn await_request(&self, part: &str) {
        while !self.requests.recv_timeout(PATIENCE).unwrap().contains(part) {}
    }
}
