//! Brings the driver into a running cluster the way a user does: by its Helm chart, with an ordinary `azure.json`,
//! and with no test switch but the device root. Then shows that it works, by a first pod with a disk.
//!
//! For callers inside the cluster's namespaces. Everything is applied, nothing is created, so that a second time
//! mends what the first began.

pub mod azure;
mod first_pod;
mod kubectl;
mod wait;

pub use azure::Azure;
pub use first_pod::{FirstPod, NAME as FIRST_POD, first_pod};
pub use kubectl::Kubectl;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::Failure;
use crate::place::Place;

/// Where the chart is installed.
pub const NAMESPACE: &str = "kube-system";

/// The driver's name in Kubernetes.
pub const DRIVER: &str = "disk.csi.azure.com";

/// The kinds that the snapshot sidecars work on; those of group snapshots are not offered.
const SNAPSHOT_KINDS: [&str; 3] = ["volumesnapshotclasses", "volumesnapshotcontents", "volumesnapshots"];

/// Applies the chart and waits until it serves: the controller is available, every node has registered.
///
/// # Errors
/// What could not be applied, or what the pods wait for.
pub async fn driver(place: &Place, kubectl: &Kubectl, azure: &Azure) -> Result<(), Failure> {
    apply(place, kubectl, azure).await?;
    wait::until_it_serves(kubectl).await
}

/// Applies the snapshot kinds, the credentials and the chart.
///
/// # Errors
/// What the API server or helm refuses, in their words.
pub async fn apply(place: &Place, kubectl: &Kubectl, azure: &Azure) -> Result<(), Failure> {
    let kinds = snapshot_kinds(place)?;
    let mut arguments = vec!["apply", "--server-side"];
    arguments.extend(kinds.iter().flat_map(|path| ["--filename", path.as_str()]));
    kubectl.run(&arguments, None).await?;
    let established: Vec<String> =
        SNAPSHOT_KINDS.iter().map(|kind| format!("crd/{kind}.snapshot.storage.k8s.io")).collect();
    let mut arguments = vec!["wait", "--for=condition=Established", "--timeout=30s"];
    arguments.extend(established.iter().map(String::as_str));
    kubectl.run(&arguments, None).await?;

    let authority = place.azure().join("ca.crt");
    let authority =
        fs::read_to_string(&authority).map_err(|error| format!("{}: {error}", authority.display()))?;
    let beside = json!({"apiVersion": "v1", "kind": "List", "items": azure.objects(&authority)});
    kubectl.apply(&beside.to_string()).await?;
    kubectl.apply(&render(place, kubectl, &values()).await?).await
}

fn snapshot_kinds(place: &Place) -> Result<Vec<String>, Failure> {
    let path = |kind: &str| place.tools.join("crd").join(format!("snapshot.storage.k8s.io_{kind}.yaml"));
    let paths: Vec<PathBuf> = SNAPSHOT_KINDS.iter().map(|kind| path(kind)).collect();
    if let Some(path) = paths.iter().find(|path| !path.exists()) {
        return Err(format!("{} is not there: the cache of tools is not whole", path.display()).into());
    }
    Ok(paths.iter().map(|path| path.display().to_string()).collect())
}

/// The chart's objects for this cluster's version of Kubernetes.
async fn render(place: &Place, kubectl: &Kubectl, values: &Value) -> Result<String, Failure> {
    let version: Value = serde_json::from_str(&kubectl.run(&["get", "--raw=/version"], None).await?)?;
    let version = version["gitVersion"].as_str().unwrap_or_default();
    let chart = place.file("deploy/chart").display().to_string();
    let namespace = format!("--namespace={NAMESPACE}");
    let arguments = ["template", "azuredisk", &chart, &namespace, "--kube-version", version, "--values=-"];
    kubectl::feed(&place.tool("helm"), &arguments, &values.to_string()).await
}

/// The chart's values here: as shipped, but for where the image, Azure and the machine are.
pub fn values() -> Value {
    json!({
        "image": {"azuredisk": {"repository": "azuredisk-csi", "tag": "dev", "pullPolicy": "Never"}},
        "controller": {
            "logLevel": 4,
            "extraEnv": [{"name": "SSL_CERT_FILE", "value": format!("/etc/azure-ca/{}", azure::AUTHORITY_KEY)}],
            "extraVolumes": [{"name": "azure-ca", "configMap": {"name": azure::AUTHORITY}}],
            "extraVolumeMounts": [{"name": "azure-ca", "mountPath": "/etc/azure-ca", "readOnly": true}],
        },
        "node": {"logLevel": 4, "deviceRoot": "/var/lib/azure-vm"},
        "snapshot": {"enabled": true, "VolumeSnapshotClass": {"enabled": true}},
        "storageClasses": [
            class("managed-csi", "ext4", "WaitForFirstConsumer", true),
            class("managed-csi-xfs", "xfs", "WaitForFirstConsumer", false),
            class("managed-csi-immediate", "ext4", "Immediate", false),
        ],
    })
}

fn class(name: &str, file_system: &str, binding: &str, is_default: bool) -> Value {
    json!({
        "name": name,
        "annotations": {"storageclass.kubernetes.io/is-default-class": is_default.to_string()},
        "parameters": {"skuName": "StandardSSD_LRS", "csi.storage.k8s.io/fstype": file_system},
        "volumeBindingMode": binding,
    })
}
