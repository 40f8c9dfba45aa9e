//! The built program, in a directory of its own, with its log at hand. Killed when the test ends.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// A hang of the program fails its test after this long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A directory, and what a program started in it is told.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    environment: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("no-azure.json").display().to_string();
        Place { directory, environment: vec![("AZURE_CREDENTIAL_FILE".to_owned(), absent)] }
    }

    /// Sets a variable for programs started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The endpoint flag of the socket that all programs here share.
    pub(crate) fn endpoint(&self) -> String {
        format!("--endpoint=unix://{}", self.path("csi.sock").display())
    }

    /// Starts the program with these arguments, and nothing of our own environment but PATH.
    pub(crate) fn start<T: AsRef<str>>(&self, arguments: &[T]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_azuredisk-csi"))
            .args(arguments.iter().map(AsRef::as_ref))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the program, or with the test.
            stderr.lines().map_while(Result::ok).take_while(|line| send.send(line.clone()).is_ok()).count();
        });
        Program { child, lines, log: String::new() }
    }

    /// Starts the program and waits until it says that it is ready.
    pub(crate) fn ready<T: AsRef<str>>(&self, arguments: &[T]) -> Program {
        let mut program = self.start(arguments);
        let json = arguments.iter().any(|argument| argument.as_ref() == "--log-format=json");
        program.await_line(if json { "\"message\":\"ready\"" } else { "INFO ready" });
        program
    }

    pub(crate) async fn channel(&self) -> Channel {
        connect(&self.path("csi.sock")).await
    }
}

/// A connection to the socket at `path`.
pub(crate) async fn connect(path: &Path) -> Channel {
    Endpoint::from_shared(format!("unix://{}", path.display())).unwrap().connect().await.unwrap()
}

/// One run of the program.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    /// What it has logged so far.
    pub(crate) log: String,
}

impl Program {
    /// Reads the log up to the first line with `part`, and returns that line.
    pub(crate) fn await_line(&mut self, part: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("the program never said {part:?}; it said:\n{}", self.log)
            };
            self.log.push_str(&line);
            self.log.push('\n');
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the end: the exit code, or 128 and the signal, as a shell tells it.
    pub(crate) fn end(&mut self) -> i32 {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        let status = self.child.wait().unwrap();
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
