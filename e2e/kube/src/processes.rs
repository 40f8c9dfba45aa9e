//! The processes of the cluster as `/proc` shows them: who is whose child, which program, which component.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Failure;
use crate::supervise::COMPONENT;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number, as this process's `/proc` shows it.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// The file name of its program; empty for one that has ended.
    pub program: String,
    /// The component that it was started for, or by whose process.
    pub component: Option<String>,
}

/// All that `/proc` shows now.
pub fn all() -> Result<Vec<Process>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ends while it is looked at is not there.
        found.extend(read(&entry.path(), pid));
    }
    Ok(found)
}

fn read(folder: &Path, pid: i32) -> Option<Process> {
    let parent = parent(&fs::read_to_string(folder.join("stat")).ok()?)?;
    let program = fs::read_link(folder.join("exe")).unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    let environment = fs::read(folder.join("environ")).unwrap_or_default();
    Some(Process {
        pid,
        parent,
        // A rebuilt program's old file has this name while it runs.
        program: program.trim_end_matches(" (deleted)").to_owned(),
        component: variable(&environment, COMPONENT),
    })
}

/// The fourth field; the second, in brackets, may hold anything.
fn parent(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn variable(environment: &[u8], name: &str) -> Option<String> {
    environment.split(|byte| *byte == 0).find_map(|pair| {
        let pair = String::from_utf8_lossy(pair);
        pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
    })
}

/// The processes that a supervisor started for `component`: those of it whose parent is not.
pub fn of_component<'a>(all: &'a [Process], component: &str) -> Vec<&'a Process> {
    let is_of = |process: &Process| process.component.as_deref() == Some(component);
    let by_pid: BTreeMap<_, _> = all.iter().map(|process| (process.pid, process)).collect();
    let is_first = |process: &&Process| by_pid.get(&process.parent).is_none_or(|parent| !is_of(parent));
    all.iter().filter(|process| is_of(process)).filter(is_first).collect()
}

/// `ancestor`'s children, their children, and so on.
pub fn below(all: &[Process], ancestor: i32) -> Vec<&Process> {
    let mut found: Vec<&Process> = Vec::new();
    let mut next = vec![ancestor];
    while let Some(parent) = next.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            found.push(process);
            next.push(process.pid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, component: Option<&str>) -> Process {
        Process { pid, parent, program: "p".to_owned(), component: component.map(str::to_owned) }
    }

    #[test]
    fn a_component_is_its_first_process() {
        let all = [
            process(1, 0, None),
            process(2, 1, Some("n1")),
            process(3, 2, Some("n1")),
            process(4, 3, Some("kubelet@n1")),
            process(5, 4, Some("kubelet@n1")),
        ];
        let pids = |found: Vec<&Process>| found.iter().map(|one| one.pid).collect::<Vec<_>>();
        assert_eq!(pids(of_component(&all, "n1")), [2]);
        assert_eq!(pids(of_component(&all, "kubelet@n1")), [4]);
        assert_eq!(pids(below(&all, 2)), [3, 4, 5]);
    }

    #[test]
    fn names_with_brackets_do_not_hide_the_parent() {
        assert_eq!(parent("7 (a) S 1) R 42 7 0"), Some(42));
        assert_eq!(variable(b"A=1\0CLUSTER_COMPONENT=etcd\0", COMPONENT).as_deref(), Some("etcd"));
        assert_eq!(variable(b"CLUSTER_COMPONENTS=etcd\0", COMPONENT), None);
    }
}
