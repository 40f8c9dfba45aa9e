//! The container runtime of a node: its configuration, its network plugins', and the images that it is given.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::sleep;

use crate::Failure;
use crate::node_root::TOOLS;
use crate::shape::Node;

/// Where it listens.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// How often it is asked whether it is there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// `config.toml`. This machine may not raise anybody's priority for memory and has no AppArmor to speak of.
pub(crate) fn configuration() -> String {
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "registry.k8s.io/pause:3.10.2"

[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{TOOLS}/debian/usr/lib/cni"]
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{TOOLS}/debian/usr/sbin/runc"
SystemdCgroup = false
"#
    )
}

/// The network of the node's pods: a bridge, addresses out of the node's range.
pub(crate) fn network(node: &Node) -> String {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "pods",
            "isGateway": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": node.pods()}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
    .to_string()
}

/// Imports every archive of `folders`, once containerd answers.
pub async fn import_images(folders: &[PathBuf]) -> Result<(), Failure> {
    while ctr(&["version"]).await.is_err() {
        sleep(LOOK_AGAIN).await;
    }
    for folder in folders {
        for archive in archives(folder)? {
            ctr(&["--namespace=k8s.io", "images", "import", "--local", &archive]).await?;
        }
    }
    Ok(())
}

fn archives(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "tar") {
            found.push(path.display().to_string());
        }
    }
    found.sort();
    Ok(found)
}

async fn ctr(arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new("ctr").arg(format!("--address={SOCKET}")).args(arguments).output().await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ctr {}: {}", arguments.join(" "), said.trim()).into())
}
