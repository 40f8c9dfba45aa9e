//! Asks the machine. What it says is read by pure functions.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Cgroups, Facts, PROGRAMS, Space};

/// Where the kernel's cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// A folder, which need not exist yet, and how many bytes we put there.
#[derive(Clone, Debug)]
pub struct Room {
    folder: PathBuf,
    needed: u64,
}

impl Room {
    /// Room for `needed` bytes in `folder`.
    pub fn new(folder: &Path, needed: u64) -> Self {
        Self { folder: folder.to_owned(), needed }
    }
}

/// The facts of this machine; what is known of Go is told by the caller.
pub fn gather(go_refused: Option<String>, rooms: Vec<Room>) -> Facts {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Facts {
        is_root: nix::unistd::geteuid().is_root(),
        go_refused,
        cgroups: cgroups(&read(&format!("{CGROUPS}/cgroup.controllers")), &read("/proc/cgroups")),
        has_overlay: has_file_system(&read("/proc/filesystems"), "overlay"),
        missing: PROGRAMS.iter().map(|(name, _)| *name).filter(|name| !is_program(name)).collect(),
        spaces: spaces(rooms).map_err(|error| error.to_string()),
    }
}

/// Version 2 has its list of controllers at its top; version 1 a table in /proc.
fn cgroups(controllers: &str, table: &str) -> Cgroups {
    if !controllers.trim().is_empty() {
        return Cgroups::Second(controllers.split_whitespace().map(str::to_owned).collect());
    }
    let enabled = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().filter(|name| !name.starts_with('#'))?;
        (words.nth(2)? == "1").then(|| name.to_owned())
    };
    Cgroups::First(table.lines().filter_map(enabled).collect())
}

fn has_file_system(list: &str, name: &str) -> bool {
    list.lines().any(|line| line.split_whitespace().next_back() == Some(name))
}

/// Also where a user's PATH does not lead.
fn is_program(name: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(name).is_file())
}

/// Rooms on one file system share what is free there.
fn spaces(rooms: Vec<Room>) -> io::Result<Vec<Space>> {
    let mut spaces: Vec<(u64, Space)> = Vec::new();
    for room in rooms {
        let folder = existing(&room.folder);
        let in_folder = |error: io::Error| io::Error::other(format!("{}: {error}", folder.display()));
        let device = fs::metadata(folder).map_err(in_folder)?.dev();
        if let Some((_, space)) = spaces.iter_mut().find(|(known, _)| *known == device) {
            space.needed += room.needed;
            continue;
        }
        let state = nix::sys::statvfs::statvfs(folder).map_err(|error| in_folder(error.into()))?;
        let free = state.blocks_available() * state.fragment_size();
        spaces.push((device, Space { folder: folder.to_owned(), free, needed: room.needed }));
    }
    Ok(spaces.into_iter().map(|(_, space)| space).collect())
}

/// The nearest folder above that is there.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_of_both_versions_are_read() {
        #[track_caller]
        fn check(controllers: &str, table: &str, expected: &Cgroups) {
            assert_eq!(cgroups(controllers, table), *expected);
        }
        let table =
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t4\t1\t0\npids\t8\t1\t1\n";
        check("", table, &Cgroups::First(vec!["cpu".to_owned(), "pids".to_owned()]));
        check("cpu memory\n", table, &Cgroups::Second(vec!["cpu".to_owned(), "memory".to_owned()]));
        check("", "", &Cgroups::First(Vec::new()));
    }

    #[test]
    fn file_systems_are_found_by_their_whole_name() {
        let list = "nodev\toverlay\n\text4\n";
        assert!(has_file_system(list, "overlay"));
        assert!(has_file_system(list, "ext4"));
        assert!(!has_file_system(list, "over"));
    }

    #[test]
    fn rooms_on_one_file_system_are_added_up() {
        let folder = tempfile::tempdir().unwrap();
        let rooms = vec![Room::new(folder.path(), 2), Room::new(&folder.path().join("a/b"), 3)];
        let spaces = spaces(rooms).unwrap();
        assert_eq!(spaces.len(), 1);
        assert_eq!(spaces[0].needed, 5);
        assert_eq!(spaces[0].folder, folder.path());
    }
}
