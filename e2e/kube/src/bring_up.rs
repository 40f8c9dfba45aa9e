//! The start as a user sees it: waits for each part in turn and says so. Runs in the outer namespaces.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::deploy::Kubectl;
use crate::place::Place;
use crate::progress;
use crate::shape::Shape;

/// How long everything may take: the machine may be slow, and a start that hangs must say so.
const DEADLINE: Duration = Duration::from_mins(5);

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until the cluster is of use, or says why it is not. Its own failure is told, not repeated.
pub async fn bring_up(place: &Place) -> Result<(), Failure> {
    let outcome = match timeout(DEADLINE, steps(place)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("not up after {DEADLINE:?}; see {}", place.state.join("log").display()).into()),
    };
    match outcome {
        Ok(()) => progress::ready(place),
        Err(error) => progress::failed(place, &error.to_string()),
    }
}

/// Comes back when the API server answers.
pub async fn await_api(place: &Place) -> Result<(), Failure> {
    let kubectl = Kubectl::of(place);
    while kubectl.run(&["get", "--raw=/readyz"], None).await.is_err() {
        sleep(LOOK_AGAIN).await;
    }
    progress::say(place, "API server is ready")
}

async fn steps(place: &Place) -> Result<(), Failure> {
    let (shape, kubectl) = (Shape::read(place)?, Kubectl::of(place));
    for node in &shape.nodes {
        while !is_ready(&kubectl, &node.name).await {
            sleep(LOOK_AGAIN).await;
        }
        progress::say(place, &format!("node {} is ready", node.name))?;
    }
    Ok(())
}

/// A node that is not there yet is not ready.
async fn is_ready(kubectl: &Kubectl, node: &str) -> bool {
    let Ok(text) = kubectl.run(&["get", "node", node, "--output=json"], None).await else { return false };
    let node: Value = serde_json::from_str(&text).unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
