//! Going into the outer namespaces of the running cluster, where the API server and the emulator can be reached.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::Failure;
use crate::place::Place;
use crate::supervisor::{environment, init_pid};

/// Becomes `words`, inside. Comes back only with a failure.
pub fn become_inside(place: &Place, words: &[OsString]) -> Result<(), Failure> {
    let error = command(place, words)?.exec();
    Err(format!("nsenter: {error}").into())
}

/// The command that runs `words` inside, with KUBECONFIG and the pinned tools at hand.
pub fn command(place: &Place, words: &[OsString]) -> Result<Command, Failure> {
    let init = init_pid(place)?;
    let here = std::env::current_dir()?;
    let path = std::env::join_paths(
        [place.tools.join("bin")].into_iter().chain(PATH.into_iter().map(std::path::PathBuf::from)),
    )?;
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--target={init}"))
        .args(["--mount", "--net", "--pid"])
        .arg(format!("--wd={}", here.display()))
        .arg("--")
        .args(words)
        .env("KUBECONFIG", place.kubeconfig())
        .envs(environment(place))
        .env("PATH", path);
    Ok(command)
}

/// Where the machine has its programs.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
