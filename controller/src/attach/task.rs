//! The task of one VM: its queue, and the loop drawn in `attach`.
//!
//! Owned here: everything wanted of this VM and not answered yet. An intent leaves the queue when the
//! VM's model shows that it came true, when it is refused, or when its last caller's time is over and no
//! write for it is under way. Nothing survives the task; a new one finds out by reading.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use azure::{AttachDisk, DetachDisk, DiskChanges, DiskId, ErrorKind, VmId, Written};
use csi::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::claims::Claimed;
use super::observe;
use super::plan::{Observed, Step, Want, Wanted, plan};
use super::{Attachment, Inner, Intent, Outcome, Progress};
use crate::arm_error::{Rpc, disk_error};

/// Between two looks at a VM that Azure is changing: at first, and at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Updates that Azure may accept for one intent without showing a result, and refuse for something that
/// passes: a VM takes few writes a minute.
const MOST_UPDATES: u32 = 5;

/// The only writer of the data disks of `vm`.
pub(super) struct Task {
    inner: Arc<Inner>,
    vm: VmId,
    queue: Vec<Entry>,
    /// Attached by the update that has just ended.
    landed: BTreeSet<DiskId>,
    /// How many disks the next update may name: halved when Azure refuses one for a disk it does not
    /// name to us, until the bad one stands alone.
    width: usize,
    pause: Duration,
}

/// One thing wanted, by everyone who wants the same.
struct Entry {
    disk: DiskId,
    want: Want,
    attachment: Option<Attachment>,
    callers: Vec<Caller>,
    /// Updates that named it and were accepted, or have to be made again.
    updates: u32,
    /// Whether the last update named it.
    is_named: bool,
    /// The answer if the next look does not show that it came true all the same.
    failed: Option<Error>,
    _claimed: Claimed,
}

struct Caller {
    deadline: Instant,
    tell: watch::Sender<Progress>,
}

impl Entry {
    /// When its last caller gives up.
    fn deadline(&self) -> Option<Instant> {
        self.callers.iter().map(|caller| caller.deadline).max()
    }

    fn rpc(&self) -> Rpc {
        match self.want {
            Want::Attach => Rpc::Publish,
            Want::Detach => Rpc::Unpublish,
        }
    }

    fn answer(self, result: &Result<Outcome, Error>) {
        for caller in self.callers {
            caller.tell.send_modify(|progress| progress.result = Some(result.clone()));
        }
    }

    fn say(&self, reason: &'static str) {
        for caller in &self.callers {
            caller.tell.send_modify(|progress| progress.waiting_for = reason);
        }
    }
}

impl Task {
    pub(super) fn new(inner: Arc<Inner>, vm: VmId) -> Task {
        let (queue, landed) = (Vec::new(), BTreeSet::new());
        Task { inner, vm, queue, landed, width: usize::MAX, pause: SHORTEST_PAUSE }
    }

    /// Works until nothing is queued.
    pub(super) async fn run(mut self, mut intents: mpsc::UnboundedReceiver<Intent>) {
        loop {
            self.take_all(&mut intents);
            self.drop_late();
            let Some(deadline) = self.queue.iter().filter_map(Entry::deadline).max() else {
                if self.inner.end(&self.vm, &intents) {
                    return;
                }
                continue;
            };
            let Some(observed) = self.look(&mut intents, deadline).await else { continue };
            let changes = self.settle(&observed);
            if changes.attach.is_empty() && changes.detach.is_empty() {
                self.rest().await;
            } else {
                self.write(&changes, deadline).await;
            }
        }
    }

    /// Takes everything that is queued by now; the same wish again joins the one that waits.
    fn take_all(&mut self, intents: &mut mpsc::UnboundedReceiver<Intent>) {
        while let Ok(intent) = intents.try_recv() {
            let caller = Caller { deadline: intent.deadline, tell: intent.tell };
            let last = self.queue.iter_mut().rev().find(|entry| entry.disk == intent.disk);
            match last {
                Some(entry) if entry.want == intent.want => entry.callers.push(caller),
                _ => self.queue.push(Entry {
                    disk: intent.disk,
                    want: intent.want,
                    attachment: intent.attachment,
                    callers: vec![caller],
                    updates: 0,
                    is_named: false,
                    failed: None,
                    _claimed: intent.claimed,
                }),
            }
        }
    }

