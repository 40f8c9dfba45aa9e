//! Starts a program and waits: quiet when it went well, its last words when it did not.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::Failure;

/// How many of the last lines of a failed program are shown.
const LAST_LINES: usize = 25;

/// Runs `command` for the step that `what` names; gives what it printed. It ends with us.
pub async fn run(what: &str, command: &mut Command) -> Result<String, Failure> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| format!("{what}: {error}"))?;
    told(what, &output)
}

/// Runs what answers at once, from what is no task.
pub fn run_now(program: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let what = program.display().to_string();
    let output = std::process::Command::new(program)
        .args(arguments)
        .env_remove("LD_LIBRARY_PATH") // cargo sets it; ours is not what a container has
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{what}: {error}"))?;
    told(&what, &output)
}

fn told(what: &str, output: &Output) -> Result<String, Failure> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    Err(format!("{what}: {}\n{}", output.status, tail(&String::from_utf8_lossy(&said))).into())
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_is_shown_by_its_last_words() {
        let failure = run_now(Path::new("sh"), &["-c", "seq 100; echo gone >&2; exit 3"]).unwrap_err();
        let text = failure.to_string();
        assert!(text.starts_with("sh: exit status: 3\n77\n"), "{text}");
        assert!(text.ends_with("100\ngone"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = run_now(Path::new("no-such-program"), &[]).unwrap_err();
        assert!(failure.to_string().starts_with("no-such-program: "), "{failure}");
    }
}
