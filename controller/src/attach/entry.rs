//! One thing wanted of a VM, by everyone who wants the same, until all of them are answered.

use azure::{DiskId, Lun};
use csi::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use super::claims::Claimed;
use super::plan::Want;
use super::{Attachment, Intent, Outcome, Progress};
use crate::arm_error::Rpc;

/// An intent in the queue of its VM's task.
pub(super) struct Entry {
    pub(super) disk: DiskId,
    pub(super) want: Want,
    /// Set for an attach.
    pub(super) attachment: Option<Attachment>,
    callers: Vec<Caller>,
    /// Updates that named it and were accepted, or have to be made again.
    pub(super) updates: u32,
    /// Where the last update that named it was to attach it.
    pub(super) tried: Option<Lun>,
    /// Whether the last update named it.
    pub(super) is_named: bool,
    /// The last update that named it came to a good end.
    pub(super) is_done: bool,
    /// The answer if the next look does not show that it came true all the same.
    pub(super) failed: Option<Error>,
    /// Since when the VM lists the disk, without a write under way, and does not hold it.
    pub(super) listed_since: Option<Instant>,
    /// Azure accepted its detach and could not carry it out.
    pub(super) is_stuck: bool,
    /// It was sent as a forced detach.
    pub(super) is_forced: bool,
    _claimed: Claimed,
}

struct Caller {
    deadline: Instant,
    tell: watch::Sender<Progress>,
}

impl Entry {
    pub(super) fn new(intent: Intent) -> Entry {
        Entry {
            disk: intent.disk,
            want: intent.want,
            attachment: intent.attachment,
            callers: vec![Caller { deadline: intent.deadline, tell: intent.tell }],
            updates: 0,
            tried: None,
            is_named: false,
            is_done: false,
            failed: None,
            listed_since: None,
            is_stuck: false,
            is_forced: false,
            _claimed: intent.claimed,
        }
    }

    /// Somebody else wants the same.
    pub(super) fn join(&mut self, intent: Intent) {
        self.callers.push(Caller { deadline: intent.deadline, tell: intent.tell });
    }

    /// Forgets callers whose time is over, and those who hung up; false if nobody is left who waits.
    ///
    /// What nobody waits for any more is not begun: whoever hung up may by now be told by another process that the
    /// disk is free. What was begun is followed to its end before anybody is forgotten.
    pub(super) fn keep_waiting(&mut self, now: Instant) -> bool {
        self.callers.retain(|caller| caller.deadline > now && !caller.tell.is_closed());
        !self.callers.is_empty()
    }

    /// When its last caller gives up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.callers.iter().map(|caller| caller.deadline).max()
    }

    /// When the first of its callers that still wait gives up.
    pub(super) fn first_deadline(&self, now: Instant) -> Option<Instant> {
        self.callers.iter().map(|caller| caller.deadline).filter(|deadline| *deadline > now).min()
    }

    pub(super) fn rpc(&self) -> Rpc {
        match self.want {
            Want::Attach => Rpc::Publish,
            Want::Detach => Rpc::Unpublish,
        }
    }

    /// Answers everybody.
    pub(super) fn answer(self, result: &Result<Outcome, Error>) {
        for caller in self.callers {
            caller.tell.send_modify(|progress| progress.result = Some(result.clone()));
        }
    }

    /// Answers those who cannot wait until `until`; false if nobody is left.
    pub(super) fn answer_impatient(&mut self, until: Instant, error: &Error) -> bool {
        for caller in self.callers.extract_if(.., |caller| caller.deadline <= until) {
            caller.tell.send_modify(|progress| progress.result = Some(Err(error.clone())));
        }
        !self.callers.is_empty()
    }

    /// An update that names it is begun.
    pub(super) fn begin(&mut self) {
        self.is_done = false;
        for caller in &self.callers {
            caller.tell.send_modify(|progress| {
                (progress.waiting_for, progress.is_under_way) =
                    ("Azure is carrying out an update of the VM", true);
            });
        }
    }

    /// Says what is waited for.
    pub(super) fn say(&self, reason: &'static str) {
        for caller in &self.callers {
            caller.tell.send_modify(|progress| progress.waiting_for = reason);
        }
    }
}
