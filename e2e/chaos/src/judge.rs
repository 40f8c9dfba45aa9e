//! Holds every call and every write against the invariants, at the moment when it happens.
//!
//! Owner of the ledger, of the calls under way and of the trace; clones are the same judge, which is told of things by
//! callers and by the doors of the controllers. Its lock is never held across an await.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure_emulator::Emulator;
use tokio::time::Instant;
use tonic::Code;

use crate::counts::Counts;
use crate::facts::Facts;
use crate::invariants::{self, Breach};
use crate::ledger::{Ledger, Verb};
use crate::names::{Names, VmNo, VolumeNo};
use crate::trace::Trace;

/// A read may show a VM for so long after it was taken away: no scripted stale read is older, and no call longer.
const STALE: Duration = Duration::from_secs(90);

/// A call, counted from the start of its world.
pub(crate) type CallNo = u32;

/// A call under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) volume: VolumeNo,
    pub(crate) verb: Verb,
    /// Which controller was asked.
    pub(crate) process: usize,
    began: Instant,
    /// When the caller's patience ends.
    deadline: Instant,
}

/// A call that begins now.
pub(crate) fn call(volume: VolumeNo, verb: Verb, process: usize, patience: Duration) -> Call {
    let began = Instant::now();
    Call { volume, verb, process, began, deadline: began + patience }
}

/// What a caller is told.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// OK; with the LUN, if it was a publish.
    Done(u8),
    Refused(Code, String),
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Judge {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    azure: Emulator,
    names: Arc<Names>,
    begun: Instant,
    ledger: Ledger,
    /// On how many VMs each volume may be.
    shares: BTreeMap<VolumeNo, usize>,
    calls: BTreeMap<CallNo, Call>,
    next: CallNo,
    answers: Vec<(Call, Answer)>,
    /// When each VM was first seen to be missing.
    lost: BTreeMap<VmNo, Instant>,
    breach: Option<Breach>,
    trace: Trace,
    counts: Counts,
}

