//! Taking away what a cluster left on the machine, however it ended: processes, mounts, loop devices, cgroups, files.
//!
//! Each is known by the cluster's own folder or name, so clusters of other checkouts go on undisturbed. Doing it
//! again does nothing.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::place::Place;
use crate::supervisor::init_file;
use crate::{Failure, cgroup, loops, processes};

/// The log that the sweeping process itself writes.
pub(crate) const OWN_LOG: &str = "supervisor.log";

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(10);

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Whether the logs of the last run are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logs {
    /// For whoever asks why it ended.
    Keep,
    /// A new run begins.
    Drop,
}

/// Takes everything away. Only for the one who holds the cluster's lock.
pub(crate) async fn sweep(place: &Place, logs: Logs) -> Result<(), Failure> {
    end_first(place).await?;
    end_processes(place).await?;
    unmount_below(&place.state)?;
    loops::release(place).await?;
    for leaf in cgroup::leaves(&cgroup::prefix(place))? {
        cgroup::remove(&leaf)?;
    }
    remove_files(place, logs)
}

/// Ends process 1 of a cluster whose supervisor was killed. As a zombie it has no program any more, and nothing below
/// it lives.
async fn end_first(place: &Place) -> Result<(), Failure> {
    let Ok(text) = fs::read_to_string(init_file(place)) else { return Ok(()) };
    let pid: i32 = text.trim().parse()?;
    let end = Instant::now() + GONE;
    while processes::all()?.iter().any(|process| process.pid == pid && process.program == "k8s") {
        if Instant::now() >= end {
            return Err(format!("process {pid} does not end").into());
        }
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn end_processes(place: &Place) -> Result<(), Failure> {
    let prefix = cgroup::prefix(place);
    let end = Instant::now() + GONE;
    loop {
        let left = cgroup::processes(&prefix)?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!("processes {left:?} do not end").into());
        }
        for pid in left {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn unmount_below(folder: &Path) -> Result<(), Failure> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for point in mount_points(&mounts, folder).into_iter().rev() {
        umount2(point, MntFlags::MNT_DETACH).map_err(|error| format!("{point}: {error}"))?;
    }
    Ok(())
}

/// In the order in which they were mounted.
fn mount_points<'a>(mountinfo: &'a str, folder: &Path) -> Vec<&'a str> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| Path::new(point).starts_with(folder)).collect()
}

fn remove_files(place: &Place, logs: Logs) -> Result<(), Failure> {
    let log = place.state.join("log");
    remove_all_but(&place.state, "log")?;
    if logs == Logs::Drop { remove_all_but(&log, OWN_LOG) } else { Ok(()) }
}

fn remove_all_but(folder: &Path, kept: &str) -> Result<(), Failure> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == kept {
            continue;
        }
        let is_folder = entry.file_type()?.is_dir();
        let done = if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
        done.map_err(|error| format!("{}: {error}", entry.path().display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_the_cluster_are_taken_away() {
        let mounts = "1 0 8:1 / / rw - ext4 a rw\n2 1 8:1 / /c/k8s/a rw - ext4 a rw\n\
                      3 1 8:1 / /c/k8s-other rw - ext4 a rw\n4 2 8:1 / /c/k8s/a/b rw - ext4 a rw";
        assert_eq!(mount_points(mounts, Path::new("/c/k8s")), ["/c/k8s/a", "/c/k8s/a/b"]);
    }
}
