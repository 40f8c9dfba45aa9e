//! The emulator's control endpoint, as a test inside the cluster's network sees it. It is the judge of every test: what
//! Azure holds is known there, not by the driver.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::Failure;

/// Where the emulator listens inside the cluster's network.
const ADDRESS: &str = "http://127.0.0.1:7070";

/// A client of the emulator.
#[derive(Clone)]
pub struct Azure {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

impl Azure {
    /// The emulator of this cluster.
    pub fn local() -> Azure {
        Azure { client: Client::builder(TokioExecutor::new()).build_http(), base: ADDRESS.to_owned() }
    }

    /// All that it knows.
    pub async fn model(&self) -> Result<Value, Failure> {
        self.control("GET", "", &Value::Null).await
    }

    /// Operations that are accepted from now on take `milliseconds`.
    pub async fn set_latency(&self, milliseconds: u64) -> Result<(), Failure> {
        self.control("PUT", "/latency", &json!({ "operation_ms": milliseconds })).await?;
        Ok(())
    }

    /// Calls the control endpoint.
    pub async fn control(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, &format!("/_emulator{path}"), body).await
    }

    async fn send(&self, method: &str, path: &str, body: String) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let request = http::Request::builder().method(method).uri(&url);
        let request = request.header("content-type", "application/json").body(Full::from(body))?;
        let answer =
            self.client.request(request).await.map_err(|error| format!("{method} {url}: {error}"))?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{method} {url}: {status}: {}", String::from_utf8_lossy(&bytes)).into());
        }
        if bytes.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&bytes)?) }
    }
}