    /// Forgets what nobody waits for any more: nothing for it is under way now.
    fn drop_late(&mut self) {
        let now = Instant::now();
        self.queue.retain(|entry| entry.deadline().is_some_and(|deadline| deadline > now));
    }

    /// The VM as it is, or nothing if that could not be read and everyone was told so.
    async fn look(
        &mut self,
        intents: &mut mpsc::UnboundedReceiver<Intent>,
        deadline: Instant,
    ) -> Option<Observed> {
        let landed = std::mem::take(&mut self.landed);
        let read = self.inner.arm.vm(&self.vm, deadline).await;
        self.take_all(intents);
        let looked = match read {
            Err(error) => Err(error),
            Ok(vm) => {
                let mut observed = observe::model(&vm, &landed);
                let attaches = self.queue.iter().filter(|entry| entry.want == Want::Attach);
                let wanted: BTreeSet<DiskId> = attaches.map(|entry| entry.disk.clone()).collect();
                let (arm, vm) = (&self.inner.arm, &self.vm);
                observe::confirm(arm, vm, &mut observed, &wanted, deadline).await.map(|()| observed)
            }
        };
        match looked {
            Ok(observed) => Some(observed),
            Err(error) => {
                let is_gone = error.kind() == ErrorKind::NotFound;
                for entry in std::mem::take(&mut self.queue) {
                    let result = match (is_gone, &entry.failed) {
                        (true, _) => Ok(Outcome::VmGone),
                        (false, Some(failed)) => Err(failed.clone()),
                        (false, None) => Err(disk_error(entry.rpc(), &entry.disk, &error)),
                    };
                    entry.answer(&result);
                }
                None
            }
        }
    }

    /// Answers what needs no write, and gathers the rest into one update.
    fn settle(&mut self, observed: &Observed) -> DiskChanges {
        let claims = &self.inner.claims;
        let wanted: Vec<Wanted> = self
            .queue
            .iter()
            .map(|entry| Wanted {
                disk: entry.disk.clone(),
                want: entry.want,
                may_land: entry.want == Want::Detach && claims.may_land(&self.vm, &entry.disk),
            })
            .collect();
        for slot in &observed.slots {
            // It landed: whatever comes now is no surprise.
            slot.disk.iter().for_each(|disk| claims.forget_lost_attach(&self.vm, disk));
        }
        let mut changes = DiskChanges::default();
        let steps = plan(observed, &wanted, self.width);
        let mut queue = Vec::with_capacity(self.queue.len());
        for (mut entry, step) in std::mem::take(&mut self.queue).into_iter().zip(steps) {
            entry.is_named = false;
            match (step, entry.failed.take()) {
                (Step::Attached(lun), _) => {
                    entry.answer(&Ok(Outcome::Attached(lun)));
                    continue;
                }
                (Step::Detached, _) => {
                    entry.answer(&Ok(Outcome::Detached));
                    continue;
                }
                (Step::Full, _) => {
                    let error = self.full(&entry.disk, observed.most_disks);
                    entry.answer(&Err(error));
                    continue;
                }
                // It may still come true: the write whose answer was lost, or another's.
                (Step::Wait(reason), Some(failed)) if !failed.kind().is_final() => {
                    entry.say(reason);
                    entry.failed = Some(failed);
                }
                (Step::Wait(_) | Step::Attach(_) | Step::Detach | Step::Release, Some(failed)) => {
                    entry.answer(&Err(failed));
                    continue;
                }
                (Step::Wait(reason), None) => entry.say(reason),
                (Step::Attach(lun), None) => {
                    let Some(how) = entry.attachment.clone() else { continue };
                    entry.is_named = true;
                    entry.say("Azure is attaching the disk");
                    changes.attach.push(AttachDisk {
                        disk: entry.disk.clone(),
                        lun,
                        caching: how.caching,
                        disk_encryption_set: how.disk_encryption_set,
                        write_accelerator: how.write_accelerator,
                    });
                }
                (Step::Detach | Step::Release, None) => {
                    entry.is_named = true;
                    entry.say("Azure is detaching the disk");
                    changes.detach.push(DetachDisk { disk: entry.disk.clone(), force: false });
                }
            }
            queue.push(entry);
        }
        self.queue = queue;
        changes
    }

