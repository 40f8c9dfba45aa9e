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
    use std::process::Command;

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

    #[test]
    fn every_tool_starts_in_the_image_with_nothing_of_the_machine() {
        if !nix::unistd::geteuid().is_root() || find("mkfs.xfs").is_none() {
            eprintln!("skipped: needs root, for chroot, and mkfs.xfs");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let archive = driver_image(&place, Path::new("/usr/bin/true")).unwrap();
        let root = folder.path().join("root");
        unpack(&archive, folder.path(), &root);
        for name in ["/azuredisk-csi"].into_iter().chain(STARTED).chain(FOR_PEOPLE) {
            let output = Command::new("chroot").arg(&root).args([name, "-V"]).output().unwrap();
            // 126 and 127: it was not found or could not start; what it thinks of -V is its own.
            let started = output.status.code().is_some_and(|code| code < 126);
            assert!(started, "{name}: {output:?}");
        }
    }

    /// The layer is the largest blob.
    fn unpack(archive: &Path, folder: &Path, root: &Path) {
        let blobs = folder.join("image");
        tar::Archive::new(fs::File::open(archive).unwrap()).unpack(&blobs).unwrap();
        let files = fs::read_dir(blobs.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
        let layer = files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        tar::Archive::new(fs::File::open(layer).unwrap()).unpack(root).unwrap();
    }
}
