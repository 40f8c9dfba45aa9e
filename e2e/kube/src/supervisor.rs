//! The one process outside of all namespaces: it starts the cluster, waits, and takes everything away at the end.
//!
//! It holds a lock for as long as it lives, so that one checkout has one cluster; whoever gets the lock instead
//! knows that no supervisor is left and may sweep. Its death is the death of the cluster: the kernel kills
//! `unshare` with it, and with that process 1 and all below.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::place::Place;
use crate::shape::Shape;
use crate::sweep::{Logs, OWN_LOG, sweep};
use crate::{images, processes, progress};

/// How often one process looks what another has done.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a supervisor may take to end everything.
const DOWN: Duration = Duration::from_mins(1);

/// The lock of a checkout's cluster; the file holds the supervisor's pid.
struct Lock(File);

impl Lock {
    /// The lock, or nothing where a supervisor has it.
    fn take(place: &Place) -> Result<Option<Lock>, Failure> {
        let path = lock_file(place);
        fs::create_dir_all(path.parent().ok_or("the state is at /")?)?;
        let file = File::options().create(true).read(true).write(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    fn sign(&mut self) -> Result<(), Failure> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        Ok(write!(self.0, "{}", std::process::id())?)
    }
}

/// The link that tells where the running cluster's tools are.
pub fn tools_link(state: &Path) -> PathBuf {
    state.join("tools")
}

/// By which every process of the cluster finds its folders.
pub fn environment(place: &Place) -> [(&'static str, String); 2] {
    [("KUBE_TOOLS", place.tools.display().to_string()), ("KUBE_STATE", place.state.display().to_string())]
}

/// Beside the state, which a sweep empties.
fn lock_file(place: &Place) -> PathBuf {
    place.state.with_extension("lock")
}

/// The supervisor's pid, while one has the lock.
fn supervisor(place: &Place) -> Result<Option<Pid>, Failure> {
    if Lock::take(place)?.is_some() {
        return Ok(None);
    }
    let mut text = String::new();
    File::open(lock_file(place))?.read_to_string(&mut text)?;
    Ok(text.trim().parse().ok().map(Pid::from_raw))
}

/// Whether this checkout's cluster is up, or comes up.
pub fn is_up(place: &Place) -> Result<bool, Failure> {
    Ok(Lock::take(place)?.is_none())
}

/// Process 1 of the outer namespaces, as the machine numbers it.
pub fn init_pid(place: &Place) -> Result<Pid, Failure> {
    if !is_up(place)? {
        return Err("the cluster is not up: `make k8s` starts it".into());
    }
    let text = fs::read_to_string(init_file(place))?;
    Ok(Pid::from_raw(text.trim().parse()?))
}

/// Runs the cluster until SIGTERM or its own end, then takes everything away.
pub async fn supervise(place: &Place, shape: &Shape) -> Result<(), Failure> {
    // The terminal's ^C is not for the cluster.
    setsid()?;
    let Some(mut lock) = Lock::take(place)? else { return Err("the cluster is up already".into()) };
    lock.sign()?;
    // A signal while it starts, and one while it runs.
    let (mut earlier, terminate) = (signal(SignalKind::terminate())?, signal(SignalKind::terminate())?);
    sweep(place, Logs::Drop).await?;
    let outcome = tokio::select! {
        started = start(place, shape) => match started {
            Ok(running) => running.until(terminate).await.map_err(|error| {
                format!("{error}; see {}", place.log("init").display()).into()
            }),
            Err(error) => Err(error),
        },
        _ = earlier.recv() => Ok(()),
    };
    if let Err(error) = &outcome {
        progress::failed(place, &error.to_string())?;
    }
    sweep(place, Logs::Keep).await?;
    drop(lock);
    outcome
}

/// `unshare`, which waits for process 1 of the cluster.
struct Running {
    unshare: Child,
    init: Pid,
}

impl Running {
    /// Until process 1 ends of itself, which is an error, or is ended because of SIGTERM.
    async fn until(mut self, mut terminate: Signals) -> Result<(), Failure> {
        tokio::select! {
            status = self.unshare.wait() => Err(format!("process 1 ended: {}", status?).into()),
            _ = terminate.recv() => {
                kill(self.init, Signal::SIGKILL)?;
                self.unshare.wait().await?;
                Ok(())
            }
        }
    }
}

async fn start(place: &Place, shape: &Shape) -> Result<Running, Failure> {
    for folder in ["log", "hold", "loops", "images", "nodes"] {
        fs::create_dir_all(place.state.join(folder))?;
    }
    shape.write(place)?;
    symlink(&place.tools, tools_link(&place.state))?;
    images::driver_image(place, &place.built.join("azuredisk-csi"))?;
    let log = File::options().create(true).append(true).open(place.log("init"))?;
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation=private", "--net", "--pid"])
        .args(["--fork", "--kill-child", "--mount-proc"])
        .arg(place.built.join("k8s"))
        .arg("init")
        .envs(environment(place))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    let unshare = i32::try_from(child.id().ok_or("unshare has ended")?)?;
    let init = loop {
        if let Some(init) = processes::all()?.into_iter().find(|process| process.parent == unshare) {
            break init;
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("unshare: {status}, see {}", place.log("init").display()).into());
        }
        sleep(LOOK_AGAIN).await;
    };
    fs::write(init_file(place), init.pid.to_string())?;
    Ok(Running { unshare: child, init: Pid::from_raw(init.pid) })
}

/// Holds the pid of process 1.
pub(crate) fn init_file(place: &Place) -> PathBuf {
    place.state.join("init.pid")
}

/// Starts a supervisor that outlives this process and follows it until everything is up; each line that it says
/// goes to `tell`.
pub async fn up(place: &Place, options: &[String], mut tell: impl FnMut(&str)) -> Result<(), Failure> {
    if is_up(place)? {
        return Err("the cluster is up already; `make k8s-down` ends it".into());
    }
    progress::forget(place);
    fs::create_dir_all(place.state.join("log"))?;
    let log = File::create(place.state.join("log").join(OWN_LOG))?;
    let mut child = Command::new(place.built.join("k8s"))
        .arg("supervise")
        .args(options)
        .envs(environment(place))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let mut read = 0;
    loop {
        let ended = child.try_wait()?;
        let (lines, progress) = progress::look(place, read);
        read += lines.len();
        for line in &lines {
            tell(line);
        }
        match progress {
            progress::Progress::Ready => return Ok(()),
            progress::Progress::Failed(why) => return Err(why.into()),
            progress::Progress::Going => {}
        }
        if let Some(status) = ended {
            let said = fs::read_to_string(place.state.join("log").join(OWN_LOG)).unwrap_or_default();
            return Err(format!("the supervisor ended with {status}: {}", said.trim()).into());
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Ends the cluster, if there is one, and what one that was killed left.
pub async fn down(place: &Place) -> Result<(), Failure> {
    if let Some(supervisor) = supervisor(place)? {
        // It may end by itself at this moment.
        let _ = kill(supervisor, Signal::SIGTERM);
    }
    let end = Instant::now() + DOWN;
    loop {
        if let Some(_lock) = Lock::take(place)? {
            return sweep(place, Logs::Keep).await;
        }
        if Instant::now() >= end {
            return Err("the supervisor does not end; see its log".into());
        }
        sleep(LOOK_AGAIN).await;
    }
}
