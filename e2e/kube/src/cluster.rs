//! The running cluster, as a test inside the outer namespaces sees and disturbs it.
//!
//! It holds nothing but paths: every question is asked of Kubernetes, `/proc` or the emulator when it is asked.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use crate::Failure;
use crate::deploy::Kubectl;
use crate::place::Place;
use crate::processes::{self, Process, below, of_component};
use crate::shape::Shape;

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A cluster that was brought up from one checkout.
#[derive(Clone, Debug)]
pub struct Cluster {
    place: Place,
    shape: Shape,
}

impl Cluster {
    /// The cluster of `place`; this process is in its outer namespaces.
    pub fn open(place: Place) -> Result<Cluster, Failure> {
        let shape = Shape::read(&place)?;
        Ok(Cluster { place, shape })
    }

    /// Its folders.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its nodes and addresses.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What `kubectl` prints, as the administrator, with `input` for `--filename=-`; or what it complains of.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, Failure> {
        Kubectl::of(&self.place).run(arguments, Some(input)).await
    }

    /// From now `component` is not started again when it ends. Names: `etcd`, `kube-apiserver`,
    /// `kube-controller-manager`, `kube-scheduler`, `azure-emulator`, `n1`, `kubelet@n1`, `containerd@n1`.
    pub fn hold(&self, component: &str) -> Result<(), Failure> {
        Ok(fs::write(self.place.hold(component), "")?)
    }

    /// `component` is started again, and whenever it ends.
    pub fn release(&self, component: &str) -> Result<(), Failure> {
        match fs::remove_file(self.place.hold(component)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// SIGKILL for `component`; comes back when it has ended. Whether it starts again is a matter of holds.
    pub async fn kill_component(&self, component: &str) -> Result<(), Failure> {
        let all = processes::all()?;
        let found = of_component(&all, component);
        if found.is_empty() {
            return Err(format!("{component} does not run").into());
        }
        kill_all(&found).await
    }

    /// The VM of `node` loses its power: process 1 of the node and all below it end at once, and it is held.
    pub async fn crash_node(&self, node: &str) -> Result<(), Failure> {
        self.shape.node(node)?;
        self.hold(node)?;
        let all = processes::all()?;
        // `unshare`, and process 1 below it, whose end takes all others along.
        let first = of_component(&all, node);
        let ids: Vec<_> = first.iter().map(|process| process.pid).collect();
        let found: Vec<_> = first.into_iter().chain(ids.iter().flat_map(|pid| below(&all, *pid))).collect();
        if found.is_empty() {
            return Err(format!("{node} does not run").into());
        }
        kill_all(&found).await
    }

    /// The VM of `node` gets its power back.
    pub fn start_node(&self, node: &str) -> Result<(), Failure> {
        self.shape.node(node)?;
        self.release(node)
    }
}

async fn kill_all(found: &[&Process]) -> Result<(), Failure> {
    for process in found {
        // One may end with the other.
        let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    // Children of another: their end shows in /proc only.
    while processes::all()?
        .iter()
        .any(|one| found.iter().any(|process| process.pid == one.pid && process.program == one.program))
    {
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
