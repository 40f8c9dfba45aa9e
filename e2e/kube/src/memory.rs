//! What the deployed driver weighs: the memory of each container of its pods, by the kernel's own numbers, and that a
//! node has one container only.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::Failure;
use crate::place::Place;
use crate::trial::kubernetes::Kubernetes;
use crate::trial::report::Report;

/// The pods of the chart.
const PODS: &str =
    "/api/v1/namespaces/kube-system/pods?labelSelector=app.kubernetes.io%2Fname%3Dazuredisk-csi-driver";

/// A container of the driver's pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Container {
    node: String,
    pod: String,
    name: String,
    /// Whether its pod belongs to a DaemonSet, so that there is one on each node.
    is_on_each_node: bool,
}

/// Prints the memory of each container, as steps of `report`.
pub async fn run(place: &Place, report: &mut Report) -> Result<(), Failure> {
    report.begin("Memory");
    let weighed = async {
        let pods = Kubernetes::open(place).await?.list(PODS).await?;
        let containers = containers(&pods);
        let memory = resident(Path::new("/proc"), &containers);
        objections(&containers, &memory).map(|()| lines(&containers, &memory))
    };
    let lines = report.step("one container for each node; each is weighed", weighed).await?;
    report.note(&lines.join("\n"));
    Ok(())
}

/// Container id → container, of the pods that run.
fn containers(pods: &[Value]) -> BTreeMap<String, Container> {
    let mut containers = BTreeMap::new();
    for pod in pods {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            let Some((_, id)) = status["containerID"].as_str().and_then(|id| id.split_once("://")) else {
                continue;
            };
            let container = Container {
                node: word(&pod["spec"]["nodeName"]),
                pod: word(&pod["metadata"]["name"]),
                name: word(&status["name"]),
                is_on_each_node: pod["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet",
            };
            containers.insert(id.to_owned(), container);
        }
    }
    containers
}

/// Container id → resident KiB of its processes, from every process that can be seen.
fn resident(proc: &Path, containers: &BTreeMap<String, Container>) -> BTreeMap<String, u64> {
    let mut memory = BTreeMap::new();
    for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        // A process may go while it is looked at, and much in /proc is none.
        let text = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
        let Some((cgroup, status)) = text("cgroup").zip(text("status")) else { continue };
        if let (Some(id), Some(kib)) = (container_of(&cgroup), resident_kib(&status))
            && containers.contains_key(id)
        {
            *memory.entry(id.to_owned()).or_default() += kib;
        }
    }
    memory
}

/// The container id in a process' cgroup: 64 hexadecimal digits, alone or in the name of a scope.
fn container_of(cgroup: &str) -> Option<&str> {
    let words = cgroup.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.into_iter().find(|word| word.len() == 64 && word.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn resident_kib(status: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

fn objections(
    containers: &BTreeMap<String, Container>,
    memory: &BTreeMap<String, u64>,
) -> Result<(), Failure> {
    let mut on_node: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in containers.values().filter(|container| container.is_on_each_node) {
        on_node.entry(&container.node).or_default().push(&container.name);
    }
    if on_node.is_empty() {
        return Err("the driver runs on no node".into());
    }
    if let Some((node, names)) = on_node.iter().find(|(_, names)| names.len() != 1) {
        return Err(format!(
            "node {node} has {} containers of the driver: {}",
            names.len(),
            names.join(", ")
        )
        .into());
    }
    match containers.iter().find(|(id, _)| !memory.contains_key(*id)) {
        Some((_, container)) => Err(format!("no process is seen of {container:?}").into()),
        None => Ok(()),
    }
}

fn lines(containers: &BTreeMap<String, Container>, memory: &BTreeMap<String, u64>) -> Vec<String> {
    let mut rows: Vec<_> = containers.iter().map(|(id, container)| (container, memory.get(id))).collect();
    rows.sort();
    let row = |(container, kib): (&Container, Option<&u64>)| {
        #[expect(clippy::cast_precision_loss, reason = "a tenth of a MiB is enough for a reader")]
        let mebibytes = kib.copied().unwrap_or_default() as f64 / 1024.0;
        format!("{mebibytes:7.1} MiB  {:<4} {:<44} {}", container.node, container.pod, container.name)
    };
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn pod(node: &str, owner: &str, ids: &[&str]) -> Value {
        let statuses: Vec<_> = ids
            .iter()
            .map(|id| json!({ "name": id[..1], "containerID": format!("containerd://{id}") }))
            .collect();
        json!({
            "metadata": { "name": "p", "ownerReferences": [{ "kind": owner }] },
            "spec": { "nodeName": node },
            "status": { "containerStatuses": statuses },
        })
    }

    #[test]
    fn a_process_belongs_to_the_container_of_its_cgroup() {
        let rows = [
            (format!("9:memory:/k8s-n1/kubepods/burstable/pod1b/{A}\n"), Some(A)),
            (format!("0::/kubepods.slice/cri-containerd-{B}.scope\n"), Some(B)),
            ("0::/user.slice\n".to_owned(), None),
        ];
        for (cgroup, wanted) in rows {
            assert_eq!(container_of(&cgroup), wanted, "{cgroup}");
        }
    }

    #[test]
    fn memory_is_summed_by_container() {
        let folder = tempfile::tempdir().unwrap();
        for (pid, id, kib) in [("1", A, "1024"), ("2", A, "512"), ("3", B, "1")] {
            let process = folder.path().join(pid);
            std::fs::create_dir(&process).unwrap();
            std::fs::write(process.join("cgroup"), format!("1:memory:/x/{id}\n")).unwrap();
            std::fs::write(process.join("status"), format!("Name:\tx\nVmRSS:\t    {kib} kB\n")).unwrap();
        }
        let containers = containers(&[pod("n1", "DaemonSet", &[A])]);
        let memory = resident(folder.path(), &containers);
        assert_eq!(memory, [(A.to_owned(), 1536)].into());
        assert!(lines(&containers, &memory)[0].starts_with("    1.5 MiB  n1   p"));
        assert!(objections(&containers, &memory).is_ok());
    }

    #[test]
    fn a_node_has_one_container() {
        let both = [(A.to_owned(), 1), (B.to_owned(), 1)].into();
        let check = |pods: &[Value], wanted: bool| {
            assert_eq!(objections(&containers(pods), &both).is_ok(), wanted, "{pods:?}");
        };
        check(&[pod("n1", "DaemonSet", &[A]), pod("n2", "DaemonSet", &[B])], true);
        check(&[pod("n1", "DaemonSet", &[A]), pod("n1", "ReplicaSet", &[B])], true);
        check(&[pod("n1", "DaemonSet", &[A, B])], false);
        check(&[pod("n1", "ReplicaSet", &[A])], false);
    }
}
