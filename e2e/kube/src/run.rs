//! One command, waited for: for the steps before a process becomes a supervisor of others.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::Failure;

/// Runs `program`, and says all it said if it fails.
pub(crate) fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[A]) -> Result<String, Failure> {
    feed(program, arguments, "")
}

/// As [`run`], with `input` on its standard input.
pub(crate) fn feed<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: &[A],
    input: &str,
) -> Result<String, Failure> {
    let name = program.as_ref().display().to_string();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why itself.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let arguments: Vec<_> = arguments.iter().map(|one| one.as_ref().to_string_lossy()).collect();
    Err(format!("{name} {}: {}: {}", arguments.join(" "), output.status, said.trim()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_what_was_run_and_what_it_said() {
        assert_eq!(feed("cat", &["-"], "a\n").unwrap(), "a\n");
        let failure = run("ls", &["/nowhere"]).unwrap_err().to_string();
        assert!(failure.starts_with("ls /nowhere: exit status: 2: ls: "), "{failure}");
        assert!(run::<&str>("no-such-program", &[]).unwrap_err().to_string().contains("does not start"));
    }
}
