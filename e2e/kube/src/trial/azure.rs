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

/// The version of the resource manager's API that a portal would speak.
const API_VERSION: &str = "2024-07-01";

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

    /// How many milliseconds an operation takes.
    pub async fn latency(&self) -> Result<u64, Failure> {
        let latency = self.control("PUT", "/latency", &json!({})).await?;
        Ok(latency["operation_ms"].as_u64().ok_or("the emulator does not tell its latency")?)
    }

    /// Operations that are accepted from now on take `milliseconds`.
    pub async fn set_latency(&self, milliseconds: u64) -> Result<(), Failure> {
        self.control("PUT", "/latency", &json!({ "operation_ms": milliseconds })).await?;
        Ok(())
    }

    /// Asks Azure for a verb of a VM, as a portal would: `powerOff`, `start`.
    pub async fn vm(&self, name: &str, verb: &str) -> Result<(), Failure> {
        let model = self.model().await?;
        let id = find(&model, name)?["id"].as_str().unwrap_or_default();
        self.send("POST", &format!("{id}/{verb}?api-version={API_VERSION}"), String::new()).await?;
        Ok(())
    }

    /// What [`Azure::add_vm`] needs to make a VM again.
    pub async fn described(&self, name: &str) -> Result<Value, Failure> {
        let model = self.model().await?;
        Ok(description(&model, find(&model, name)?))
    }

    /// Makes a VM.
    pub async fn add_vm(&self, description: &Value) -> Result<(), Failure> {
        self.control("POST", "/vms", description).await?;
        Ok(())
    }

    /// A VM and its devices are gone at once.
    pub async fn delete_vm(&self, name: &str) -> Result<(), Failure> {
        self.control("DELETE", &format!("/vms/{name}"), &Value::Null).await?;
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
        // Any token will do.
        let request =
            request.header("authorization", "Bearer trial").header("content-type", "application/json");
        let request = request.body(Full::from(body))?;
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

/// A VM of the model.
fn find<'a>(model: &'a Value, name: &str) -> Result<&'a Value, Failure> {
    let mut vms = model["vms"].as_array().into_iter().flatten();
    Ok(vms.find(|vm| vm["name"] == name).ok_or_else(|| format!("Azure has no VM {name}"))?)
}

/// A VM of the model as the control endpoint takes it. By its addresses it is known when it asks who it is.
fn description(model: &Value, vm: &Value) -> Value {
    let id = vm["id"].as_str().unwrap_or_default();
    json!({
        "name": vm["name"],
        "size": vm["properties"]["hardwareProfile"]["vmSize"],
        "zone": vm["zones"][0].as_str().unwrap_or_default(),
        "group": id.split('/').nth(4),
        "addresses": model["addresses"][id].as_array().cloned().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_is_made_again_as_it_was() {
        let id = "/subscriptions/s/resourceGroups/k8s/providers/Microsoft.Compute/virtualMachines/n2";
        let size = json!({ "vmSize": "Standard_D16s_v5" });
        let model = json!({
            "vms": [{ "name": "n2", "id": id, "zones": ["2"], "properties": { "hardwareProfile": size } }],
            "addresses": { id: ["10.90.0.12/32"] },
        });
        let expected = json!({
            "name": "n2", "size": "Standard_D16s_v5", "zone": "2", "group": "k8s", "addresses": ["10.90.0.12/32"],
        });
        assert_eq!(description(&model, find(&model, "n2").unwrap()), expected);
        assert!(find(&model, "n3").is_err());
    }
}
