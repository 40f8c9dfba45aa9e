//! The callers: for each volume what Kubernetes wants of it, as the external provisioner and attacher would go about it.
//!
//! ```text
//! volume:      Wanted ──create OK──▶ There ──nobody has it──▶ Leaving ──delete OK──▶ Over
//! attachment:  (none) ─▶ Attaching ──publish OK──▶ Attached ─▶ Detaching ──unpublish OK──▶ (none)
//!                            └──────── the pod is gone ────────────▲
//! ```
//! One call at a time for each volume and for each attachment. What was not answered OK is asked again, and from
//! Detaching there is no way but OK, unless somebody changes his mind by force. Pure: chance comes in as a generator, calls go out as what is to be asked.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use fastrand::Rng;
use tonic::Code;

use crate::judge::{Answer, Call};
use crate::ledger::Verb;
use crate::names::{VmNo, VolumeNo};

/// What Kubernetes wants of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Wanted,
    There,
    Leaving,
    Over,
}

/// What it wants of a volume on a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Attaching,
    Attached,
    Detaching,
}

/// A volume, and who has to do with it.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) number: VolumeNo,
    /// How many VMs may share its disk.
    pub(crate) shares: usize,
    pub(crate) stage: Stage,
    /// A call about the volume itself is under way.
    pub(crate) is_asking: bool,
    /// By VM: what is wanted, and whether a call about it is under way.
    pub(crate) holds: BTreeMap<VmNo, (Hold, bool)>,
}

/// How the callers of a world behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// How many VMs there were at first.
    pub(crate) vms: VmNo,
    /// Two nodes may ask for one disk at the same time.
    pub(crate) asks_twice: bool,
    /// A volume may be deleted while somebody has it.
    pub(crate) is_rude: bool,
    /// A volume may be wanted again where it is being detached: somebody took the finalizer off its attachment.
    pub(crate) changes_mind: bool,
}

impl Volume {
    pub(crate) fn new(number: VolumeNo, shares: usize) -> Volume {
        Volume { number, shares, stage: Stage::Wanted, is_asking: false, holds: BTreeMap::new() }
    }

    /// What is to be asked next, if anything; it counts as asked.
    pub(crate) fn next(&mut self, rng: &mut Rng, manners: Manners) -> Option<Verb> {
        match self.stage {
            Stage::Wanted if !self.is_asking => return self.ask(Verb::Create),
            Stage::Wanted => return None,
            Stage::Leaving if self.holds.is_empty() || rng.u8(0..4) == 0 => {
                return (!self.is_asking).then(|| self.ask(Verb::Delete)).flatten();
            }
            Stage::There | Stage::Leaving | Stage::Over => {}
        }
        let most =
            if self.shares > 1 || (manners.asks_twice && rng.u8(0..5) == 0) { self.shares + 1 } else { 1 };
        let may_come = self.stage == Stage::There && self.holds.len() < most;
        if self.stage == Stage::There && self.may_leave(rng, manners) {
            self.stage = Stage::Leaving;
            return self.ask(Verb::Delete);
        }
        if may_come && (self.holds.is_empty() || rng.u8(0..3) == 0) {
            let vm = rng.u8(0..manners.vms);
            if let Entry::Vacant(place) = self.holds.entry(vm) {
                place.insert((Hold::Attaching, false));
                return self.ask(Verb::Publish(vm));
            }
        }
        let free: Vec<VmNo> =
            self.holds.iter().filter(|(_, (_, is_asking))| !is_asking).map(|(vm, _)| *vm).collect();
        let vm = *free.get(rng.usize(0..free.len().max(1)))?;
        let hold = &mut self.holds.get_mut(&vm)?.0;
        match *hold {
            Hold::Attaching if self.stage == Stage::There && rng.u8(0..4) > 0 => self.ask(Verb::Publish(vm)),
            Hold::Attached if self.stage == Stage::There && rng.u8(0..3) == 0 => self.ask(Verb::Publish(vm)),
            Hold::Detaching if self.stage == Stage::There && manners.changes_mind && rng.u8(0..3) == 0 => {
                *hold = Hold::Attaching;
                self.ask(Verb::Publish(vm))
            }
            Hold::Attached if self.stage == Stage::There && rng.u8(0..3) == 0 => None,
            Hold::Attaching | Hold::Attached | Hold::Detaching => {
                *hold = Hold::Detaching;
                self.ask(Verb::Unpublish(vm))
            }
        }
    }

