//! What to do about one VM: from what Azure says and what callers want to a step for each of them. Pure.
//!
//! **Invariants** (property-tested below): a LUN is never chosen that the VM's model still holds, also
//! for a disk on its way out, nor one that Kubernetes still believes to be another disk's; nothing is
//! detached that nobody named; never more disks than the VM takes; nothing is written while Azure is still
//! changing the VM; what is already so is never written again.

use std::collections::BTreeSet;

use azure::{DiskId, Lun};

/// What a caller wants for one disk of this VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Attach,
    Detach,
}

/// One thing wanted; the list of them is in the order of arrival.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) disk: DiskId,
    pub(crate) want: Want,
    /// That the VM shows the disk as it is wanted proves nothing yet: what was sent may still land, or the answer be
    /// from before it did.
    pub(crate) is_unproven: bool,
    /// It has been listed and not held for so long that nobody brings it to an end any more.
    pub(crate) is_overdue: bool,
}

/// The VM as Azure shows it.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) slots: Vec<Slot>,
    pub(crate) state: State,
    /// How many data disks this size of VM takes.
    pub(crate) most_disks: usize,
    /// The LUNs that the node was told in answers of the past, with the disk that is meant, if that is known.
    /// The node looks for that disk there until its attachment is gone, whatever Azure shows.
    pub(crate) promised: Vec<(Lun, Option<DiskId>)>,
    /// What a failed write left on this VM was not cleared up a moment ago.
    pub(crate) may_repair: bool,
}

impl Observed {
    /// What the VM holds for certain, if nothing is going on with it.
    pub(crate) fn held(&self) -> impl Iterator<Item = DiskId> {
        let slots = if self.state == State::Settled { &self.slots[..] } else { &[] };
        slots.iter().filter(|slot| slot.held && !slot.leaving).filter_map(|slot| slot.disk.clone())
    }

    /// It holds these, unless something is going on with it.
    pub(crate) fn hold(&mut self, disks: &BTreeSet<DiskId>) {
        let is_settled = self.state == State::Settled;
        for slot in self.slots.iter_mut().filter(|slot| is_settled && !slot.leaving) {
            slot.held |= slot.disk.as_ref().is_some_and(|disk| disks.contains(disk));
        }
    }
}

/// One data disk in the VM's model.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) lun: Lun,
    /// None for a disk that is not a managed one.
    pub(crate) disk: Option<DiskId>,
    /// `toBeDetached`: going, or stuck while going.
    pub(crate) leaving: bool,
    /// The disk itself names this VM as its holder.
    pub(crate) held: bool,
}

/// What the VM's provisioning state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Settled,
    /// A write, ours or another's, is being carried out.
    Changing,
    /// The last write failed: entries may be left that nothing carries out any more.
    Failed,
}

/// What to do about one wanted thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is so already.
    Attached(Lun),
    /// It is so already.
    Detached,
    Attach(Lun),
    Detach,
    /// An entry that a failed write left behind goes; an attach comes after.
    Release,
    /// Not now: a disk of the VM is on its way out and makes room.
    AwaitRoom,
    /// Not now, and why.
    Wait(&'static str),
    /// The VM takes no more disks.
    Full,
}

