//! What must hold, as pure functions of what is so in Azure and of what the callers were told. Each says what is
//! broken, or nothing. None is ever weakened: where the driver is not there yet, the script is (see `script`).

use std::fmt;

use crate::facts::{Entry, Facts};
use crate::ledger::{Ledger, Verb};
use crate::names::{DiskName, VmNo, VolumeNo};

#[cfg(test)]
mod tests;

/// A broken invariant: which, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The name of the function that found it.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.found)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is what each invariant answers")]
fn breach(invariant: &'static str, found: String) -> Option<Breach> {
    Some(Breach { invariant, found })
}

/// An OK to publish means that the VM holds the disk, at that LUN, at that moment. `was_lost`: the VM was taken away
/// while the call was under way.
pub fn published_is_attached(
    facts: &Facts,
    volume: VolumeNo,
    vm: VmNo,
    lun: u8,
    was_lost: bool,
) -> Option<Breach> {
    let name = "published_is_attached";
    match facts.entry(vm, DiskName::Ours(volume)) {
        _ if was_lost => None,
        Some(entry) if entry.is_held && !entry.is_leaving && entry.lun == lun => None,
        Some(entry) => {
            breach(name, format!("v{volume} was told to be at LUN {lun} of vm{vm}, and is {entry:?}"))
        }
        None => {
            breach(name, format!("v{volume} was told to be at LUN {lun} of vm{vm}, which does not list it"))
        }
    }
}

/// An OK to unpublish means that the VM neither holds nor lists the disk.
pub fn unpublished_is_gone(facts: &Facts, volume: VolumeNo, vm: VmNo) -> Option<Breach> {
    let entry = facts.entry(vm, DiskName::Ours(volume))?;
    breach("unpublished_is_gone", format!("v{volume} was told to be gone from vm{vm}, and is {entry:?}"))
}

/// What was told to be gone stays so until somebody publishes it there again.
pub fn gone_stays_gone(facts: &Facts, ledger: &Ledger) -> Option<Breach> {
    let is_back = |entry: &&Entry| match entry.disk {
        DiskName::Ours(volume) => ledger.gone.contains(&(volume, entry.vm)),
        DiskName::Foreign(_) => false,
    };
    let entry = facts.entries.iter().find(is_back)?;
    breach("gone_stays_gone", format!("told to be gone, published by nobody since, and there: {entry:?}"))
}

/// No VM has two disks at one LUN, neither in Azure nor in what the callers were told.
pub fn luns_are_unique(facts: &Facts, ledger: &Ledger) -> Option<Breach> {
    let name = "luns_are_unique";
    for (index, entry) in facts.entries.iter().enumerate() {
        let is_same = |other: &&Entry| (other.vm, other.lun) == (entry.vm, entry.lun);
        if let Some(other) = facts.entries[..index].iter().find(is_same) {
            return breach(name, format!("{entry:?} and {other:?}"));
        }
    }
    for ((volume, vm), lun) in &ledger.kept {
        let is_same = |(other, on): &Pair, its: &u8| on == vm && its == lun && other < volume;
        if let Some(((other, _), _)) = ledger.kept.iter().find(|(pair, its)| is_same(pair, its)) {
            return breach(
                name,
                format!("v{volume} and v{other} were both told to be at LUN {lun} of vm{vm}"),
            );
        }
    }
    None
}

type Pair = (VolumeNo, VmNo);

/// A disk is on as many VMs as may share it, at most; `shares` tells how many.
pub fn no_disk_is_on_too_many_vms(facts: &Facts, shares: impl Fn(VolumeNo) -> usize) -> Option<Breach> {
    for volume in &facts.volumes {
        let holds = |entry: &&Entry| entry.disk == DiskName::Ours(*volume) && entry.is_held;
        let count = facts.entries.iter().filter(holds).count();
        if count > shares(*volume) {
            return breach("no_disk_is_on_too_many_vms", format!("v{volume} is held by {count} VMs"));
        }
    }
    None
}

/// What was told to be attached is not taken away by a write of ours before somebody asks for that.
pub fn kept_stays_kept(before: &Facts, after: &Facts, ledger: &Ledger) -> Option<Breach> {
    let is_there = |facts: &Facts, vm, disk| {
        facts.entry(vm, disk).is_some_and(|entry| entry.is_held && !entry.is_leaving)
    };
    for (volume, vm) in ledger.kept.keys() {
        let disk = DiskName::Ours(*volume);
        if is_there(before, *vm, disk) && !is_there(after, *vm, disk) {
            return breach(
                "kept_stays_kept",
                format!("a write took v{volume} from vm{vm}: nobody asked for it"),
            );
        }
    }
    None
}

