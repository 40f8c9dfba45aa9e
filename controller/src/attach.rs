//! Attaching and detaching: one task per VM is the only writer of that VM's data disks.
//!
//! ```text
//!  publish, unpublish ──intent──▶ task of the VM ──▶ ┌─ observe the VM ◀──────────────┐
//!          ▲                                         │  take all that is queued        │
//!          │                                         │  plan (pure)                    │
//!          └───────── own, verified result ──────────┤  answer what is so already      │
//!                                                    └─ ONE update, followed to its end ┘
//! ```
//! The read that must happen anyway is the gathering window, and the read after an update is both its
//! verification and the window of the next. A caller that hangs up cancels nothing; the task ends when
//! nothing is queued. Owned here: the map from VM to the queue of its task. **Invariant:** an entry of
//! the map is removed by its own task only, under the lock under which intents are queued, so that no
//! intent is lost between two tasks.

pub(crate) mod claims;
mod coming;
mod entry;
mod fate;
mod look;
mod observe;
pub(crate) mod plan;
mod repairs;
mod standing;
mod task;
mod versions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure::{Arm, Caching, DiskId, DiskUpdates, DiskWriter, Lun, VmId};
use csi::Error;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;

use claims::{Claimed, Claims, Move};
pub(crate) use coming::Coming;
use coming::Expected;
use plan::Want;
use repairs::Repairs;
use task::Task;
use versions::Versions;

use crate::cluster::ClusterView;
use crate::{Counters, Settings};

/// How often an update that is followed asks whether the process stops.
const STOPPED: Duration = Duration::from_secs(5);

/// How a disk is to be attached; the task chooses the LUN.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attachment {
    pub(crate) caching: Caching,
    /// ARM id of the disk encryption set.
    pub(crate) disk_encryption_set: Option<String>,
    pub(crate) write_accelerator: bool,
    /// More than one VM can have the disk.
    pub(crate) is_shared: bool,
    /// When the disk last came to a VM or left one, as far as Azure told before the attach was asked for.
    pub(crate) moved: Option<OffsetDateTime>,
}

/// A VM, and what it is to the CO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeVm {
    pub(crate) vm: VmId,
    /// What the CO calls its node, if it said so.
    pub(crate) node_id: Option<String>,
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The VM's model shows the disk at this LUN.
    Attached(Lun),
    /// The VM's model does not show the disk any more, and nothing known can bring it back.
    Detached,
    /// The same after an update of ours that came to its end, by a read that is known to be fresh.
    LetGo,
    /// The VM's model did not show the disk in the first place, by a read that is known to be fresh, and nothing
    /// known can bring it there.
    Absent,
    /// The VM does not exist (any more).
    VmGone,
}

/// What one caller wants of one VM.
struct Intent {
    disk: DiskId,
    want: Want,
    /// Set for an attach.
    attachment: Option<Attachment>,
    /// What the CO calls the VM's node, if it said so.
    node_id: Option<String>,
    deadline: Instant,
    tell: watch::Sender<Progress>,
    claimed: Claimed,
}

/// What a caller can see of its intent.
#[derive(Clone, Debug)]
struct Progress {
    /// What it is waiting for.
    waiting_for: &'static str,
    /// An update that names it was begun.
    is_under_way: bool,
    result: Option<Result<Outcome, Error>>,
}

/// What a caller asks for.
enum Asked {
    Attach(Attachment, Option<Coming>),
    Detach,
}

/// Every VM's task. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Attachments {
    inner: Arc<Inner>,
}

struct Inner {
    arm: Arm,
    writer: Box<dyn DiskWriter>,
    tasks: TaskTracker,
    claims: Claims,
    cluster: watch::Receiver<ClusterView>,
    repairs: Repairs,
    expected: Expected,
    versions: Versions,
    counters: Arc<Counters>,
    queues: Mutex<HashMap<VmId, mpsc::UnboundedSender<Box<Intent>>>>,
}

impl Attachments {
    /// No VM has a task yet.
    pub(crate) fn new(
        arm: Arm,
        settings: &Settings,
        claims: Claims,
        cluster: watch::Receiver<ClusterView>,
        tasks: TaskTracker,
    ) -> Attachments {
        let writer = Box::new(DiskUpdates::new(arm.clone(), settings.first_way));
        let (repairs, versions, queues) = (Repairs::default(), Versions::default(), Mutex::default());
        let (counters, expected) = (Arc::clone(&settings.counters), Expected::default());
        let inner =
            Inner { arm, writer, tasks, claims, cluster, repairs, expected, versions, counters, queues };
        Attachments { inner: Arc::new(inner) }
    }

    /// Something will be asked of `vm` in a moment: an update that is being planned for it waits a little.
    pub(crate) fn expect(&self, vm: &VmId) -> Coming {
        self.inner.expected.note(vm)
    }

