//! Kubernetes as a test sees it: kubectl for what changes something, and a proxy of kubectl's for what is looked at, so
//! that a look costs a request and not a process.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::wait::{holds, until};
use crate::Failure;
use crate::cluster::Cluster;
use crate::place::Place;

/// How long one answer may take; an API server that is down gives none.
const ANSWER: Duration = Duration::from_secs(10);

/// A cluster's API, by its administrator's credentials.
pub struct Kubernetes {
    cluster: Cluster,
    client: Client<HttpConnector, Empty<Bytes>>,
    base: String,
    /// Ends with this value, its output too: a proxy that writes to nobody would end before.
    _proxy: (Child, Lines<BufReader<ChildStdout>>),
}

impl Kubernetes {
    /// Opens the API of the running cluster.
    pub async fn open(place: &Place) -> Result<Kubernetes, Failure> {
        let cluster = Cluster::open(place.clone())?;
        let mut command = Command::new(place.tool("kubectl"));
        command.arg("--kubeconfig").arg(place.kubeconfig()).kill_on_drop(true);
        command.args(["proxy", "--port=0"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut proxy = command.spawn()?;
        let stdout = proxy.stdout.take().ok_or("kubectl proxy has no output")?;
        let mut output = BufReader::new(stdout).lines();
        let line = output.next_line().await?.unwrap_or_default();
        let address = line
            .strip_prefix("Starting to serve on ")
            .ok_or_else(|| format!("kubectl proxy did not start: it said `{line}` instead of its address"))?;
        let base = format!("http://{address}");
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Kubernetes { cluster, client, base, _proxy: (proxy, output) })
    }

    /// Runs kubectl and answers what it printed.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Result<String, Failure> {
        self.cluster.kubectl(arguments, input).await
    }

    /// Creates objects, all or as many as came before the first refusal.
    pub async fn create(&self, objects: &[Value]) -> Result<(), Failure> {
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        self.run(&["create", "-f", "-"], &list.to_string()).await?;
        Ok(())
    }

    /// Deletes objects, named as kubectl names them, and waits until they are gone.
    pub async fn delete(&self, namespace: &str, names: &[&str]) -> Result<(), Failure> {
        let head = ["delete", "--namespace", namespace, "--timeout=180s", "--ignore-not-found"];
        self.run(&[&head, names].concat(), "").await?;
        Ok(())
    }

    /// Runs a shell script in a pod and answers what it printed.
    pub async fn shell(&self, namespace: &str, pod: &str, script: &str) -> Result<String, Failure> {
        self.run(&["exec", "--namespace", namespace, pod, "--", "sh", "-ec", script], "").await
    }

    /// What the API answers at `path`.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let request = http::Request::builder().uri(&url).body(Empty::new())?;
        let answer = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            Ok::<_, Failure>((status, answer.into_body().collect().await?.to_bytes()))
        };
        let late = |_| format!("GET {path}: no answer in {ANSWER:?}");
        let (status, bytes) = tokio::time::timeout(ANSWER, answer).await.map_err(late)??;
        if !status.is_success() {
            let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            return Err(format!("GET {path}: {status}: {}", said["message"]).into());
        }
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// The items of the list at `path`.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut list = self.get(path).await?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Err(format!("GET {path}: not a list").into()),
        }
    }

    /// A pod of a namespace.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Value, Failure> {
        self.get(&format!("/api/v1/namespaces/{namespace}/pods/{name}")).await
    }

    /// A claim of a namespace.
    pub async fn claim(&self, namespace: &str, name: &str) -> Result<Value, Failure> {
        self.get(&format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")).await
    }

    /// The attachments of all volumes.
    pub async fn attachments(&self) -> Result<Vec<Value>, Failure> {
        self.list("/apis/storage.k8s.io/v1/volumeattachments").await
    }

    /// Waits until a pod is ready; answers it.
    pub async fn ready(&self, namespace: &str, name: &str, limit: Duration) -> Result<Value, Failure> {
        until(&format!("pod {name} is ready"), limit, async || {
            let pod = self.pod(namespace, name).await?;
            holds(is_ready(&pod), || lacking(&pod))?;
            Ok(pod)
        })
        .await
    }

    /// Waits until the condition Ready of a node is `status`: `True`, `False` or `Unknown`.
    pub async fn node_is(&self, name: &str, status: &str, limit: Duration) -> Result<(), Failure> {
        until(&format!("Ready of node {name} is {status}"), limit, async || {
            let node = self.get(&format!("/api/v1/nodes/{name}")).await?;
            let found = condition(&node, "Ready");
            holds(found == status, || format!("it is {found}"))
        })
        .await
    }
}

/// The status of a condition of an object: `True`, `False`, `Unknown`, or nothing where it is not there.
pub fn condition<'a>(object: &'a Value, name: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.filter(|condition| condition["type"] == name);
    found.map(|condition| condition["status"].as_str().unwrap_or_default()).next_back().unwrap_or_default()
}

/// Whether a pod is ready and meant to stay.
pub fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready") == "True" && pod["metadata"]["deletionTimestamp"].is_null()
}

/// What a pod that is not ready says of itself.
fn lacking(pod: &Value) -> String {
    let status = &pod["status"];
    let waiting = &status["containerStatuses"][0]["state"];
    let scheduled = status["conditions"].as_array().into_iter().flatten();
    let refusals: Vec<_> = scheduled.filter_map(|condition| condition["message"].as_str()).collect();
    format!("phase {}, container {waiting}, {}", status["phase"], refusals.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(pod: &Value, expected: bool) {
        assert_eq!(is_ready(pod), expected, "{pod}");
    }

    #[test]
    fn a_pod_that_goes_is_not_ready() {
        let ready =
            json!([{ "type": "Initialized", "status": "False" }, { "type": "Ready", "status": "True" }]);
        check(&json!({ "status": { "conditions": ready } }), true);
        check(
            &json!({ "metadata": { "deletionTimestamp": "now" }, "status": { "conditions": ready } }),
            false,
        );
        check(&json!({ "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }] } }), false);
        check(&json!({}), false);
    }

    #[test]
    fn a_pod_that_waits_says_for_what() {
        let pod = json!({ "status": {
            "phase": "Pending",
            "conditions": [{ "type": "PodScheduled", "status": "False", "message": "no node" }],
        } });
        assert_eq!(lacking(&pod), "phase \"Pending\", container null, no node");
    }
}
