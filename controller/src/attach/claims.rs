//! Which disks are on their way to or from a VM, and which are being deleted.
//!
//! Azure shows no sign of an attach that is still in flight, and deletes such a disk from under the VM.
//! So a deletion and an attach of one disk exclude each other here, and two attaches of a disk that only
//! one VM can have. Also remembered, for a while: an attach of which nobody said how it ended, since that
//! the VM does not show it proves nothing yet.
//! **Invariant:** a claim is freed when its guard is dropped, also by a panic; the lock is never held
//! across an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure::{DiskId, VmId};
use csi::Error;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::plan::Want;

/// How long a request whose answer was lost may still reach Azure.
const LANDING: Duration = Duration::from_secs(30);
/// How old an answer about a disk may be, where it does not tell its age.
const STALE: Duration = Duration::from_secs(10);
/// How long it is remembered if nobody looks at the VM again. Operations that were accepted have been seen
/// to take minutes.
const LONGEST_LANDING: Duration = Duration::from_mins(15);

/// The claims of one controller. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Claims {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    claims: HashMap<DiskId, Claim>,
    /// Attaches of which it is open whether they land.
    landings: HashMap<(VmId, DiskId), Landing>,
}

/// An attach of unknown fate.
struct Landing {
    /// When it was last sent.
    since: Instant,
    /// When the disk last moved before, by Azure's clock.
    moved: Option<OffsetDateTime>,
}

impl Landing {
    fn is_remembered(&self, now: Instant) -> bool {
        now < self.since + LONGEST_LANDING
    }
}

enum Claim {
    /// Calls that move it to or from a VM.
    Moves(Vec<Move>),
    Deletion,
}

/// A call that moves a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    /// Where to or from.
    pub(crate) vm: VmId,
    /// Which of both.
    pub(crate) want: Want,
    /// More than one VM can have the disk.
    pub(crate) is_shared: bool,
}

/// A claim on a disk, until dropped.
pub(crate) struct Claimed {
    claims: Claims,
    disk: DiskId,
    /// None for a deletion.
    of: Option<Move>,
}

impl Inner {
    /// A VM that an attach of the disk may still reach.
    fn landing(&self, disk: &DiskId) -> Option<&VmId> {
        let now = Instant::now();
        let mut open = self.landings.iter().filter(|(_, landing)| landing.is_remembered(now));
        open.find(|((_, other), _)| other == disk).map(|((vm, _), _)| vm)
    }
}

impl Claims {
    /// Claims `disk` for a move to or from a VM.
    ///
    /// # Errors
    /// ABORTED while the disk is being deleted; FAILED_PRECONDITION while another VM is getting a disk that
    /// only one can have.
    pub(crate) fn a_move(&self, disk: &DiskId, of: Move) -> Result<Claimed, Error> {
        let mut inner = self.lock();
        let name = disk.name();
        if of.want == Want::Attach
            && !of.is_shared
            && let Some(other) = inner.landing(disk).filter(|other| **other != of.vm)
        {
            let other = other.name();
            return Err(Error::precondition(format!(
                "disk {name}: an attach to VM {other} was sent and may still land; it must be detached there first"
            )));
        }
        match inner.claims.entry(disk.clone()).or_insert_with(|| Claim::Moves(Vec::new())) {
            Claim::Moves(moves) => {
                let is_rival = |other: &&Move| {
                    of.want == Want::Attach
                        && other.want == Want::Attach
                        && other.vm != of.vm
                        && !(of.is_shared && other.is_shared)
                };
                if let Some(rival) = moves.iter().find(is_rival) {
                    let rival = rival.vm.name();
                    return Err(Error::precondition(format!(
                        "disk {name} is being attached to VM {rival}; it must be detached there first"
                    )));
                }
                moves.push(of.clone());
            }
            Claim::Deletion => {
                return Err(Error::busy(format!("disk {name} is being deleted; try again")));
            }
        }
        drop(inner);
        Ok(Claimed { claims: self.clone(), disk: disk.clone(), of: Some(of) })
    }

    /// Claims `disk` for its deletion.
    ///
    /// # Errors
    /// ABORTED while the disk is on its way to or from a VM, or may be.
    pub(crate) fn a_deletion(&self, disk: &DiskId) -> Result<Claimed, Error> {
        let mut inner = self.lock();
        if inner.landing(disk).is_some() || inner.claims.contains_key(disk) {
            let name = disk.name();
            return Err(Error::busy(format!("disk {name} is being attached or detached; try again")));
        }
        inner.claims.insert(disk.clone(), Claim::Deletion);
        drop(inner);
        Ok(Claimed { claims: self.clone(), disk: disk.clone(), of: None })
    }

    /// Whether `disk` is on its way to or from a VM, or may be.
    pub(crate) fn is_moving(&self, disk: &DiskId) -> bool {
        let inner = self.lock();
        matches!(inner.claims.get(disk), Some(Claim::Moves(_))) || inner.landing(disk).is_some()
    }

    /// An attach was sent and not brought to a good end: it may land for a while, or be half done. `moved`: when the
    /// disk last came to a VM or left one, as far as Azure told before.
    pub(crate) fn note_open_attach(&self, vm: &VmId, disk: &DiskId, moved: Option<OffsetDateTime>) {
        let (mut inner, since) = (self.lock(), Instant::now());
        inner.landings.retain(|_, landing| landing.is_remembered(since));
        // One before it may have landed by the time of which `moved` is.
        let pair = (vm.clone(), disk.clone());
        inner.landings.entry(pair).or_insert(Landing { since, moved }).since = since;
    }

    /// Whether a document of the disk in which it last `moved` then can tell that the VM holds it: while it is open
    /// whether an attach landed, one from before says so of a time that is over.
    pub(crate) fn is_proof(&self, vm: &VmId, disk: &DiskId, moved: Option<OffsetDateTime>) -> bool {
        let inner = self.lock();
        let Some(landing) = inner.landings.get(&(vm.clone(), disk.clone())) else { return true };
        moved > landing.moved || Instant::now() >= landing.since + STALE
    }

    /// The VM was looked at, and these are its disks: what it does not list when nothing is going on with it will not
    /// land, unless it was sent a moment ago. What it lists may still be half done.
    pub(crate) fn looked(&self, vm: &VmId, is_changing: bool, listed: &[&DiskId]) {
        let now = Instant::now();
        self.lock().landings.retain(|(other, disk), landing| {
            let is_over = !listed.contains(&disk) && !is_changing && now >= landing.since + LANDING;
            other != vm || !is_over
        });
    }

    /// The VM and the disk agree whether it is attached.
    pub(crate) fn agreed(&self, vm: &VmId, disk: &DiskId) {
        self.lock().landings.remove(&(vm.clone(), disk.clone()));
    }

    /// Whether an attach of the pair may still land.
    pub(crate) fn may_land(&self, vm: &VmId, disk: &DiskId) -> bool {
        let inner = self.lock();
        let landing = inner.landings.get(&(vm.clone(), disk.clone()));
        landing.is_some_and(|landing| landing.is_remembered(Instant::now()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut inner = self.claims.lock();
        if let (Some(Claim::Moves(moves)), Some(of)) = (inner.claims.get_mut(&self.disk), &self.of)
            && moves.len() > 1
        {
            if let Some(index) = moves.iter().position(|one| one == of) {
                moves.swap_remove(index);
            }
        } else {
            inner.claims.remove(&self.disk);
        }
    }
}

#[cfg(test)]
mod tests;
