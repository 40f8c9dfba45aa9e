//! The processes of every node, as they are seen from the outer namespaces: those of a component of the cluster by a
//! variable that it was started with, those of a container by its cgroup.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Failure;

/// The variable by which a process is known as part of a component.
const COMPONENT: &str = "CLUSTER_COMPONENT";

/// One process, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number in the outer namespace.
    pub pid: i32,
    parent: i32,
    component: Option<String>,
    cgroup: String,
    /// Its program and arguments.
    pub command: Vec<String>,
}

/// All processes. One that ends meanwhile is left out.
pub fn all() -> Result<Vec<Process>, Failure> {
    let entries = fs::read_dir("/proc")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Ok(pids.filter_map(read).collect())
}

fn read(pid: i32) -> Option<Process> {
    let text = |name: &str| {
        let bytes = fs::read(Path::new("/proc").join(pid.to_string()).join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let prefix = format!("{COMPONENT}=");
    let environment = text("environ")?;
    let component = environment.split('\0').find_map(|variable| variable.strip_prefix(&prefix));
    Some(Process {
        pid,
        parent: parent(&text("stat")?)?,
        component: component.map(str::to_owned),
        cgroup: text("cgroup")?,
        command: text("cmdline")?.split_terminator('\0').map(str::to_owned).collect(),
    })
}

/// The parent in a line of `/proc/PID/stat`. The name before it may hold anything, parentheses and spaces too.
fn parent(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The first process of a component: its others descend from it.
pub fn first_of(component: &str, processes: &[Process]) -> Option<i32> {
    let is_its = |process: &&Process| process.component.as_deref() == Some(component);
    let its: Vec<_> = processes.iter().filter(is_its).collect();
    let is_child = |process: &Process| its.iter().any(|other| other.pid == process.parent);
    its.iter().find(|process| !is_child(process)).map(|process| process.pid)
}

/// The first process of a container. With it, the kernel ends all others of the container.
pub fn first_in(container: &str, processes: &[Process]) -> Option<i32> {
    let is_its = |process: &&Process| process.cgroup.contains(container);
    let its: Vec<_> = processes.iter().filter(is_its).collect();
    let is_child = |process: &Process| its.iter().any(|other| other.pid == process.parent);
    its.iter().find(|process| !is_child(process)).map(|process| process.pid)
}

/// Whether a program called `name` runs in a container.
pub fn runs_in(container: &str, name: &str, processes: &[Process]) -> bool {
    let is_it = |process: &Process| {
        let program = process.command.first().map(String::as_str).unwrap_or_default();
        process.cgroup.contains(container) && program.rsplit('/').next() == Some(name)
    };
    processes.iter().any(is_it)
}

/// Ends a process at once, as a crash would.
pub fn crash(pid: i32) -> Result<(), Failure> {
    kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|error| format!("kill -9 {pid}: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, component: &str, cgroup: &str, command: &str) -> Process {
        let component = (!component.is_empty()).then(|| component.to_owned());
        let command = command.split(' ').map(str::to_owned).collect();
        Process { pid, parent, component, cgroup: cgroup.to_owned(), command }
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a) b (c)) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) S"), None);
        assert_eq!(parent(""), None);
    }

    #[test]
    fn what_a_component_started_is_not_its_first_process() {
        let processes = [
            process(5, 4, "n1/kubelet", "", "mount"),
            process(4, 1, "n1/kubelet", "", "kubelet"),
            process(6, 1, "n2/kubelet", "", "kubelet"),
            process(1, 0, "", "", "init"),
        ];
        assert_eq!(first_of("n1/kubelet", &processes), Some(4));
        assert_eq!(first_of("kubelet", &processes), None);
    }

    #[test]
    fn a_container_is_known_by_its_cgroup() {
        let processes = [
            process(8, 7, "", "5:cpu:/n1/kubepods/podx/abc\n", "/sbin/mkfs.ext4 /dev/x"),
            process(7, 3, "", "5:cpu:/n1/kubepods/podx/abc\n", "/azuredisk-csi"),
            process(3, 1, "n1/containerd", "5:cpu:/n1\n", "shim"),
        ];
        assert_eq!(first_in("abc", &processes), Some(7));
        assert_eq!(first_in("def", &processes), None);
        assert!(runs_in("abc", "mkfs.ext4", &processes));
        assert!(!runs_in("abc", "mkfs", &processes));
        assert!(!runs_in("def", "mkfs.ext4", &processes));
    }

    #[test]
    fn this_process_is_among_all() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(all().unwrap().iter().any(|process| process.pid == own));
    }
}
