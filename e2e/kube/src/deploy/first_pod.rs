//! The first pod with a disk: what a user sees of all this.

use std::fmt;

use serde_json::{Value, json};

use super::Kubectl;
use crate::Failure;

/// The pod's and the claim's name.
pub const NAME: &str = "first";

/// Where the pod has its disk.
const FOLDER: &str = "/data";

/// A shell of Kubernetes' own test images.
const IMAGE: &str = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1";

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstPod {
    /// The node that it runs on.
    pub node: String,
    /// The disk's id in Azure.
    pub disk: String,
    /// The device that the pod's folder is mounted from.
    pub device: String,
    /// Its file system.
    pub file_system: String,
    /// What the pod wrote, read again.
    pub content: String,
}

impl fmt::Display for FirstPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pod {NAME} on node {}:", self.node)?;
        writeln!(f, "  disk     {}", self.disk)?;
        writeln!(f, "  mounted  {} on {FOLDER} as {}", self.device, self.file_system)?;
        write!(f, "  content  {}", self.content)
    }
}

/// Starts a pod that writes to a disk of its own, waits until it has, and looks.
///
/// # Errors
/// What the pod waits for, in Kubernetes' words.
pub async fn first_pod(kubectl: &Kubectl) -> Result<FirstPod, Failure> {
    // A namespace's account is made a moment after it, and no pod is taken before.
    kubectl.run(&["wait", "--for=create", "--timeout=60s", "serviceaccount/default"], None).await?;
    kubectl.apply(&objects().to_string()).await?;
    let pod = format!("pod/{NAME}");
    let ready = kubectl.run(&["wait", "--for=condition=Ready", "--timeout=120s", &pod], None).await;
    if let Err(failure) = ready {
        let told = kubectl.run(&["describe", &format!("pvc/{NAME}"), &pod], None).await;
        return Err(format!("{failure}\n{}", told.unwrap_or_default()).into());
    }
    let field = async |object: &str, path: &str| {
        kubectl.run(&["get", object, &format!("--output=jsonpath={{{path}}}")], None).await
    };
    let volume = field(&format!("pvc/{NAME}"), ".spec.volumeName").await?;
    let mounts = kubectl.run(&["exec", NAME, "--", "cat", "/proc/mounts"], None).await?;
    let (device, file_system) =
        mounted(&mounts).ok_or_else(|| format!("the pod has nothing mounted on {FOLDER}:\n{mounts}"))?;
    let content = kubectl.run(&["exec", NAME, "--", "cat", &format!("{FOLDER}/hello")], None).await?;
    Ok(FirstPod {
        node: field(&pod, ".spec.nodeName").await?,
        disk: field(&format!("pv/{volume}"), ".spec.csi.volumeHandle").await?,
        device,
        file_system,
        content: content.trim().to_owned(),
    })
}

/// The device and the file system that `/proc/mounts` shows for the pod's folder; the last one counts.
fn mounted(mounts: &str) -> Option<(String, String)> {
    let fields = mounts.lines().rev().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut ours = fields.filter(|fields| fields.get(1) == Some(&FOLDER));
    ours.next().and_then(|fields| Some((fields.first()?.to_string(), fields.get(2)?.to_string())))
}

fn objects() -> Value {
    let write = format!(
        "echo \"written by $(hostname) on a disk of Azure\" > {FOLDER}/hello && sync && touch /tmp/written; \
         trap exit TERM; sleep 2147483647 & wait"
    );
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": NAME, "namespace": "default"},
            "spec": {
                "storageClassName": "managed-csi",
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "namespace": "default"},
            "spec": {
                "terminationGracePeriodSeconds": 5,
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "writer",
                    "image": IMAGE,
                    "command": ["sh", "-c", write],
                    // Ready means written: whoever waits for it can read.
                    "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/written"]}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "disk", "mountPath": FOLDER}],
                }],
                "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": NAME}}],
            },
        },
    ]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mounts: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(device, kind)| (device.to_owned(), kind.to_owned()));
        assert_eq!(mounted(mounts), expected, "{mounts}");
    }

    #[test]
    fn the_disk_is_what_is_mounted_on_the_folder() {
        let disk = "overlay / overlay rw 0 0\n/dev/loop3 /data ext4 rw,relatime 0 0\n";
        check(disk, Some(("/dev/loop3", "ext4")));
        check(&format!("{disk}tmpfs /data tmpfs rw 0 0\n"), Some(("tmpfs", "tmpfs")));
        check("/dev/loop3 /data/deeper ext4 rw 0 0\n", None);
        check("", None);
    }
}
