//! The CSI Node service: finds, formats, mounts and grows the disks of one machine.
//!
//! ```text
//! service.rs  decodes, joins repeated calls (Flights, by volume), keeps the caller's deadline
//!   stage · unstage · publish · expand · stats · info      one verb each: look → compare → act → wait
//!     find (device, host/sysfs)   which block device is the disk at this LUN
//!     prepare (verdict, superblock, blank, marker)   may it be mounted, must it be formatted, or left alone
//!     mountinfo                   what is mounted where
//!       host                      the seam to the kernel; the only place that touches the system
//! ```
//!
//! **Invariants.** No state of its own outlives what the kernel and the staging folder can tell again: a
//! restart at any point loses nothing. No call of the kernel runs on a worker of the runtime. Volume ids are
//! opaque: nothing here knows Azure. Nothing is ever unmounted lazily, and no disk is written to unless
//! `prepare` proved that it may be.

mod blank;
mod device;
mod expand;
mod find;
pub mod host;
mod info;
mod marker;
mod mountinfo;
mod options;
mod patience;
mod prepare;
mod publish;
mod raw;
mod record;
mod seal;
mod service;
mod stage;
mod stats;
mod superblock;
mod unstage;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use csi::{Error, Flights};
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use host::Host;
pub use superblock::FsType;

/// What the operator decides. Where `/sys` and `/dev` begin, and where tools are found, is the host's.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The CSI node id: the Kubernetes node name.
    pub node_id: String,
    /// The driver's name, the prefix of its topology key.
    pub driver_name: String,
    /// How many disks the operator lets the node take, whatever its machine could.
    pub attach_limit: Option<u64>,
}

/// What the machine knows about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// The number of its availability zone, "1"; `None` in a region without zones.
    pub zone: Option<String>,
    /// Its region, "westeurope".
    pub region: Option<String>,
    /// Its size, "Standard_D4s_v5".
    pub vm_size: String,
    /// How many data disks that size takes; `None` if unknown.
    pub max_data_disks: Option<u64>,
}

/// Asks the machine for its facts; called until it answered once.
pub type FactsSource = Arc<dyn Fn() -> BoxFuture<'static, Result<MachineFacts, Error>> + Send + Sync>;

/// Numbers that only go up, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Disks that the driver refused to touch because they could hold data or could not be read.
    pub refusals: AtomicU64,
    /// Runs of mkfs.
    pub formats: AtomicU64,
}

/// The Node service. Cheap to clone.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

pub(crate) struct Inner {
    settings: Settings,
    host: Arc<dyn Host>,
    machine: FactsSource,
    facts: tokio::sync::OnceCell<MachineFacts>,
    began: Instant,
    counters: Arc<Counters>,
    /// Calls that change something, one per volume.
    changes: Flights<service::Change, u64>,
    /// Stats never wait behind a change.
    reads: Flights<(), stats::Measured>,
}

impl Node {
    /// A node service on `host`; its work runs as `tasks`, so that a shutdown can wait for it.
    pub fn new(settings: Settings, host: Arc<dyn Host>, machine: FactsSource, tasks: TaskTracker) -> Self {
        Node(Arc::new(Inner {
            settings,
            host,
            machine,
            facts: tokio::sync::OnceCell::new(),
            began: Instant::now(),
            counters: Arc::default(),
            changes: Flights::new(tasks.clone()),
            reads: Flights::new(tasks),
        }))
    }

    /// The numbers for metrics.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.0.counters)
    }
}

impl Inner {
    /// Runs kernel calls on a thread of their own: one that hangs holds up its own volume and nothing else.
    /// There is no limit here, because `Flights` lets one run per volume, and one per path that is measured.
    async fn blocking<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&dyn Host) -> Result<T, Error> + Send + 'static,
    {
        let host = Arc::clone(&self.host);
        tokio::task::spawn_blocking(move || work(&*host))
            .await
            .unwrap_or_else(|error| Err(Error::internal("a kernel call panicked").caused_by(error)))
    }
}

/// The mount table, now.
fn mounts(host: &dyn Host) -> Result<mountinfo::Mounts, Error> {
    let text = host
        .mountinfo()
        .map_err(|error| Error::unavailable(format!("the mount table cannot be read: {error}")))?;
    Ok(mountinfo::Mounts::parse(&text))
}

/// An error of the file system around a CSI path.
fn path_error(path: &std::path::Path, what: &str, error: &std::io::Error) -> Error {
    Error::unavailable(format!("{} could not be {what}: {error}", path.display()))
}
