//! Loop devices that the cluster made: those of its emulator and those of its kubelets.
//!
//! The emulator's back onto files of the cluster's state. A kubelet makes one more for each raw block volume, by
//! `losetup`, which backs onto a device and so tells nobody whose it is. Therefore this program stands before
//! `losetup` in a node and notes each device that it makes, with the kernel's sequence number of the disk: a device
//! that was let go since and taken by another has another number and is left alone.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::node_root::SHARED;
use crate::place::Place;
use crate::run::run;

/// How long the kernel may take to let a device go whose last user was killed.
const LET_GO: Duration = Duration::from_secs(10);

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// `losetup` with `arguments`, as a kubelet calls it; what it attached is noted.
pub fn losetup(arguments: &[String]) -> Result<ExitCode, Failure> {
    let mut command = Command::new("/sbin/losetup");
    command.args(arguments);
    if !attaches(arguments) {
        let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
        return Ok(ExitCode::from(code.unwrap_or(1)));
    }
    let output = command.arg("--show").output()?;
    std::io::stderr().write_all(&output.stderr)?;
    if !output.status.success() {
        return Ok(ExitCode::FAILURE);
    }
    let device = String::from_utf8(output.stdout)?;
    let name = device.trim().trim_start_matches("/dev/");
    let line = format!("{name} {}\n", sequence(name)?);
    File::options()
        .create(true)
        .append(true)
        .open(Path::new(SHARED).join("loops").join("kubelets"))?
        .write_all(line.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// `-f FILE`; without a file it only looks, and `-j` and `-d` make nothing.
fn attaches(arguments: &[String]) -> bool {
    let is_find = |argument: &String| argument == "-f" || argument == "--find";
    arguments.iter().any(is_find) && arguments.iter().any(|argument| !argument.starts_with('-'))
}

/// Lets all of them go, the kubelets' first: they keep the emulator's in use.
pub(crate) async fn release(place: &Place) -> Result<(), Failure> {
    let mut found = noted(place);
    found.extend(backed(&place.state)?);
    for name in &found {
        // One that is still in use goes with its last user; whether all went is looked at below.
        let _ = run("losetup", &["--detach", &format!("/dev/{name}")]);
    }
    let end = Instant::now() + LET_GO;
    for name in &found {
        while backing(name).exists() {
            if Instant::now() >= end {
                return Err(format!("/dev/{name} is still in use").into());
            }
            sleep(LOOK_AGAIN).await;
        }
    }
    Ok(())
}

/// Those that kubelets made and that were not let go since.
fn noted(place: &Place) -> Vec<String> {
    let text = fs::read_to_string(place.state.join("loops").join("kubelets")).unwrap_or_default();
    let is_same = |name: &str, noted: &str| {
        backing(name).exists() && sequence(name).is_ok_and(|sequence| sequence == noted)
    };
    let names = text.lines().filter_map(|line| line.split_once(' '));
    names.filter(|(name, noted)| is_same(name, noted)).map(|(name, _)| name.to_owned()).collect()
}

/// Those whose bytes are files below `folder`.
fn backed(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let file = fs::read_to_string(backing(&name)).unwrap_or_default();
        if Path::new(file.trim_end()).starts_with(folder) {
            found.push(name);
        }
    }
    Ok(found)
}

fn backing(name: &str) -> PathBuf {
    Path::new("/sys/block").join(name).join("loop/backing_file")
}

fn sequence(name: &str) -> Result<String, Failure> {
    let path = Path::new("/sys/block").join(name).join("diskseq");
    Ok(fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_attach_is_noted() {
        for (arguments, expected) in [
            (&["-f", "/a"][..], true),
            (&["--find", "/a"], true),
            (&["-f"], false),
            (&["-j", "/a"], false),
            (&["-d", "/dev/loop1"], false),
        ] {
            let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            assert_eq!(attaches(&arguments), expected, "{arguments:?}");
        }
    }
}
