//! Cgroups: each node lives in a leaf of its own, which its cgroup namespace shows it as the root.
//!
//! Works on separate hierarchies (v1) and on the unified one (v2); only v1 was run so far. **Invariant:** every
//! cgroup made here carries the cluster's own name, so that a sweep removes these and no other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sha2::{Digest as _, Sha256};

use crate::Failure;
use crate::place::Place;

/// One mounted hierarchy of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    folder: PathBuf,
    /// The options that mount it again: `memory`, `none,name=systemd`; none for v2.
    options: Option<String>,
}

/// The hierarchies that nodes use: those of v1 where the machine has them, else the unified one.
pub(crate) fn hierarchies() -> Result<Vec<Hierarchy>, Failure> {
    let found = parse(&fs::read_to_string("/proc/self/mountinfo")?);
    if found.is_empty() { Err("no cgroup hierarchy is mounted".into()) } else { Ok(found) }
}

/// What the cgroups of `place`'s cluster begin with.
pub fn prefix(place: &Place) -> String {
    let hash = Sha256::digest(place.state.as_os_str().as_encoded_bytes());
    let [first, second, third, fourth, ..]: [u8; 32] = hash.into();
    format!("azuredisk-k8s-{:08x}-", u32::from_be_bytes([first, second, third, fourth]))
}

/// Puts this process into a fresh leaf called `name` of each hierarchy, in a cgroup namespace of its own.
pub(crate) fn enter(hierarchies: &[Hierarchy], name: &str) -> Result<(), Failure> {
    for hierarchy in hierarchies {
        let leaf = hierarchy.folder.join(name);
        remove(&leaf)?;
        fs::create_dir(&leaf)?;
        hierarchy.prepare(&leaf)?;
        // 0 is whoever writes.
        fs::write(leaf.join("cgroup.procs"), "0").map_err(|error| format!("{}: {error}", leaf.display()))?;
    }
    unshare(CloneFlags::CLONE_NEWCGROUP)?;
    for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.options.is_none()) {
        // Where processes are, v2 hands no controllers on: the node's own go one below.
        let init = hierarchy.folder.join(name).join("init");
        fs::create_dir(&init)?;
        fs::write(init.join("cgroup.procs"), "0")?;
    }
    Ok(())
}

/// Mounts the hierarchies as this cgroup namespace sees them, at `folder`.
pub(crate) fn mount_own(hierarchies: &[Hierarchy], folder: &Path) -> Result<(), Failure> {
    let none: Option<&str> = None;
    if hierarchies.iter().all(|hierarchy| hierarchy.options.is_none()) {
        mount(Some("cgroup2"), folder, Some("cgroup2"), MsFlags::empty(), none)?;
        return Ok(());
    }
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    for hierarchy in hierarchies {
        let own = folder.join(hierarchy.folder.file_name().ok_or("a hierarchy at /")?);
        fs::create_dir(&own)?;
        mount(Some("cgroup"), &own, Some("cgroup"), MsFlags::empty(), hierarchy.options.as_deref())?;
    }
    Ok(())
}

/// The processes of all cgroups that begin with `prefix`.
pub(crate) fn processes(prefix: &str) -> Result<Vec<i32>, Failure> {
    let mut found = Vec::new();
    for leaf in leaves(prefix)? {
        each_below(&leaf, &mut |folder| {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            Ok(())
        })?;
    }
    Ok(found)
}

/// The cgroups that begin with `prefix`, in every hierarchy.
pub fn leaves(prefix: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for hierarchy in hierarchies()? {
        for entry in fs::read_dir(&hierarchy.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Removes a cgroup and all below it; one that has processes refuses.
pub(crate) fn remove(leaf: &Path) -> Result<(), Failure> {
    if !leaf.exists() {
        return Ok(());
    }
    each_below(leaf, &mut |folder| fs::remove_dir(folder))
        .map_err(|error| format!("{}: {error}", leaf.display()).into())
}

/// Visits the folders below `folder` and then itself.
fn each_below(folder: &Path, visit: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            each_below(&entry.path(), visit)?;
        }
    }
    visit(folder)
}

impl Hierarchy {
    /// A fresh leaf lacks what its parent does not hand down.
    fn prepare(&self, leaf: &Path) -> Result<(), Failure> {
        let Some(options) = &self.options else {
            let controllers = fs::read_to_string(self.folder.join("cgroup.controllers"))?;
            for controller in controllers.split_whitespace() {
                fs::write(self.folder.join("cgroup.subtree_control"), format!("+{controller}"))?;
            }
            return Ok(());
        };
        if options.split(',').any(|option| option == "cpuset") {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(leaf.join(file), fs::read_to_string(self.folder.join(file))?)?;
            }
            fs::write(leaf.join("cgroup.clone_children"), "1")?;
        }
        Ok(())
    }
}

fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(folder) = before.split(' ').nth(4) else { continue };
        let mut after = after.split(' ');
        let options = match after.next() {
            Some("cgroup") => Some(v1_options(after.nth(1).unwrap_or_default())),
            Some("cgroup2") => None,
            _ => continue,
        };
        if found.iter().all(|known| known.options != options) {
            found.push(Hierarchy { folder: PathBuf::from(folder), options });
        }
    }
    // Beside hierarchies of v1 the unified one has no controllers to give.
    if found.iter().any(|hierarchy| hierarchy.options.is_some()) {
        found.retain(|hierarchy| hierarchy.options.is_some());
    }
    found
}

/// The options that name a hierarchy, without those that only tune its mount.
fn v1_options(all: &str) -> String {
    const TUNING: [&str; 6] = ["rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode"];
    let naming =
        |option: &&str| option.starts_with("name=") || (!option.contains('=') && !TUNING.contains(option));
    let named: Vec<_> = all.split(',').filter(naming).collect();
    let is_without_controllers = named.iter().all(|option| option.starts_with("name="));
    let lead = if is_without_controllers { "none," } else { "" };
    format!("{lead}{}", named.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mountinfo: &str, expected: &[(&str, Option<&str>)]) {
        let found = parse(mountinfo);
        let found: Vec<_> =
            found.iter().map(|one| (one.folder.to_str().unwrap(), one.options.as_deref())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn hierarchies_are_known_by_what_mounts_them_again() {
        check(
            "1 0 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             2 1 0:2 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct\n\
             3 1 0:3 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/a,name=systemd\n\
             4 1 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
             5 1 0:2 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct",
            &[
                ("/sys/fs/cgroup/cpu,cpuacct", Some("cpu,cpuacct")),
                ("/sys/fs/cgroup/systemd", Some("none,name=systemd")),
            ],
        );
        check("2 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate", &[("/sys/fs/cgroup", None)]);
        check("1 0 0:1 / / rw - ext4 /dev/vda rw", &[]);
    }
}
