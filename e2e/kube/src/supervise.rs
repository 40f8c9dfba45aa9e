//! What process 1 of a namespace does: keep its components running, and take away orphans.
//!
//! ```text
//!            ┌──────────── held: wait ◀───────────┐
//!  waiting ──┴─▶ running ──▶ ended ──▶ pause ─────┴─▶ running …
//!                              └─▶ a step that succeeded: done; what waits for it starts
//! ```
//! The table is the only state; who is held is asked of the file system each time, so that a test holds a component
//! with a file. **Invariant:** only this loop waits for children, so no other part of process 1 may start one.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::Failure;

/// The variable by which a process is known as part of a component.
pub const COMPONENT: &str = "CLUSTER_COMPONENT";

/// Between the end of a component and its next start.
const PAUSE: Duration = Duration::from_millis(500);

/// How often holds and pauses are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One program that process 1 keeps running.
#[derive(Clone, Debug)]
pub struct Component {
    /// As tests name it: `etcd`, `n1`, `kubelet@n1`.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables besides those of process 1.
    pub environment: Vec<(&'static str, String)>,
    /// Whether it is done when it ends well; else it is started again whatever its end.
    pub is_step: bool,
    /// The step that must be done before.
    pub after: Option<String>,
}

impl Component {
    /// A program that runs for as long as the cluster.
    pub fn service(name: impl Into<String>, command: Vec<String>) -> Component {
        Component { name: name.into(), command, environment: Vec::new(), is_step: false, after: None }
    }

    /// A program that is done when it ends well.
    pub fn step(name: impl Into<String>, command: Vec<String>) -> Component {
        Component { is_step: true, ..Component::service(name, command) }
    }
}

/// The folders that a loop shares with tests and readers.
#[derive(Clone, Debug)]
pub struct Folders {
    /// `<component>.log`
    pub logs: PathBuf,
    /// `<component>`, while it is held.
    pub holds: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Waiting,
    Running(Pid),
    Ended { at: Instant },
    Done,
}

/// Keeps `table` running for ever.
pub async fn supervise(table: &[Component], folders: &Folders) -> Result<(), Failure> {
    let mut ends = signal(SignalKind::child())?;
    let mut ticks = interval(LOOK_AGAIN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut standings = vec![Standing::Waiting; table.len()];
    loop {
        reap(table, &mut standings);
        for index in 0..table.len() {
            let is_held = folders.holds.join(&table[index].name).exists();
            if is_due(index, table, &standings, is_held, Instant::now()) {
                standings[index] = start(&table[index], folders);
            }
        }
        tokio::select! {
            _ = ends.recv() => {}
            _ = ticks.tick() => {}
        }
    }
}

/// Whether the component shall be started now.
fn is_due(index: usize, table: &[Component], standings: &[Standing], is_held: bool, now: Instant) -> bool {
    let has_rested = match standings[index] {
        Standing::Waiting => true,
        Standing::Ended { at } => now.duration_since(at) >= PAUSE,
        Standing::Running(_) | Standing::Done => false,
    };
    let is_done = |name: &String| {
        let step = table.iter().position(|component| component.name == *name);
        step.is_some_and(|step| standings[step] == Standing::Done)
    };
    has_rested && !is_held && table[index].after.as_ref().is_none_or(is_done)
}

fn start(component: &Component, folders: &Folders) -> Standing {
    match spawn(component, folders) {
        Ok(pid) => Standing::Running(pid),
        Err(error) => {
            note(component, &format!("does not start: {error}"));
            Standing::Ended { at: Instant::now() }
        }
    }
}

fn spawn(component: &Component, folders: &Folders) -> Result<Pid, Failure> {
    let path = folders.logs.join(format!("{}.log", component.name));
    let log = File::options().create(true).append(true).open(path)?;
    let (program, arguments) = component.command.split_first().ok_or("no program")?;
    let child = Command::new(program)
        .args(arguments)
        .env(COMPONENT, &component.name)
        .envs(component.environment.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

fn reap(table: &[Component], standings: &mut [Standing]) {
    loop {
        let (pid, status) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, ExitStatus::from_raw(code << 8)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, ExitStatus::from_raw(signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => continue,
        };
        let index = standings.iter().position(|standing| *standing == Standing::Running(pid));
        let Some(index) = index else { continue };
        standings[index] = after_end(&table[index], status, Instant::now());
        if standings[index] != Standing::Done {
            note(&table[index], &format!("ended: {status}"));
        }
    }
}

fn after_end(component: &Component, status: ExitStatus, at: Instant) -> Standing {
    if component.is_step && status.success() { Standing::Done } else { Standing::Ended { at } }
}

/// Process 1's own output is its log.
#[expect(clippy::print_stderr, reason = "the supervisor gave this process a log as its standard error")]
fn note(component: &Component, what: &str) {
    eprintln!("{} {what}", component.name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<Component> {
        let mut kubelet = Component::service("kubelet", vec!["kubelet".to_owned()]);
        kubelet.after = Some("images".to_owned());
        vec![Component::step("images", vec!["true".to_owned()]), kubelet]
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_starts_when_it_may() {
        let now = Instant::now();
        let ended = Standing::Ended { at: now };
        let running = Standing::Running(Pid::from_raw(7));
        for (standings, is_held, later, images, kubelet) in [
            ([Standing::Waiting, Standing::Waiting], false, Duration::ZERO, true, false),
            ([Standing::Waiting, Standing::Waiting], true, Duration::ZERO, false, false),
            ([running, Standing::Waiting], false, PAUSE, false, false),
            ([Standing::Done, Standing::Waiting], false, Duration::ZERO, false, true),
            ([Standing::Done, ended], false, Duration::ZERO, false, false),
            ([Standing::Done, ended], false, PAUSE, false, true),
            ([Standing::Done, ended], true, PAUSE, false, false),
            ([ended, Standing::Waiting], false, PAUSE, true, false),
        ] {
            let due = |index| is_due(index, &table(), &standings, is_held, now + later);
            assert_eq!((due(0), due(1)), (images, kubelet), "{standings:?} {is_held} {later:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_step_that_succeeded_is_done() {
        let at = Instant::now();
        for (index, code, expected) in
            [(0, 0, Standing::Done), (0, 1, Standing::Ended { at }), (1, 0, Standing::Ended { at })]
        {
            assert_eq!(after_end(&table()[index], ExitStatus::from_raw(code << 8), at), expected);
        }
    }
}