    fn full(&self, disk: &DiskId, most: usize) -> Error {
        let (disk, vm) = (disk.name(), self.vm.name());
        Error::exhausted(format!(
            "disk {disk} cannot be attached: VM {vm} takes {most} data disks and has no place left"
        ))
    }

    /// Sends one update and follows it; what became of it is for the next look to say.
    async fn write(&mut self, changes: &DiskChanges, deadline: Instant) {
        let named = changes.attach.len() + changes.detach.len();
        let vm = self.vm.name().to_owned();
        let error = match self.inner.writer.change(&self.vm, changes, deadline).await {
            Ok(Written::Done) => {
                self.pause = SHORTEST_PAUSE;
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
        if may_land(&error) {
            for one in &changes.attach {
                self.inner.claims.note_lost_attach(&self.vm, &one.disk);
            }
        }
        // Where Azure names the disk that it minds, the others are only planned again.
        let minded: Option<DiskId> = error.target().and_then(|target| target.parse().ok());
        let is_minded = |entry: &Entry| minded.as_ref() == Some(&entry.disk);
        if let Some(entry) = self.queue.iter_mut().find(|entry| entry.is_named && is_minded(entry)) {
            entry.failed = Some(disk_error(entry.rpc(), &entry.disk, &error));
            return;
        }
        match fate(error.kind(), named) {
            Fate::Again => {
                self.count_updates(|entry| disk_error(entry.rpc(), &entry.disk, &error));
                self.rest().await;
            }
            Fate::Split => self.width = named / 2,
            Fate::Over => {
                self.width = usize::MAX;
                for entry in self.queue.iter_mut().filter(|entry| entry.is_named) {
                    entry.failed = Some(disk_error(entry.rpc(), &entry.disk, &error));
                }
            }
        }
    }

    /// Counts an update for whoever it named; `failure` for whoever has had enough of them.
    fn count_updates(&mut self, failure: impl Fn(&Entry) -> Error) {
        for entry in self.queue.iter_mut().filter(|entry| entry.is_named) {
            entry.updates += 1;
            if entry.updates >= MOST_UPDATES {
                entry.failed = Some(failure(entry));
            }
        }
    }

    /// Waits before the next look, longer each time, never past the first caller's deadline.
    async fn rest(&mut self) {
        let now = Instant::now();
        let deadlines = self.queue.iter().flat_map(|entry| &entry.callers).map(|caller| caller.deadline);
        let first = deadlines.filter(|deadline| *deadline > now).min();
        let until = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if !self.queue.is_empty() {
            sleep_until(first.map_or(until, |first| first.min(until))).await;
        }
    }
}

/// Whether an attach that ended so may still reach the VM: nobody said how it ended.
fn may_land(error: &azure::Error) -> bool {
    let is_open = matches!(error.kind(), ErrorKind::Transient | ErrorKind::Timeout | ErrorKind::Protocol);
    is_open && !error.is_definite_refusal()
}

/// What to do after an update was not made.
enum Fate {
    /// Look again; the same may go through a little later.
    Again,
    /// One of several disks may be to blame: smaller updates find out which.
    Split,
    /// Whoever is named is told, unless the next look shows that it came true.
    Over,
}

/// What becomes of an update that named so many disks and ended with `kind`: pure.
fn fate(kind: ErrorKind, named: usize) -> Fate {
    match kind {
        // Something else is going on with the VM; the deadline bounds how long that is waited for.
        ErrorKind::Conflict | ErrorKind::Preempted | ErrorKind::EtagMismatch => Fate::Again,
        // About one disk, or about the request because of one disk.
        ErrorKind::NotFound
        | ErrorKind::AttachedElsewhere
        | ErrorKind::AttachLimit
        | ErrorKind::BeingDetached
        | ErrorKind::Forbidden
        | ErrorKind::Policy
        | ErrorKind::Locked
        | ErrorKind::Unsuitable
        | ErrorKind::NotAllowed
        | ErrorKind::Quota
        | ErrorKind::Capacity
        | ErrorKind::Invalid => match (named, kind) {
            (2.., _) => Fate::Split,
            (_, ErrorKind::BeingDetached) => Fate::Again,
            _ => Fate::Over,
        },
        ErrorKind::Throttled { .. }
        | ErrorKind::Unauthenticated
        | ErrorKind::Transient
        | ErrorKind::Timeout
        | ErrorKind::Protocol => Fate::Over,
    }
}