    /// Attaches `disk` to the VM of a node and answers where the VM's model shows it. Who was `coming` has arrived.
    pub(crate) async fn attach(
        &self,
        node: &NodeVm,
        disk: &DiskId,
        attachment: Attachment,
        coming: Option<Coming>,
        deadline: Instant,
    ) -> Result<Lun, Error> {
        let asked = Asked::Attach(attachment, coming);
        match self.ask(node, disk, asked, std::future::ready(()), deadline).await?.0 {
            Outcome::Attached(lun) => Ok(lun),
            Outcome::Detached | Outcome::LetGo | Outcome::Absent | Outcome::VmGone => {
                Err(Error::not_found(format!("VM {} does not exist", node.vm.name())))
            }
        }
    }

    /// Detaches `disk` from a VM. `meanwhile` is done while Azure carries the detach out, if it has to.
    pub(crate) async fn detach<T>(
        &self,
        node: &NodeVm,
        disk: &DiskId,
        meanwhile: impl Future<Output = T>,
        deadline: Instant,
    ) -> Result<(Outcome, Option<T>), Error> {
        self.ask(node, disk, Asked::Detach, meanwhile, deadline).await
    }

    async fn ask<T>(
        &self,
        node: &NodeVm,
        disk: &DiskId,
        asked: Asked,
        meanwhile: impl Future<Output = T>,
        deadline: Instant,
    ) -> Result<(Outcome, Option<T>), Error> {
        let nothing = Progress { waiting_for: "the VM's turn", is_under_way: false, result: None };
        let (tell, mut progress) = watch::channel(nothing);
        let (vm, node_id) = (&node.vm, node.node_id.clone());
        let (want, attachment, coming) = match asked {
            Asked::Attach(attachment, coming) => (Want::Attach, Some(attachment), coming),
            Asked::Detach => (Want::Detach, None, None),
        };
        let is_shared = attachment.as_ref().is_some_and(|attachment| attachment.is_shared);
        let claimed = self.inner.claims.a_move(disk, Move { vm: vm.clone(), want, is_shared })?;
        let disk_id = disk.clone();
        let intent = Intent { disk: disk_id, want, attachment, node_id, deadline, tell, claimed };
        self.queue(vm, Box::new(intent));
        drop(coming);
        let mut end = progress.clone();
        let landed = timeout_at(deadline, async {
            let begun = async {
                let is_under_way = |progress: &Progress| progress.is_under_way || progress.result.is_some();
                match progress.wait_for(is_under_way).await.map(|progress| progress.result.is_none()) {
                    Ok(true) => Some(meanwhile.await),
                    _ => None,
                }
            };
            let ended = async {
                let ended = end.wait_for(|progress| progress.result.is_some()).await;
                ended.ok().and_then(|progress| progress.result.clone())
            };
            tokio::join!(ended, begun)
        });
        if let Ok((Some(result), done)) = landed.await {
            return result.map(|outcome| (outcome, done));
        }
        // The task lets go of a caller at the very moment at which his time is over.
        let is_late = Instant::now() >= deadline;
        let (verb, name) = (if want == Want::Attach { "attach" } else { "detach" }, disk.name());
        if is_late {
            let reason = progress.borrow().waiting_for;
            let vm = vm.name();
            return Err(Error::timeout(format!(
                "{verb} of disk {name}, VM {vm}, is not done yet: {reason}; it goes on, try again"
            )));
        }
        Err(Error::internal(format!("{verb} of disk {name}, VM {}: its task panicked", vm.name())))
    }

    /// Queues `intent` for the task of `vm`, which is started if there is none.
    fn queue(&self, vm: &VmId, intent: Box<Intent>) {
        let mut queues = self.inner.lock();
        let intent = match queues.get(vm) {
            None => intent,
            Some(queue) => match queue.send(intent) {
                Ok(()) => return,
                // Its task panicked before it could take its entry away.
                Err(mpsc::error::SendError(intent)) => intent,
            },
        };
        let (queue, intents) = mpsc::unbounded_channel();
        // The receiver is right here, so this cannot fail.
        let _ = queue.send(intent);
        queues.insert(vm.clone(), queue);
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn(Task::new(inner, vm.clone()).run(intents));
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<VmId, mpsc::UnboundedSender<Box<Intent>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the process stops, and for no call any more.
    async fn stopped(&self) {
        while !self.tasks.is_closed() {
            sleep(STOPPED).await;
        }
    }

    /// Ends the task of `vm`, unless something was queued meanwhile.
    fn end(&self, vm: &VmId, intents: &mpsc::UnboundedReceiver<Box<Intent>>) -> bool {
        let mut queues = self.lock();
        let is_done = intents.is_empty();
        if is_done {
            queues.remove(vm);
        }
        is_done
    }
}
