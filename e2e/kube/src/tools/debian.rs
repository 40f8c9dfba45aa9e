//! What comes from Debian: packages are fetched and unpacked into a folder of ours; nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::Failure;

use super::run::run;

/// The runtime of containers, the plugins of their network, and a static busybox for images.
pub(super) const PACKAGES: [&str; 3] = ["runc", "containernetworking-plugins", "busybox-static"];

/// One file of each package: what the cluster starts.
const EXPECTED: [&str; 3] = ["usr/sbin/runc", "usr/lib/cni/bridge", "bin/busybox"];

/// Fetches the packages and unpacks them into `folder`.
pub(super) async fn unpack(folder: &Path) -> Result<(), Failure> {
    let fetched = folder.with_extension("packages");
    fs::create_dir_all(&fetched)?;
    fs::create_dir_all(folder)?;
    if fetch(&fetched).await.is_err() {
        // The lists of packages may be missing, or name versions that Debian has replaced.
        let what = "asking Debian for its lists of packages; is there a network?";
        run(what, Command::new("apt-get").args(["-qq", "-o", "DPkg::Lock::Timeout=120", "update"])).await?;
        fetch(&fetched).await?;
    }
    for package in packages(&fetched)? {
        let what = format!("unpacking {}", package.display());
        run(&what, Command::new("dpkg-deb").arg("-x").arg(package).arg(folder)).await?;
    }
    fs::remove_dir_all(&fetched)?;
    for file in EXPECTED.map(|file| folder.join(file)) {
        if !file.is_file() {
            return Err(format!("Debian's packages have no {}", file.display()).into());
        }
    }
    // It is dynamic, and what it loads is taken from the machine.
    let runc = folder.join("usr/sbin/runc");
    run("starting runc; apt-get install libseccomp2", Command::new(&runc).arg("--version")).await?;
    Ok(())
}

async fn fetch(folder: &Path) -> Result<(), Failure> {
    let mut command = Command::new("apt-get");
    // Not as the user _apt: the folder is ours alone.
    command.args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(PACKAGES).current_dir(folder);
    run("fetching packages from Debian; is there a network?", &mut command).await?;
    Ok(())
}

fn packages(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(folder)? {
        packages.push(entry?.path());
    }
    packages.sort();
    Ok(packages)
}