/// A step for each of `wanted`, at most `width` of which are writes.
pub(crate) fn plan(observed: &Observed, wanted: &[Wanted], width: usize) -> Vec<Step> {
    let mut writes = 0;
    let mut going = observed.slots.iter().filter(|slot| slot.leaving).count();
    let mut steps: Vec<Option<Step>> = Vec::with_capacity(wanted.len());
    for (index, one) in wanted.iter().enumerate() {
        let comes_later = wanted[..index].iter().any(|other| other.disk == one.disk);
        let step = if comes_later {
            Some(Step::Wait("an earlier call for the disk comes first"))
        } else {
            without_room(observed, one)
        };
        let step = match step {
            Some(Step::Detach | Step::Release) if writes >= width => Some(Step::Wait("the next update")),
            other => other,
        };
        if let Some(Step::Detach | Step::Release) = step {
            writes += 1;
            going += 1;
        }
        steps.push(step);
    }
    let mut taken: BTreeSet<Lun> = observed.slots.iter().map(|slot| slot.lun).collect();
    let mut room = observed.most_disks.saturating_sub(observed.slots.len());
    let settle = |(one, step): (&Wanted, Option<Step>)| {
        step.unwrap_or_else(|| {
            if room == 0 && going > 0 {
                return Step::AwaitRoom;
            }
            if writes >= width && room > 0 {
                return Step::Wait("the next update");
            }
            match lun_for(&one.disk, observed, &taken) {
                Some(lun) if room > 0 => {
                    (room, writes) = (room - 1, writes + 1);
                    taken.insert(lun);
                    Step::Attach(lun)
                }
                _ => Step::Full,
            }
        })
    };
    wanted.iter().zip(steps).map(settle).collect()
}

/// The step for `one`, unless it is an attach that needs a LUN.
fn without_room(observed: &Observed, one: &Wanted) -> Option<Step> {
    let slot = observed.slots.iter().find(|slot| slot.disk.as_ref() == Some(&one.disk));
    let changing = observed.state == State::Changing;
    match (one.want, slot) {
        (Want::Detach, None) if one.is_unproven => Some(Step::Wait("an attach of it may still land")),
        // Somebody's update is under way, perhaps that of a process that we took over from: it may be about this disk.
        (Want::Detach, None) if changing => Some(Step::Wait("Azure is changing the VM")),
        (Want::Detach, None) => Some(Step::Detached),
        (Want::Attach, Some(slot)) if slot.held && !slot.leaving && one.is_unproven => {
            Some(Step::Wait("Azure's answer may be from before a detach"))
        }
        (Want::Attach, Some(slot)) if slot.held && !slot.leaving => Some(Step::Attached(slot.lun)),
        (_, Some(slot)) if changing && slot.leaving => Some(Step::Wait("the disk is being detached")),
        _ if changing => Some(Step::Wait("Azure is changing the VM")),
        (Want::Detach, Some(slot)) if !slot.leaving => Some(Step::Detach),
        (Want::Attach, None) => None,
        // That the disk does not name the VM may be an old answer: in use or not, it is taken out only after it has
        // said so for long.
        (_, Some(slot)) if slot.leaving || one.is_overdue => {
            let later = Step::Wait("what a failed update left on the VM was to be cleared up a moment ago");
            Some(if observed.may_repair { Step::Release } else { later })
        }
        (Want::Detach, Some(_)) => Some(Step::Detach),
        (Want::Attach, Some(_)) => Some(Step::Wait("the disk is listed and not yet held by the VM")),
    }
}

/// What failed updates left on a VM that Azure is not changing, and nobody asks for: in the way of a disk that needs
/// its place.
pub(crate) fn leftovers(observed: &Observed, wanted: &[Wanted]) -> Vec<DiskId> {
    if observed.state == State::Changing || !observed.may_repair {
        return Vec::new();
    }
    let left = observed.slots.iter().filter(|slot| slot.leaving).filter_map(|slot| slot.disk.clone());
    left.filter(|disk| !wanted.iter().any(|one| one.disk == *disk)).collect()
}

/// Where `disk` goes: where its node was told that it is, if that is free, else the lowest LUN that is neither
/// taken nor promised to another disk.
fn lun_for(disk: &DiskId, observed: &Observed, taken: &BTreeSet<Lun>) -> Option<Lun> {
    let is_others = |lun: Lun| {
        observed.promised.iter().any(|(promised, whose)| *promised == lun && whose.as_ref() != Some(disk))
    };
    let is_free = |lun: &Lun| !taken.contains(lun) && !is_others(*lun);
    let own = observed.promised.iter().filter(|(_, whose)| whose.as_ref() == Some(disk)).map(|(lun, _)| *lun);
    own.chain((0..=Lun::MAX.get()).filter_map(Lun::new)).find(is_free)
}

#[cfg(test)]
mod tests;
