//! Waits until the driver serves, and says what it waits for if it never does.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, interval};

use super::{DRIVER, Kubectl, NAMESPACE};
use crate::Failure;

/// What the chart starts, and what must be there before a pod can have a disk.
const WORKLOADS: [&str; 3] = [
    "daemonset/csi-azuredisk-node",
    "deployment/csi-azuredisk-controller",
    "deployment/csi-snapshot-controller",
];

/// How long all of it may take: images are there already, so this is a broken cluster and not a slow one.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) async fn until_it_serves(kubectl: &Kubectl) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    for workload in WORKLOADS {
        let left = deadline.saturating_duration_since(Instant::now()).as_secs().max(1);
        let timeout = format!("--timeout={left}s");
        let arguments = ["rollout", "status", workload, "--namespace", NAMESPACE, &timeout];
        if let Err(failure) = kubectl.run(&arguments, None).await {
            return Err(format!("{failure}\n{}", complaints(kubectl).await).into());
        }
    }
    let mut ticks = interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let nodes = kubectl.run(&["get", "nodes", "--output=json"], None).await?;
        let registered = kubectl.run(&["get", "csinodes", "--output=json"], None).await?;
        let missing = unregistered(&serde_json::from_str(&nodes)?, &serde_json::from_str(&registered)?);
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let missing = missing.join(", ");
            return Err(
                format!("{DRIVER} has not registered on {missing}\n{}", complaints(kubectl).await).into()
            );
        }
    }
}

/// The nodes on which the kubelet does not know the driver.
fn unregistered(nodes: &Value, registered: &Value) -> Vec<String> {
    let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let has_driver = |object: &Value| {
        let drivers = object["spec"]["drivers"].as_array();
        drivers.is_some_and(|drivers| drivers.iter().any(|driver| driver["name"] == DRIVER))
    };
    let known: Vec<String> = items(registered).iter().filter(|object| has_driver(object)).map(name).collect();
    items(nodes).iter().map(name).filter(|node| !known.contains(node)).collect()
}

/// The pods, and what Kubernetes warns of: the first things that anybody would look at.
async fn complaints(kubectl: &Kubectl) -> String {
    let pods = kubectl.run(&["get", "pods", "--namespace", NAMESPACE, "--output=wide"], None).await;
    let arguments = [
        "get",
        "events",
        "--namespace",
        NAMESPACE,
        "--field-selector=type=Warning",
        "--output=custom-columns=OBJECT:.involvedObject.name,REASON:.reason,MESSAGE:.message",
    ];
    let events = kubectl.run(&arguments, None).await;
    let text = |answer: Result<String, Failure>| answer.unwrap_or_else(|failure| failure.to_string());
    format!("{}{}", text(pods), text(events))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, drivers: &[&str]) -> Value {
        let drivers: Vec<Value> = drivers.iter().map(|driver| json!({"name": driver})).collect();
        json!({"metadata": {"name": name}, "spec": {"drivers": drivers}})
    }

    fn check(nodes: &[&str], registered: &[Value], expected: &[&str]) {
        let nodes: Vec<Value> = nodes.iter().map(|name| node(name, &[])).collect();
        assert_eq!(unregistered(&json!({"items": nodes}), &json!({"items": registered})), expected);
    }

    #[test]
    fn a_node_counts_once_its_kubelet_knows_the_driver() {
        check(&["n1", "n2"], &[node("n1", &["other", DRIVER]), node("n2", &[DRIVER])], &[]);
        check(&["n1", "n2"], &[node("n1", &[DRIVER]), node("n2", &["other"])], &["n2"]);
        check(&["n1"], &[], &["n1"]);
        check(&["n1"], &[json!({"metadata": {"name": "n1"}, "spec": {"drivers": null}})], &["n1"]);
    }
}