    /// What is to be asked next on the way to nothing: what is being attached becomes so first, unless there is a
    /// reason why not; then all goes.
    pub(crate) fn next_down(&mut self) -> Option<Verb> {
        if self.is_asking {
            return None;
        }
        if self.stage == Stage::Wanted {
            return self.ask(Verb::Create);
        }
        let is_alone = self.holds.is_empty();
        match self.holds.iter_mut().find(|(_, (_, is_asking))| !is_asking) {
            Some((vm, (Hold::Attaching, _))) if self.stage == Stage::There => {
                let vm = *vm;
                self.ask(Verb::Publish(vm))
            }
            Some((vm, (hold, _))) => {
                *hold = Hold::Detaching;
                let vm = *vm;
                self.ask(Verb::Unpublish(vm))
            }
            None if is_alone && self.stage != Stage::Over => {
                self.stage = Stage::Leaving;
                self.ask(Verb::Delete)
            }
            None => None,
        }
    }

    fn may_leave(&self, rng: &mut Rng, manners: Manners) -> bool {
        let is_rude = manners.is_rude && rng.u8(0..40) == 0;
        !self.is_asking && (is_rude || (self.holds.is_empty() && rng.u8(0..8) == 0))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands where something may be asked, or nothing")]
    fn ask(&mut self, verb: Verb) -> Option<Verb> {
        self.set_asking(verb, true);
        Some(verb)
    }

    /// A call about it has ended, with or without an answer.
    pub(crate) fn set_asking(&mut self, verb: Verb, is_asking: bool) {
        match verb {
            Verb::Create | Verb::Delete => self.is_asking = is_asking,
            Verb::Publish(vm) | Verb::Unpublish(vm) => {
                if let Some(hold) = self.holds.get_mut(&vm) {
                    hold.1 = is_asking;
                }
            }
        }
    }

    /// Takes in the answer to `call`.
    pub(crate) fn learn(&mut self, call: &Call, answer: &Answer) {
        self.set_asking(call.verb, false);
        match (call.verb, answer) {
            (Verb::Create, Answer::Done(_)) => self.stage = Stage::There,
            // The provisioner forgets the volume: nothing of it may be left.
            (Verb::Create, Answer::Refused(code, _)) if is_final(*code) => self.stage = Stage::Over,
            (Verb::Delete, Answer::Done(_)) => self.stage = Stage::Over,
            (Verb::Publish(vm), Answer::Done(_)) => {
                if let Some(hold) = self.holds.get_mut(&vm).filter(|hold| hold.0 == Hold::Attaching) {
                    hold.0 = Hold::Attached;
                }
            }
            (Verb::Unpublish(vm), Answer::Done(_)) => {
                self.holds.remove(&vm);
            }
            (_, Answer::Refused(..)) => {}
        }
    }

    /// As [`Volume::learn`], on the way to nothing: what is refused for good reason is given up.
    pub(crate) fn learn_down(&mut self, call: &Call, answer: &Answer) {
        self.learn(call, answer);
        if let (Verb::Publish(vm), Answer::Refused(code, _)) = (call.verb, answer)
            && matches!(code, Code::NotFound | Code::FailedPrecondition | Code::ResourceExhausted)
            && let Some(hold) = self.holds.get_mut(&vm)
        {
            hold.0 = Hold::Detaching;
        }
    }

    /// Nothing is left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over && self.holds.is_empty()
    }
}

/// Whether the external provisioner takes `code` as the end of a creation.
fn is_final(code: Code) -> bool {
    !matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unavailable
            | Code::Aborted
            | Code::ResourceExhausted
    )
}

#[cfg(test)]
mod tests;
