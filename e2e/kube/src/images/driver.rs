//! The driver's image: the program that was just built, and the file system tools that it starts. No shell, no
//! package manager, and nothing that the driver does not start or name to an operator.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::place::Place;

use super::archive::{Image, save};
use super::closure::{add, add_libraries, base, find};
use super::tree::{Entry, Tree};

/// The name of the image, in full: a pod that says `azuredisk-csi:dev` gets this one.
pub const DRIVER: &str = "docker.io/library/azuredisk-csi:dev";

/// What a node starts, then what its messages tell an operator to run.
const STARTED: [&str; 7] =
    ["blkid", "e2fsck", "mkfs.ext2", "mkfs.ext3", "mkfs.ext4", "mkfs.xfs", "resize2fs"];
const FOR_PEOPLE: [&str; 4] = ["blockdev", "dumpe2fs", "tune2fs", "xfs_repair"];

/// What mkfs does unless it is told otherwise; a different one would make other file systems than here.
const DEFAULTS: &str = "/etc/mke2fs.conf";

/// Puts the driver's image together from `program`, unless it is there already; returns where it is.
pub fn driver_image(place: &Place, program: &Path) -> Result<PathBuf, Failure> {
    let archive = place.state.join("images/azuredisk-csi.tar");
    let made_from = archive.with_extension("made-from");
    let root = root(program)?;
    let now = root.fingerprint()?;
    if archive.is_file() && fs::read_to_string(&made_from).is_ok_and(|then| then == now) {
        return Ok(archive);
    }
    let image = Image {
        reference: DRIVER.to_owned(),
        root,
        entrypoint: vec!["/azuredisk-csi".to_owned()],
        command: Vec::new(),
    };
    save(&image, &archive)?;
    // After the archive: a cut between the two costs a second, not a stale image.
    fs::write(&made_from, now)?;
    Ok(archive)
}

fn root(program: &Path) -> Result<Tree, Failure> {
    let mut tree = base().with("azuredisk-csi", Entry::Copy(program.to_owned(), 0o755));
    add_libraries(&mut tree, program)?;
    for name in STARTED.into_iter().chain(FOR_PEOPLE) {
        let tool = find(name).ok_or_else(|| {
            format!("{name} is not on this machine; scripts/debian-packages installs what is missing")
        })?;
        add(&mut tree, &tool)?;
    }
    if Path::new(DEFAULTS).is_file() {
        tree.put(DEFAULTS, Entry::Copy(DEFAULTS.into(), 0o644));
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &Path) -> Place {
        Place {
            checkout: folder.into(),
            tools: folder.join("tools"),
            state: folder.join("state"),
            built: folder.into(),
        }
    }

    #[test]
    fn it_is_made_again_only_when_the_program_changed() {
        if find("mkfs.xfs").is_none() {
            eprintln!("skipped: no mkfs.xfs on this machine");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("azuredisk-csi");
        fs::write(&program, "one").unwrap();
        let place = place(folder.path());
        let archive = driver_image(&place, &program).unwrap();
        fs::write(&archive, "as it was").unwrap();
        driver_image(&place, &program).unwrap();
        assert_eq!(fs::read(&archive).unwrap(), b"as it was");
        fs::write(&program, "another").unwrap();
        driver_image(&place, &program).unwrap();
        assert_ne!(fs::read(&archive).unwrap(), b"as it was");
    }
}
