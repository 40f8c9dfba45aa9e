//! The processes of a container, wherever it runs, as they are seen from the outer namespaces: by its cgroup, whose path
//! ends with the id that the runtime gave it.

use std::fs;
use std::path::Path;

use crate::Failure;
use crate::processes::{self, Process};

/// The first process of a container. With it, the kernel ends all others.
pub fn first_of(container: &str) -> Result<i32, Failure> {
    let all = processes::all()?;
    let members: Vec<_> = all.iter().filter(|process| is_in(container, process.pid)).collect();
    Ok(first(&members).ok_or_else(|| format!("container {container} has no process"))?)
}

/// Whether a program runs in a container. It reads little, for who asks often: the kernel's name of a process has 15
/// letters at most.
pub fn runs(container: &str, program: &str) -> Result<bool, Failure> {
    let entries = fs::read_dir("/proc")?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Ok(pids.any(|pid| read(pid, "comm").trim_end() == program && is_in(container, pid)))
}

/// The member that no other member started.
fn first(members: &[&Process]) -> Option<i32> {
    let is_started = |process: &Process| members.iter().any(|other| other.pid == process.parent);
    members.iter().find(|process| !is_started(process)).map(|process| process.pid)
}

fn is_in(container: &str, pid: i32) -> bool {
    read(pid, "cgroup").contains(container)
}

/// What `/proc` tells of a process; nothing of one that ends meanwhile.
fn read(pid: i32, name: &str) -> String {
    fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_is_the_one_that_came_from_outside() {
        let process = |pid, parent| Process { pid, parent, program: String::new(), component: None };
        let (mkfs, driver, child) = (process(3, 7), process(7, 2), process(9, 3));
        assert_eq!(first(&[&mkfs, &driver, &child]), Some(7));
        assert_eq!(first(&[]), None);
    }

    #[test]
    fn a_program_is_known_by_its_name_and_its_cgroup() {
        let own = i32::try_from(std::process::id()).unwrap();
        let (name, cgroup) = (read(own, "comm"), read(own, "cgroup"));
        assert!(runs(cgroup.trim_end(), name.trim_end()).unwrap(), "{name} {cgroup}");
        assert!(!runs("no such container", name.trim_end()).unwrap());
        assert!(!runs(cgroup.trim_end(), "no such program").unwrap());
    }
}
