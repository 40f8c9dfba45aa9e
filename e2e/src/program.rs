//! One of our programs as a child process: started with its output in a log file, waited for, killed.
//! A program ends with its owner: dropping it kills it, so a failed run leaves nothing behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::Failure;

/// How long a program may take to say that it is ready. Generous: the machine may be busy.
const READY: Duration = Duration::from_secs(30);

/// How often a condition outside this process is looked at.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A running program.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Where cargo puts this workspace's programs: beside the test or program that runs now.
pub fn built(name: &str) -> Result<PathBuf, Failure> {
    let here = std::env::current_exe()?;
    let folder = here.parent().ok_or("this program has no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} is not built; run `cargo build --workspace` first", path.display()).into())
}

impl Program {
    /// Starts `command`; what it prints goes to `log`, which is appended to.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Program, Failure> {
        let out = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Program { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `ready` gives a value, and fails when the program ends or takes too long.
    pub async fn ready<T>(&mut self, mut ready: impl AsyncFnMut() -> Option<T>) -> Result<T, Failure> {
        let until = Instant::now() + READY;
        loop {
            if let Some(value) = ready().await {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended ({status}):\n{}", self.name, self.tail()).into());
            }
            if Instant::now() > until {
                return Err(format!("{} is not ready after {READY:?}:\n{}", self.name, self.tail()).into());
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends it at once (SIGKILL) and reaps it.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await?;
        Ok(())
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) -> Result<(), Failure> {
        let pid = self.pid().ok_or_else(|| format!("{} has ended already", self.name))?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)?;
        Ok(())
    }

    /// Waits for its end.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus, Failure> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => Err(format!("{} still runs after {within:?}:\n{}", self.name, self.tail()).into()),
        }
    }

    /// Blocks until it has ended, for at most a few seconds: only for clean-up in a `drop`, where nothing
    /// can be awaited.
    pub(crate) fn wait_on_drop(&mut self) {
        for _ in 0..500 {
            if !self.is_running() {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "a drop cannot await")]
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The last lines that it printed.
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// All that it printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
