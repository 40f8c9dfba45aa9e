//! Starts a program and waits: quiet when it went well, its last words when it did not.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use crate::Failure;

/// How many of the last lines of a failed program are shown.
const LAST_LINES: usize = 25;

/// Runs `command` for the step that `what` names; gives what it printed. It ends with us.
pub async fn run(what: &str, command: &mut Command) -> Result<String, Failure> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| format!("{what}: {error}"))?;
    told(what, &output)
}

/// Runs `command`, which says a line on standard error for each thing that it did; `tell` hears how many there were,
/// `every` so often.
pub async fn follow(
    what: &str,
    command: &mut Command,
    every: Duration,
    tell: impl Fn(usize),
) -> Result<(), Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{what}: {error}"))?;
    let said = child.stderr.take().ok_or("a child without the pipe that it was given")?;
    let (mut lines, mut said) = (BufReader::new(said).lines(), Vec::new());
    let mut next = Instant::now() + every;
    loop {
        match timeout_at(next, lines.next_line()).await {
            Ok(Ok(Some(line))) => said.push(line),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(format!("{what}: {error}").into()),
            Err(_) => {
                next += every;
                tell(said.len());
            }
        }
    }
    let (status, stdout, stderr) = (child.wait().await?, Vec::new(), said.join("\n").into_bytes());
    told(what, &Output { status, stdout, stderr }).map(|_| ())
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

    #[tokio::test]
    async fn what_tells_its_steps_is_counted_and_shown_by_its_last_words() {
        let script = "echo one >&2; echo two >&2; read wait < $1; echo three >&2; exit $2";
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (code, ends_well) in [("0", true), ("3", false)] {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(&gate).arg(code);
            let heard = std::cell::Cell::new(0);
            let tell = |count| {
                // It waits for this; its first words are heard by then, or are with the next.
                heard.set(count);
                if count == 2 {
                    std::fs::write(&gate, "go\n").unwrap();
                }
            };
            let ended = follow("steps", &mut command, Duration::from_millis(5), tell).await;
            assert_eq!((heard.get(), ended.is_ok()), (2, ends_well), "{ended:?}");
            if let Err(failure) = ended {
                assert!(failure.to_string().ends_with("exit status: 3\none\ntwo\nthree"), "{failure}");
            }
        }
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = run_now(Path::new("no-such-program"), &[]).unwrap_err();
        assert!(failure.to_string().starts_with("no-such-program: "), "{failure}");
    }
}
