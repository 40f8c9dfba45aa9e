//! The task of one VM: its queue, and the loop drawn in `attach`.
//!
//! Owned here: everything wanted of this VM and not answered yet. An intent leaves the queue when the
//! VM's model shows that it came true, when it is refused, when Azure takes no update in its caller's time, or
//! when nobody waits for it and no write for it is under way. Nothing survives the task; a new one finds out
//! by reading.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use azure::{AttachDisk, DetachDisk, DiskChanges, DiskId, ErrorKind, Lun, VmId, Written};
use csi::{Error, Kind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::entry::Entry;
use super::fate::{Fate, fate, is_stuck};
use super::plan::{Observed, State, Step, Want, leftovers, plan};
use super::{Inner, Intent, Outcome, standing};
use crate::arm_error::disk_error;
use crate::cluster::ClusterView;

/// Between two looks at a VM that Azure is changing: at first, and at most.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Updates that Azure may accept for one intent without showing a result, and refuse for something that
/// passes: a VM takes few writes a minute.
const MOST_UPDATES: u32 = 5;

/// How long an update that Azure accepted is followed at least, also if nobody waits for it: whoever calls again
/// meanwhile has its end without asking for every disk.
const FOLLOW: Duration = Duration::from_mins(2);
/// How long the look at what an update did may take that nobody waits for any more.
const LOOK_BACK: Duration = Duration::from_secs(15);

/// The only writer of the data disks of `vm`.
pub(super) struct Task {
    pub(super) inner: Arc<Inner>,
    pub(super) vm: VmId,
    /// What the CO calls its node, as far as a caller has said so.
    pub(super) node_id: Option<String>,
    pub(super) queue: Vec<Entry>,
    /// Whether the last look is known not to be older than one before it.
    pub(super) is_fresh: bool,
    /// Attached by the update that has just ended.
    pub(super) landed: BTreeSet<DiskId>,
    /// How many disks the next update may name: halved when Azure refuses one for a disk it does not
    /// name to us, until the bad one stands alone.
    width: usize,
    pause: Duration,
}

impl Task {
    pub(super) fn new(inner: Arc<Inner>, vm: VmId) -> Task {
        let (queue, landed) = (Vec::new(), BTreeSet::new());
        Task {
            inner,
            vm,
            node_id: None,
            queue,
            is_fresh: false,
            landed,
            width: usize::MAX,
            pause: SHORTEST_PAUSE,
        }
    }

    /// Works until nothing is queued.
    pub(super) async fn run(mut self, mut intents: mpsc::UnboundedReceiver<Box<Intent>>) {
        loop {
            self.take_all(&mut intents);
            self.drop_late();
            let deadline = match self.queue.iter().filter_map(Entry::deadline).max() {
                Some(deadline) => deadline,
                // Whoever waited for it will call again: what the VM holds by then is seen once for all of them.
                None if !self.landed.is_empty() => Instant::now() + LOOK_BACK,
                None if self.inner.end(&self.vm, &intents) => return,
                None => continue,
            };
            let Some(observed) = self.look(&mut intents, deadline).await else { continue };
            let update = self.settle(&observed);
            if update.changes.attach.is_empty() && update.changes.detach.is_empty() {
                self.rest().await;
            } else if let Some(wait) = self.inner.writer.wait(&self.vm) {
                self.hold(wait, &mut intents).await;
            } else {
                self.begin(&update);
                self.write(&update.changes, deadline).await;
            }
        }
    }

    /// Takes everything that is queued by now; the same wish again joins the one that waits.
    pub(super) fn take_all(&mut self, intents: &mut mpsc::UnboundedReceiver<Box<Intent>>) {
        while let Ok(intent) = intents.try_recv() {
            self.take(*intent);
        }
    }

    fn take(&mut self, intent: Intent) {
        if let Some(node_id) = &intent.node_id {
            self.node_id = Some(node_id.clone());
        }
        let last = self.queue.iter_mut().rev().find(|entry| entry.disk == intent.disk);
        match last {
            Some(entry) if entry.want == intent.want => entry.join(intent),
            _ => self.queue.push(Entry::new(intent)),
        }
    }

    /// Forgets what nobody waits for any more: nothing for it is under way now.
    pub(super) fn drop_late(&mut self) {
        let now = Instant::now();
        self.queue.retain_mut(|entry| entry.keep_waiting(now));
    }

    /// Answers what needs no write, and gathers the rest into one update.
    fn settle(&mut self, observed: &Observed) -> Update {
        let listed: Vec<&DiskId> = observed.slots.iter().filter_map(|slot| slot.disk.as_ref()).collect();
        self.inner.claims.looked(&self.vm, observed.state == State::Changing, &listed);
        let wanted = self.wanted(observed);
        let steps = plan(observed, &wanted, self.width);
        let mut changes = DiskChanges::default();
        let mut is_repair = steps.contains(&Step::Release);
        if steps.contains(&Step::AwaitRoom) {
            let left = leftovers(observed, &wanted);
            is_repair |= !left.is_empty();
            changes.detach.extend(left.into_iter().map(|disk| DetachDisk { disk, force: false }));
        }
        let queue = std::mem::take(&mut self.queue);
        let carry_out = |(entry, step)| self.carry_out(entry, step, observed, &mut changes);
        self.queue = queue.into_iter().zip(steps).filter_map(carry_out).collect();
        Update { changes, is_repair }
    }

    /// Notes what an update that goes out now is; one that is held back is planned again.
    fn begin(&mut self, update: &Update) {
        let vm = self.vm.name();
        if update.is_repair {
            tracing::warn!(vm, "clearing up what a failed update left on the VM");
            self.inner.repairs.note(&self.vm);
        }
        self.inner.versions.changes(&self.vm);
        named(&mut self.queue).for_each(Entry::begin);
        for forced in update.changes.detach.iter().filter(|one| one.force) {
            let disk = forced.disk.name();
            tracing::warn!(disk, vm, "forced detach: the node is out of service, and a normal detach failed");
            self.inner.counters.forced_detaches.fetch_add(1, Ordering::Relaxed);
            for entry in named(&mut self.queue).filter(|entry| entry.disk == forced.disk) {
                (entry.is_forced, entry.failed) = (true, None);
            }
        }
    }

    /// Answers an entry, or puts what it needs into the update, or lets it wait; what is not answered stays.
    fn carry_out(
        &self,
        mut entry: Entry,
        step: Step,
        observed: &Observed,
        changes: &mut DiskChanges,
    ) -> Option<Entry> {
        entry.is_named = false;
        let is_stuck = entry.is_stuck && !entry.is_forced;
        if matches!(step, Step::Attached(_) | Step::Detached) {
            self.inner.claims.agreed(&self.vm, &entry.disk);
        }
        // Azure refused a LUN that was taken after the look that it was chosen by.
        let is_outrun = |failed: &Error| {
            failed.kind() == Kind::Invalid && observed.slots.iter().any(|slot| Some(slot.lun) == entry.tried)
        };
        let failed = entry.failed.take().filter(|failed| !is_outrun(failed));
        let result = match (step, failed) {
            (Step::Attached(lun), _) => Ok(Outcome::Attached(lun)),
            (Step::Detached, _) if entry.updates == 0 && self.is_fresh => Ok(Outcome::Absent),
            (Step::Detached, None) if entry.is_done && self.is_fresh => Ok(Outcome::LetGo),
            (Step::Detached, _) => Ok(Outcome::Detached),
            (Step::Full, _) => Err(self.full(&entry.disk, observed)),
            (Step::Detach | Step::Release, Some(failed)) if is_stuck && self.is_out_of_service() => {
                entry.failed = Some(failed);
                detach(&mut entry, true, changes);
                return Some(entry);
            }
            // It may still come true: the write whose answer was lost, or another's; and what somebody else is
            // detaching is on its way to where it shall be.
            (Step::Wait(reason), Some(failed)) if !failed.kind().is_final() || entry.want == Want::Detach => {
                entry.say(reason);
                entry.failed = Some(failed);
                return Some(entry);
            }
            (_, Some(failed)) => Err(failed),
            (Step::Attach(_), None) if self.is_leaving(&entry.disk) => Err(Error::busy(format!(
                "disk {} is not attached: its VolumeAttachment is being deleted",
                entry.disk.name()
            ))),
            (Step::Attach(lun), None) => {
                attach(&mut entry, lun, changes);
                return Some(entry);
            }
            (Step::Detach | Step::Release, None) => {
                detach(&mut entry, false, changes);
                return Some(entry);
            }
            (Step::Wait(reason), None) => {
                entry.say(reason);
                return Some(entry);
            }
            (Step::AwaitRoom, None) => {
                entry.say("a disk of the VM is being detached and makes room");
                return Some(entry);
            }
        };
        entry.answer(&result);
        None
    }

    fn is_out_of_service(&self) -> bool {
        self.is_said(standing::is_out_of_service)
    }

    pub(super) fn may_be_used(&self, disk: &DiskId) -> bool {
        self.is_said(|view, node_id| standing::may_be_used(view, node_id, disk))
    }

    fn is_leaving(&self, disk: &DiskId) -> bool {
        self.is_said(|view, node_id| standing::is_leaving(view, node_id, disk))
    }

    /// What Kubernetes says of the VM's node; nothing of one whose name is not known.
    fn is_said(&self, says: impl FnOnce(&ClusterView, &str) -> bool) -> bool {
        self.node_id.as_ref().is_some_and(|node_id| says(&self.inner.cluster.borrow(), node_id))
    }

    fn full(&self, disk: &DiskId, observed: &Observed) -> Error {
        let (disk, vm, most) = (disk.name(), self.vm.name(), observed.most_disks);
        let kept = match observed.promised.len() {
            0 => String::new(),
            count => format!("; {count} LUNs are kept for the VolumeAttachments of its node"),
        };
        Error::exhausted(format!(
            "disk {disk} cannot be attached: VM {vm} takes {most} data disks and has no place left{kept}"
        ))
    }

    /// Azure takes no update of this VM for so long: who cannot wait is told so, the others are gathered into the
    /// update that comes then.
    async fn hold(&mut self, wait: Duration, intents: &mut mpsc::UnboundedReceiver<Box<Intent>>) {
        let now = Instant::now();
        let (until, seconds, vm) = (now + wait, wait.as_secs_f64().ceil(), self.vm.name());
        self.queue.retain_mut(|entry| {
            entry.say("Azure takes no update of the VM for a while");
            let disk = entry.disk.name();
            let error = Error::unavailable(format!(
                "disk {disk}: Azure throttles updates of VM {vm} and takes the next one in {seconds} s; try again then"
            ));
            !std::mem::take(&mut entry.is_named) || entry.answer_impatient(until, &error)
        });
        if self.queue.is_empty() {
            return;
        }
        if let Ok(Some(intent)) = timeout_at(until, intents.recv()).await {
            self.take(*intent);
        }
    }

    /// Sends one update and follows it; what became of it is for the next look to say.
    async fn write(&mut self, changes: &DiskChanges, deadline: Instant) {
        let count = changes.attach.len() + changes.detach.len();
        let vm = self.vm.clone();
        let vm = vm.name();
        let inner = Arc::clone(&self.inner);
        let follow = deadline.max(Instant::now() + FOLLOW);
        let written = tokio::select! {
            written = inner.writer.change(&self.vm, changes, deadline, follow) => written,
            // Every call has been answered, and the next process reads what it needs.
            () = inner.stopped() => return self.queue.clear(),
        };
        let error = match written {
            Ok(Written::Done) => {
                self.pause = SHORTEST_PAUSE;
                named(&mut self.queue).for_each(|entry| entry.is_done = true);
                self.landed = changes.attach.iter().map(|one| one.disk.clone()).collect();
                self.count_updates(|entry| {
                    let disk = entry.disk.name();
                    Error::unavailable(format!(
                        "Azure accepted {MOST_UPDATES} updates of VM {vm} and does not show disk {disk} as asked; try again"
                    ))
                });
                return;
            }
            Ok(Written::Changed) => {
                // Perhaps by an earlier try of this very update, whose answer was lost.
                self.note_open(changes);
                self.count_updates(|entry| {
                    let disk = entry.disk.name();
                    Error::unavailable(format!(
                        "disk {disk}: VM {vm} was changed by somebody else each of {MOST_UPDATES} times that it was to be updated; try again"
                    ))
                });
                self.rest().await;
                return;
            }
            Err(error) => error,
        };
        if !error.is_definite_refusal() {
            self.note_open(changes);
        }
        if is_stuck(&error) {
            let detached = named(&mut self.queue).filter(|entry| entry.want == Want::Detach);
            detached.for_each(|entry| entry.is_stuck = true);
        }
        // Where Azure names the disk that it minds, the others are only planned again.
        let minded: Option<DiskId> = error.target().and_then(|target| target.parse().ok());
        let is_minded = |entry: &Entry| minded.as_ref() == Some(&entry.disk);
        if let Some(entry) = named(&mut self.queue).find(|entry| is_minded(entry)) {
            entry.failed = Some(disk_error(entry.rpc(), &entry.disk, &error));
            return;
        }
        match fate(error.kind(), count, changes.attach.is_empty()) {
            Fate::Again => {
                if error.kind() == ErrorKind::Invalid {
                    // The disk has left already: what we planned by is from before that.
                    self.inner.versions.outdated(&self.vm);
                }
                self.count_updates(|entry| disk_error(entry.rpc(), &entry.disk, &error));
                self.rest().await;
            }
            Fate::Split => self.width = count / 2,
            Fate::Over => {
                self.width = usize::MAX;
                for entry in named(&mut self.queue) {
                    entry.failed = Some(disk_error(entry.rpc(), &entry.disk, &error));
                }
            }
        }
    }

    /// Nobody knows whether Azure took this update.
    fn note_open(&self, changes: &DiskChanges) {
        self.inner.versions.outdated(&self.vm);
        for one in &changes.attach {
            let how = self
                .queue
                .iter()
                .find(|entry| entry.disk == one.disk)
                .and_then(|entry| entry.attachment.as_ref());
            self.inner.claims.note_open_attach(&self.vm, &one.disk, how.and_then(|how| how.moved));
        }
    }

    /// Counts an update for whoever it named; `failure` for whoever has had enough of them.
    fn count_updates(&mut self, failure: impl Fn(&Entry) -> Error) {
        for entry in named(&mut self.queue) {
            entry.updates += 1;
            if entry.updates >= MOST_UPDATES {
                entry.failed = Some(failure(entry));
            }
        }
    }

    /// Waits before the next look, longer each time, never past the first caller's deadline.
    async fn rest(&mut self) {
        let now = Instant::now();
        let first = self.queue.iter().filter_map(|entry| entry.first_deadline(now)).min();
        let until = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if !self.queue.is_empty() {
            sleep_until(first.map_or(until, |first| first.min(until))).await;
        }
    }
}

/// What the update that is planned or under way is about.
fn named(queue: &mut [Entry]) -> impl Iterator<Item = &mut Entry> {
    queue.iter_mut().filter(|entry| entry.is_named)
}

/// One update, as it is planned.
struct Update {
    changes: DiskChanges,
    /// It clears up what a failed one left.
    is_repair: bool,
}

/// Puts a detach into the update.
fn detach(entry: &mut Entry, force: bool, changes: &mut DiskChanges) {
    entry.is_named = true;
    entry.say("Azure is detaching the disk");
    changes.detach.push(DetachDisk { disk: entry.disk.clone(), force });
}

/// Puts an attach into the update.
fn attach(entry: &mut Entry, lun: Lun, changes: &mut DiskChanges) {
    let Some(how) = entry.attachment.clone() else { return };
    (entry.is_named, entry.tried) = (true, Some(lun));
    entry.say("Azure is attaching the disk");
    changes.attach.push(AttachDisk {
        disk: entry.disk.clone(),
        lun,
        caching: how.caching,
        disk_encryption_set: how.disk_encryption_set,
        write_accelerator: how.write_accelerator,
    });
}