/// No write of ours changes anything about a disk of somebody else: it is neither taken away nor put back. What its owner
/// left half done goes on at any update of the VM, whoever makes it: an attach that failed and stayed listed is done
/// after all, a disk that is leaving leaves. The other way, only its owner turns it.
pub fn foreign_disks_are_untouched(before: &Facts, after: &Facts) -> Option<Breach> {
    let foreign = |facts: &Facts| -> Vec<Entry> {
        facts.entries.iter().filter(|entry| matches!(entry.disk, DiskName::Foreign(_))).copied().collect()
    };
    let (before, after) = (foreign(before), foreign(after));
    let is_same =
        |one: &Entry, other: &Entry| (one.vm, one.lun, one.disk) == (other.vm, other.lun, other.disk);
    let may_become = |entry: &Entry| {
        let then = after.iter().find(|then| is_same(entry, then));
        let is_done = match then {
            None => entry.is_leaving,
            Some(then) => !entry.is_leaving && *then == Entry { is_held: true, ..*entry },
        };
        is_done || then == Some(entry)
    };
    let is_known = |then: &Entry| before.iter().any(|entry| is_same(entry, then));
    if before.iter().all(may_become) && after.iter().all(is_known) {
        return None;
    }
    breach("foreign_disks_are_untouched", format!("a write of ours changed {before:?} to {after:?}"))
}

/// No write of ours makes a VM, nor a disk that is not one of a volume.
pub fn nothing_is_made_up(before: &Facts, after: &Facts) -> Option<Breach> {
    let is_new = |vm: &&VmNo| !before.vms.contains(*vm);
    if let Some(vm) = after.vms.iter().find(is_new) {
        return breach("nothing_is_made_up", format!("a write of ours made vm{vm}, which had been deleted"));
    }
    let stranger = after.strangers.iter().find(|one| !before.strangers.contains(one))?;
    breach("nothing_is_made_up", format!("a write of ours made {stranger}"))
}

/// No detach is forced: nothing here tells that a node is out of service, and nothing else allows it. `body` is that of a
/// write of ours.
pub fn nothing_is_forced(body: &[u8]) -> Option<Breach> {
    const FORCED: &[u8] = b"ForceDetach";
    if !body.windows(FORCED.len()).any(|part| part == FORCED) {
        return None;
    }
    breach("nothing_is_forced", format!("a write of ours is {}", String::from_utf8_lossy(body)))
}

/// An OK to delete means that the disk is gone, and that no VM lists it.
pub fn deleted_is_gone(facts: &Facts, ledger: &Ledger) -> Option<Breach> {
    let name = "deleted_is_gone";
    if let Some(volume) = ledger.deleted.iter().find(|volume| facts.volumes.contains(volume)) {
        return breach(name, format!("v{volume} was told to be deleted, and its disk is there"));
    }
    let is_ghost = |entry: &&Entry| match entry.disk {
        DiskName::Ours(volume) => ledger.deleted.contains(&volume),
        DiskName::Foreign(_) => false,
    };
    let entry = facts.entries.iter().find(is_ghost)?;
    breach(name, format!("told to be deleted, and listed: {entry:?}"))
}

/// When all volumes are deleted, no disk of one is there, and no VM lists one.
pub fn nothing_leaks(facts: &Facts) -> Option<Breach> {
    let is_ours = |entry: &&Entry| matches!(entry.disk, DiskName::Ours(_));
    if let Some(entry) = facts.entries.iter().find(is_ours) {
        return breach("nothing_leaks", format!("everything was taken down, and there is {entry:?}"));
    }
    let volume = facts.volumes.first()?;
    breach("nothing_leaks", format!("everything was taken down, and the disk of v{volume} is there"))
}

/// Every call is answered by the end of its caller's patience; `late` is how long it is overdue, in milliseconds.
pub fn everyone_is_answered(volume: VolumeNo, verb: Verb, late: u64) -> Option<Breach> {
    if late <= GRACE {
        return None;
    }
    breach("everyone_is_answered", format!("{verb:?} of v{volume} is {late} ms overdue"))
}

/// How much later than the deadline an answer may come, in milliseconds: the clock moves in steps of one.
const GRACE: u64 = 5;

/// With nothing in the way any more, everything comes to its end within `most` milliseconds.
pub fn rest_is_reached(waited: u64, most: u64, left: impl FnOnce() -> String) -> Option<Breach> {
    if waited <= most {
        return None;
    }
    let left = left();
    breach("rest_is_reached", format!("after {waited} ms without any trouble there is left: {left}"))
}

/// No trouble of Azure's is a bug of ours: INTERNAL is the answer to a panic, UNKNOWN is none at all.
pub fn no_answer_blames_the_driver(
    volume: VolumeNo,
    verb: Verb,
    code: tonic::Code,
    message: &str,
) -> Option<Breach> {
    if !matches!(code, tonic::Code::Internal | tonic::Code::Unknown | tonic::Code::Unimplemented) {
        return None;
    }
    breach("no_answer_blames_the_driver", format!("{verb:?} of v{volume} was answered {code:?}: {message}"))
}