impl Judge {
    pub(crate) fn new(azure: Emulator, names: Arc<Names>, is_kept: bool) -> Judge {
        let inner = Inner {
            azure,
            names,
            begun: Instant::now(),
            ledger: Ledger::default(),
            shares: BTreeMap::new(),
            calls: BTreeMap::new(),
            next: 0,
            answers: Vec::new(),
            lost: BTreeMap::new(),
            breach: None,
            trace: Trace::new(is_kept),
            counts: Counts::default(),
        };
        Judge { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Something happened.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        self.lock().note(what);
    }

    /// A fault was scripted, or something else done to the world.
    pub(crate) fn count(&self, what: &'static str) {
        self.lock().counts.add(what);
    }

    /// There is a volume, which that many VMs may share.
    pub(crate) fn expect(&self, volume: VolumeNo, shares: usize) {
        self.lock().shares.insert(volume, shares);
    }

    /// A caller asks controller `process`.
    pub(crate) fn began(&self, volume: VolumeNo, verb: Verb, process: usize, patience: Duration) -> CallNo {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.ledger.began(volume, verb);
        inner.calls.insert(number, call(volume, verb, process, patience));
        inner.note(format_args!("call {number} {verb:?} v{volume} of c{process}, {patience:?}"));
        number
    }

    /// A call is answered.
    pub(crate) fn answered(&self, number: CallNo, answer: Answer) {
        let mut inner = self.lock();
        let Some(call) = inner.calls.remove(&number) else { return };
        inner.note(format_args!("call {number} {:?} v{}: {answer:?}", call.verb, call.volume));
        inner.counts.answer(call.verb, &answer);
        inner.judge_answer(&call, &answer);
        inner.answers.push((call, answer));
    }

    /// The callers of these calls hang up. Which calls those were.
    pub(crate) fn hang_up(&self, is_meant: impl Fn(CallNo, &Call) -> bool) -> Vec<(CallNo, Call)> {
        let mut inner = self.lock();
        let meant: Vec<(CallNo, Call)> = inner
            .calls
            .iter()
            .filter(|(number, call)| is_meant(**number, call))
            .map(|(number, call)| (*number, *call))
            .collect();
        for (number, _) in &meant {
            inner.calls.remove(number);
            inner.note(format_args!("call {number} is hung up"));
        }
        meant
    }

    /// The numbers of the calls under way.
    pub(crate) fn under_way(&self) -> Vec<CallNo> {
        self.lock().calls.keys().copied().collect()
    }

    /// What was answered since the last time.
    pub(crate) fn take_answers(&self) -> Vec<(Call, Answer)> {
        std::mem::take(&mut self.lock().answers)
    }

    /// What is so now.
    pub(crate) fn facts(&self) -> Facts {
        self.lock().facts()
    }

    /// A write of ours made `after` of `before`.
    pub(crate) fn wrote(&self, before: &Facts, after: &Facts) {
        let mut inner = self.lock();
        let found = invariants::foreign_disks_are_untouched(before, after)
            .or_else(|| invariants::nothing_is_made_up(before, after))
            .or_else(|| invariants::kept_stays_kept(before, after, &inner.ledger))
            .or_else(|| inner.broken(after));
        inner.found(found);
    }

    /// Looks at everything that must always hold.
    pub(crate) fn look(&self) {
        let mut inner = self.lock();
        let facts = inner.facts();
        let now = Instant::now();
        let late = |call: &Call| {
            let late = now.saturating_duration_since(call.deadline);
            invariants::everyone_is_answered(call.volume, call.verb, millis(late))
        };
        let late = inner.calls.values().find_map(late);
        let found = late.or_else(|| inner.broken(&facts));
        inner.found(found);
    }

    /// Notes what is broken; the first counts.
    pub(crate) fn found(&self, breach: Option<Breach>) {
        self.lock().found(breach);
    }

    /// What is broken.
    pub(crate) fn breach(&self) -> Option<Breach> {
        self.lock().breach.clone()
    }

    /// The trace and the counts, at the end.
    pub(crate) fn close(&self) -> (Trace, Counts) {
        let inner = self.lock();
        (inner.trace.clone(), inner.counts.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(millis(self.begun.elapsed()), what);
    }

    fn facts(&mut self) -> Facts {
        let facts = Facts::of(&self.azure.truth(), &self.names);
        let missing = (0..self.names.vms.len()).filter_map(|vm| VmNo::try_from(vm).ok());
        for vm in missing.filter(|vm| !facts.vms.contains(vm)) {
            self.lost.entry(vm).or_insert_with(Instant::now);
            self.ledger.lost(vm);
        }
        facts
    }

    fn judge_answer(&mut self, call: &Call, answer: &Answer) {
        let facts = self.facts();
        let (volume, verb) = (call.volume, call.verb);
        let found = match (answer, verb) {
            (Answer::Refused(code, message), _) => {
                invariants::no_answer_blames_the_driver(volume, verb, *code, message)
            }
            (Answer::Done(lun), Verb::Publish(vm)) => {
                let was_lost = self.lost.get(&vm).is_some_and(|lost| *lost + STALE >= call.began);
                if !was_lost {
                    self.ledger.told(volume, verb, *lun);
                }
                invariants::published_is_attached(&facts, volume, vm, *lun, was_lost)
            }
            (Answer::Done(_), Verb::Unpublish(vm)) => {
                self.ledger.told(volume, verb, 0);
                invariants::unpublished_is_gone(&facts, volume, vm)
            }
            (Answer::Done(_), Verb::Create | Verb::Delete) => {
                self.ledger.told(volume, verb, 0);
                None
            }
        };
        let found = found.or_else(|| self.broken(&facts));
        self.found(found);
    }

    /// What must hold at any moment.
    fn broken(&self, facts: &Facts) -> Option<Breach> {
        let shares = |volume: VolumeNo| self.shares.get(&volume).copied().unwrap_or(1);
        invariants::gone_stays_gone(facts, &self.ledger)
            .or_else(|| invariants::luns_are_unique(facts, &self.ledger))
            .or_else(|| invariants::no_disk_is_on_too_many_vms(facts, shares))
            .or_else(|| invariants::deleted_is_gone(facts, &self.ledger))
    }

    fn found(&mut self, breach: Option<Breach>) {
        if let Some(breach) = breach.filter(|_| self.breach.is_none()) {
            self.note(format_args!("BROKEN {breach}"));
            self.breach = Some(breach);
        }
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
