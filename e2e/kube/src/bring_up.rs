//! The start as a user sees it: waits for each part in turn and says so. Runs in the outer namespaces.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::cluster::Cluster;
use crate::progress;

/// How long everything may take: the machine may be slow, and a start that hangs must say so.
const DEADLINE: Duration = Duration::from_mins(5);

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until the cluster is of use, or says why it is not. Its own failure is told, not repeated.
pub async fn bring_up(cluster: &Cluster) -> Result<(), Failure> {
    let place = cluster.place();
    let outcome = match timeout(DEADLINE, steps(cluster)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("not up after {DEADLINE:?}; see {}", place.state.join("log").display()).into()),
    };
    match outcome {
        Ok(()) => progress::ready(place),
        Err(error) => progress::failed(place, &error.to_string()),
    }
}

/// Comes back when the API server answers.
pub async fn await_api(cluster: &Cluster) -> Result<(), Failure> {
    while cluster.kubectl(&["get", "--raw=/readyz"]).await.is_err() {
        sleep(LOOK_AGAIN).await;
    }
    progress::say(cluster.place(), "API server is ready")
}

async fn steps(cluster: &Cluster) -> Result<(), Failure> {
    let say = |line: &str| progress::say(cluster.place(), line);
    for node in &cluster.shape().nodes {
        while !is_ready(cluster, &node.name).await {
            sleep(LOOK_AGAIN).await;
        }
        say(&format!("node {} is ready", node.name))?;
    }
    Ok(())
}

/// A node that is not there yet is not ready.
async fn is_ready(cluster: &Cluster, node: &str) -> bool {
    let Ok(text) = cluster.kubectl(&["get", "node", node, "--output=json"]).await else { return false };
    let node: Value = serde_json::from_str(&text).unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
