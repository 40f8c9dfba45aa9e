//! What the machine must have before anything starts: facts are gathered, one pure function finds all problems at
//! once, and each says what to do.

mod gather;

use std::path::PathBuf;

use crate::Failure;

pub use gather::{Room, gather};

/// A gigabyte.
const GB: u64 = 1_000_000_000;

/// What a running cluster keeps: two nodes' images and containers, disks, logs.
pub const STATE: u64 = 2 * GB;
/// A set of tools.
pub const TOOLS: u64 = 2 * GB;
/// What Go keeps of a build.
pub const GO_BUILD: u64 = 4 * GB;
/// What Go keeps of the modules' sources.
pub const GO_MODULES: u64 = 2 * GB;

/// Programs of the machine that are started, and the Debian package of each.
const PROGRAMS: [(&str, &str); 12] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("blkid", "util-linux"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("ip", "iproute2"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("ldd", "libc-bin"),
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
];

/// Controllers that kubelet and runc use with version 1 of cgroups, and with version 2.
const FIRST: [&str; 8] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"];
const SECOND: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// Which controllers the kernel gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// Hierarchies of version 1.
    First(Vec<String>),
    /// The one tree of version 2.
    Second(Vec<String>),
}

/// A file system, what is free on it and what we put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// One of our folders on it.
    pub folder: PathBuf,
    /// Bytes.
    pub free: u64,
    /// Bytes.
    pub needed: u64,
}

/// What is so on this machine.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether we are root.
    pub is_root: bool,
    /// Why Go does not serve, if it doesn't.
    pub go_refused: Option<String>,
    /// The controllers.
    pub cgroups: Cgroups,
    /// Whether the kernel has overlayfs.
    pub has_overlay: bool,
    /// Programs that were not found.
    pub missing: Vec<&'static str>,
    /// The file systems that we fill; one that could not be asked is an error.
    pub spaces: Result<Vec<Space>, String>,
}

/// Refuses with every problem that there is.
pub fn check(facts: &Facts) -> Result<(), Failure> {
    let problems = problems(facts);
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("this machine can't run the cluster yet:\n- {}", problems.join("\n- ")).into())
}

fn problems(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    if !facts.is_root {
        problems.push("namespaces, mounts and loop devices need root: run it as root".to_owned());
    }
    if let Some(why) = &facts.go_refused {
        problems.push(format!("the tools are Go programs and Go does not serve (https://go.dev/dl/): {why}"));
    }
    problems.extend(cgroups(&facts.cgroups));
    if !facts.has_overlay {
        problems.push("the kernel has no overlayfs, for the nodes' roots: modprobe overlay".to_owned());
    }
    if !facts.missing.is_empty() {
        problems.push(missing(&facts.missing));
    }
    match &facts.spaces {
        Ok(spaces) => problems.extend(spaces.iter().filter(|space| space.free < space.needed).map(|space| {
            format!(
                "{} has {} free and {} are needed: make room, or use another folder (--cache)",
                space.folder.display(),
                gigabytes(space.free),
                gigabytes(space.needed)
            )
        })),
        Err(why) => problems.push(format!("how much room there is can't be told: {why}")),
    }
    problems
}

fn cgroups(cgroups: &Cgroups) -> Option<String> {
    let (given, wanted, advice) = match cgroups {
        Cgroups::First(given) => (given, &FIRST[..], "enable them in the kernel, or boot with version 2"),
        Cgroups::Second(given) => (given, &SECOND[..], "in a container, give it its own cgroup namespace"),
    };
    let lacking: Vec<_> =
        wanted.iter().filter(|name| !given.iter().any(|one| one == *name)).copied().collect();
    (!lacking.is_empty()).then(|| format!("the kernel gives no cgroups for {}: {advice}", lacking.join(", ")))
}

fn missing(programs: &[&str]) -> String {
    let mut packages: Vec<_> =
        PROGRAMS.iter().filter(|(name, _)| programs.contains(name)).map(|(_, package)| *package).collect();
    packages.dedup();
    format!("missing: {}; apt-get install {}", programs.join(", "), packages.join(" "))
}

fn gigabytes(bytes: u64) -> String {
    format!("{}.{} GB", bytes / GB, bytes % GB / (GB / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn good() -> Facts {
        Facts {
            is_root: true,
            go_refused: None,
            cgroups: Cgroups::First(owned(&FIRST)),
            has_overlay: true,
            missing: Vec::new(),
            spaces: Ok(vec![Space { folder: "/a".into(), free: 9 * GB, needed: 9 * GB }]),
        }
    }

    #[track_caller]
    fn check_problems(facts: &Facts, expected: &[&str]) {
        assert_eq!(problems(facts), expected);
    }

    #[test]
    fn each_problem_says_what_to_do() {
        check_problems(&good(), &[]);
        check_problems(
            &Facts { is_root: false, ..good() },
            &["namespaces, mounts and loop devices need root: run it as root"],
        );
        check_problems(
            &Facts { go_refused: Some("go env: no such file".to_owned()), ..good() },
            &["the tools are Go programs and Go does not serve (https://go.dev/dl/): go env: no such file"],
        );
        check_problems(
            &Facts { cgroups: Cgroups::First(owned(&FIRST[2..])), ..good() },
            &[
                "the kernel gives no cgroups for cpu, cpuacct: enable them in the kernel, or boot with version 2",
            ],
        );
        check_problems(&Facts { cgroups: Cgroups::Second(owned(&SECOND)), ..good() }, &[]);
        check_problems(
            &Facts { cgroups: Cgroups::Second(owned(&["cpu", "memory"])), ..good() },
            &[
                "the kernel gives no cgroups for cpuset, pids: in a container, give it its own cgroup namespace",
            ],
        );
        check_problems(
            &Facts { has_overlay: false, ..good() },
            &["the kernel has no overlayfs, for the nodes' roots: modprobe overlay"],
        );
        check_problems(
            &Facts { missing: vec!["unshare", "nsenter", "ip"], ..good() },
            &["missing: unshare, nsenter, ip; apt-get install util-linux iproute2"],
        );
        check_problems(
            &Facts {
                spaces: Ok(vec![Space { folder: "/a".into(), free: 1_990_000_000, needed: 9 * GB }]),
                ..good()
            },
            &["/a has 1.9 GB free and 9.0 GB are needed: make room, or use another folder (--cache)"],
        );
        check_problems(
            &Facts { spaces: Err("/a: EIO".to_owned()), ..good() },
            &["how much room there is can't be told: /a: EIO"],
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let facts = Facts { is_root: false, has_overlay: false, missing: vec!["ip"], ..good() };
        let text = check(&facts).unwrap_err().to_string();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(check(&good()).is_ok());
    }
}
