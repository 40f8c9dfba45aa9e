//! What the kernel knows of a run: loop devices whose files, and mounts whose paths or devices, lie
//! below a folder. A run that cleaned up has neither.

use std::path::{Path, PathBuf};

use crate::Failure;

/// The backing files below `folder` that a loop device holds open.
pub fn loop_devices(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir("/sys/block")? {
        let backing = entry?.path().join("loop/backing_file");
        // A loop device can end between the listing and the look: then it is none of ours.
        let Ok(file) = std::fs::read_to_string(backing) else { continue };
        let file = PathBuf::from(file.trim_end().trim_end_matches(" (deleted)"));
        if file.starts_with(folder) {
            files.push(file);
        }
    }
    Ok(files)
}

/// The mount points below `folder`.
pub fn mounts(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    Ok(points.filter(|point| point.starts_with(folder)).collect())
}

/// Unmounts what a failed run left below `folder`, innermost first. Best effort: it runs in clean-up.
pub fn unmount_all(folder: &Path) {
    let mut points = mounts(folder).unwrap_or_default();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    for point in points {
        let _ = nix::mount::umount(&point);
    }
}
