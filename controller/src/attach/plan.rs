//! What to do about one VM: from what Azure says and what callers want to a step for each of them. Pure.
//!
//! **Invariants** (property-tested below): a LUN is never chosen that the VM's model still holds, also
//! for a disk on its way out; nothing is detached that nobody named; never more disks than the VM takes;
//! nothing is written while Azure is still changing the VM; what is already so is never written again.

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
    /// An attach of it was sent and its fate is not known: that the model does not show the disk proves
    /// nothing yet.
    pub(crate) may_land: bool,
}

/// The VM as Azure shows it.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) slots: Vec<Slot>,
    pub(crate) state: State,
    /// How many data disks this size of VM takes.
    pub(crate) most_disks: usize,
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
    /// An entry that a failed write left behind goes first; the attach comes after.
    Release,
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
    let mut luns = free_luns(observed);
    let mut room = observed.most_disks.saturating_sub(observed.slots.len());
    let settle = |step: Option<Step>| {
        step.unwrap_or_else(|| {
            if room == 0 && going > 0 {
                return Step::Wait("a disk of the VM is being detached and makes room");
            }
            if writes >= width && room > 0 {
                return Step::Wait("the next update");
            }
            match luns.next() {
                Some(lun) if room > 0 => {
                    (room, writes) = (room - 1, writes + 1);
                    Step::Attach(lun)
                }
                _ => Step::Full,
            }
        })
    };
    steps.into_iter().map(settle).collect()
}

/// The step for `one`, unless it is an attach that needs a LUN.
fn without_room(observed: &Observed, one: &Wanted) -> Option<Step> {
    let slot = observed.slots.iter().find(|slot| slot.disk.as_ref() == Some(&one.disk));
    let changing = observed.state == State::Changing;
    match (one.want, slot) {
        (Want::Detach, None) if one.may_land => Some(Step::Wait("an attach of it may still land")),
        (Want::Detach, None) => Some(Step::Detached),
        (Want::Attach, Some(slot)) if slot.held && !slot.leaving => Some(Step::Attached(slot.lun)),
        (_, Some(slot)) if changing && slot.leaving => Some(Step::Wait("the disk is being detached")),
        _ if changing => Some(Step::Wait("Azure is changing the VM")),
        (Want::Detach, Some(_)) => Some(Step::Detach),
        (Want::Attach, None) => None,
        (Want::Attach, Some(slot)) if slot.leaving || observed.state == State::Failed => Some(Step::Release),
        (Want::Attach, Some(_)) => Some(Step::Wait("the disk is listed and not yet held by the VM")),
    }
}

/// The LUNs that no entry of the VM's model holds, lowest first.
fn free_luns(observed: &Observed) -> impl Iterator<Item = Lun> {
    (0..=Lun::MAX.get())
        .filter_map(Lun::new)
        .filter(|lun| !observed.slots.iter().any(|slot| slot.lun == *lun))
}

#[cfg(test)]
mod tests;
