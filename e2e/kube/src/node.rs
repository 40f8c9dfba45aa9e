//! A node's start: first in the outer namespaces (its wire, then namespaces of its own), then as process 1 of the
//! node (its cgroup, its root, and containerd and kubelet for as long as it lives).

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use crate::Failure;
use crate::kubelet::{self, FOLDER};
use crate::node_root::{FIRST, PROGRAM, SHARED, TOOLS};
use crate::pki::{conf, pki};
use crate::place::Place;
use crate::shape::{Node, Shape};
use crate::supervise::{Component, Folders, supervise};
use crate::{cgroup, containerd, net, node_root};

/// How often it is looked whether Azure has the VM yet.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the kubelet and containerd write to, below the node's folder.
const KEPT: [&str; 3] = ["kubelet", "containerd", "pods"];

/// Waits until Azure has the VM, wires the node to the bridge, and becomes `unshare`, whose child is process 1 of
/// the node. Comes back only with what went wrong.
pub async fn boot(place: &Place, name: &str) -> Result<(), Failure> {
    let shape = Shape::read(place)?;
    let node = shape.node(name)?;
    while !place.device_root(name).join("luns").is_dir() {
        sleep(LOOK_AGAIN).await;
    }
    for folder in KEPT {
        fs::create_dir_all(place.node(name).join(folder))?;
    }
    net::join_bridge(node, &shape)?;
    let error = Command::new("unshare")
        .args(["--mount", "--propagation=slave", "--uts", "--ipc", "--pid", "--fork", "--kill-child"])
        .arg("--mount-proc")
        .arg(place.built.join("k8s"))
        .args(["node", name])
        .exec();
    Err(format!("unshare: {error}").into())
}

/// Makes this process, the first of its namespaces, the node `name`. No thread may have been started: namespaces
/// are entered by the one that asks.
pub fn enter(place: &Place, name: &str) -> Result<Node, Failure> {
    let node = Shape::read(place)?.node(name)?.clone();
    let credentials = Credentials::read(place, &node)?;
    let hierarchies = cgroup::hierarchies()?;
    cgroup::enter(&hierarchies, &format!("{}{name}", cgroup::prefix(place)))?;
    node_root::enter(place, &node, &hierarchies)?;
    write("/etc/containerd/config.toml", &containerd::configuration())?;
    write("/etc/cni/net.d/10-pods.conflist", &containerd::network(&node))?;
    write(&format!("{FOLDER}/kubelet.json"), &kubelet::configuration(&node).to_string())?;
    credentials.write()?;
    Ok(node)
}

/// Keeps the entered node running.
pub async fn live(node: &Node) -> Result<(), Failure> {
    let shared = Path::new(SHARED);
    let folders = Folders { logs: shared.join("log"), holds: shared.join("hold") };
    supervise(&components(node), &folders).await
}

/// The folders whose images a node is given.
pub fn image_folders() -> Vec<PathBuf> {
    vec![Path::new(TOOLS).join("images"), Path::new(SHARED).join("images")]
}

/// Runtime first, then the images, and only with them the kubelet: a node that is ready has all it needs.
fn components(node: &Node) -> Vec<Component> {
    let name = |part: &str| format!("{part}@{}", node.name);
    let runtime = format!("{TOOLS}/bin/containerd");
    let all = vec![
        Component::service(
            name("containerd"),
            vec![runtime, "--config=/etc/containerd/config.toml".to_owned()],
        ),
        Component::step(name("images"), vec![PROGRAM.to_owned(), "import-images".to_owned()]),
        Component {
            after: Some(name("images")),
            ..Component::service(name("kubelet"), kubelet::command(node))
        },
    ];
    let path = format!(
        "{FIRST}:{TOOLS}/bin:{TOOLS}/debian/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    );
    let with_path = |mut component: Component| {
        component.environment.push(("PATH", path.clone()));
        component
    };
    all.into_iter().map(with_path).collect()
}

/// What the kubelet logs in and serves with; read before the state is out of sight.
struct Credentials(Vec<(&'static str, String)>);

impl Credentials {
    fn read(place: &Place, node: &Node) -> Result<Credentials, Failure> {
        let files = [
            ("kubelet.conf", conf(place, &node.name)),
            ("ca.crt", pki(place, "ca.crt")),
            ("kubelet.crt", pki(place, format!("{}.crt", node.name))),
            ("kubelet.key", pki(place, format!("{}.key", node.name))),
        ];
        let mut read = Vec::new();
        for (name, path) in files {
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            read.push((name, text));
        }
        Ok(Credentials(read))
    }

    fn write(&self) -> Result<(), Failure> {
        self.0.iter().try_for_each(|(name, text)| write(&format!("{FOLDER}/{name}"), text))
    }
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    if let Some(folder) = Path::new(path).parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, text).map_err(|error| format!("{path}: {error}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelet_waits_for_the_images() {
        let all = components(&Shape::new(2, false).nodes[1]);
        let kubelet = all.iter().find(|component| component.name == "kubelet@n2").unwrap();
        assert_eq!(kubelet.after.as_deref(), Some("images@n2"));
        assert!(
            kubelet.environment[0].1.starts_with("/opt/kube/bin:"),
            "the losetup that takes notes is found first"
        );
    }
}
