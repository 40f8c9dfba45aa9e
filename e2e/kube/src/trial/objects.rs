//! The objects that the tests create, as JSON. Pure: names in, documents out.

use serde_json::{Value, json};

/// The image whose shell the pods of the tests run.
const IMAGE: &str = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1";

/// Where a pod sees a volume with a file system.
pub const FOLDER: &str = "/data";

/// Where a pod sees a raw volume.
pub const DEVICE: &str = "/dev/volume";

/// How a pod sees a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As a folder.
    Filesystem,
    /// As a device.
    Block,
}

/// What a new volume is filled from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A snapshot, by name.
    Snapshot(&'a str),
    /// Another claim, by name.
    Claim(&'a str),
}

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

/// A claim of `gib` GiB.
pub fn claim(
    namespace: &str,
    name: &str,
    class: &str,
    gib: u32,
    mode: Mode,
    source: Option<Source>,
) -> Value {
    let source = match source {
        None => Value::Null,
        Some(Source::Claim(name)) => json!({ "kind": "PersistentVolumeClaim", "name": name }),
        Some(Source::Snapshot(name)) => {
            json!({ "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name })
        }
    };
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class,
            "volumeMode": if mode == Mode::Block { "Block" } else { "Filesystem" },
            "resources": { "requests": { "storage": format!("{gib}Gi") } },
            "dataSource": source,
        },
    })
}

/// A snapshot of a claim.
pub fn snapshot(namespace: &str, name: &str, class: &str, claim: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "volumeSnapshotClassName": class, "source": { "persistentVolumeClaimName": claim } },
    })
}

/// A pod that holds a claim and waits, on `node` where one is named.
pub fn pod(namespace: &str, name: &str, claim: &str, mode: Mode, node: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": namespace, "name": name },
        "spec": body(claim, mode, node, "exec sleep 1000000"),
    })
}

/// A stateful set of one pod, `NAME-0`, that runs `script` with a claim; on `node` by preference, so that it may go
/// elsewhere when that node is gone.
pub fn set(namespace: &str, name: &str, claim: &str, node: &str, script: &str) -> Value {
    let labels = json!({ "app": name });
    let mut spec = body(claim, Mode::Filesystem, None, script);
    spec["affinity"] = json!({ "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "preference": { "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }] },
    }] } });
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        },
    })
}

fn body(claim: &str, mode: Mode, node: Option<&str>, script: &str) -> Value {
    let mut container = json!({
        "name": "shell", "image": IMAGE, "command": ["sh", "-c", script],
    });
    match mode {
        Mode::Filesystem => container["volumeMounts"] = json!([{ "name": "volume", "mountPath": FOLDER }]),
        Mode::Block => container["volumeDevices"] = json!([{ "name": "volume", "devicePath": DEVICE }]),
    }
    json!({
        "nodeSelector": node.map(|node| json!({ "kubernetes.io/hostname": node })),
        // The shell is the first process of its container and so deaf to SIGTERM.
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{ "name": "volume", "persistentVolumeClaim": { "claimName": claim } }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_volume_is_a_device_of_the_pod() {
        let block = pod("a", "b", "c", Mode::Block, Some("n1"));
        let container = &block["spec"]["containers"][0];
        assert_eq!(container["volumeDevices"][0]["devicePath"], DEVICE);
        assert!(container.get("volumeMounts").is_none());
        assert_eq!(block["spec"]["nodeSelector"]["kubernetes.io/hostname"], "n1");
        assert!(pod("a", "b", "c", Mode::Filesystem, None)["spec"]["nodeSelector"].is_null());
    }

    #[test]
    fn a_copy_names_its_source() {
        let source = |source| claim("a", "b", "c", 1, Mode::Filesystem, source)["spec"]["dataSource"].clone();
        assert_eq!(source(None), Value::Null);
        assert_eq!(source(Some(Source::Snapshot("s")))["apiGroup"], "snapshot.storage.k8s.io");
        assert_eq!(source(Some(Source::Claim("d")))["kind"], "PersistentVolumeClaim");
    }

    #[test]
    fn a_set_may_leave_its_node() {
        let spec = &set("a", "b", "c", "n1", "true")["spec"]["template"]["spec"];
        assert!(spec["nodeSelector"].is_null());
        assert!(spec["affinity"].to_string().contains("preferred"));
    }
}
