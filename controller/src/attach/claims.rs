//! Which disks are on their way to or from a VM, and which are being deleted.
//!
//! Azure shows no sign of an attach that is still in flight, and deletes such a disk from under the VM.
//! So a deletion and an attach of one disk exclude each other here. Also remembered, for a while: an
//! attach whose answer was lost, since that the VM does not show it proves nothing yet.
//! **Invariant:** a claim is freed when its guard is dropped, also by a panic; the lock is never held
//! across an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure::{DiskId, VmId};
use csi::Error;
use tokio::time::Instant;

/// How long a request whose answer was lost may still reach Azure.
const LANDING: Duration = Duration::from_secs(30);

/// The claims of one controller. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Claims {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    claims: HashMap<DiskId, Claim>,
    /// When an attach of the pair can no longer land.
    landings: HashMap<(VmId, DiskId), Instant>,
}

enum Claim {
    /// So many calls move it to or from a VM.
    Moves(usize),
    Deletion,
}

/// A claim on a disk, until dropped.
pub(crate) struct Claimed {
    claims: Claims,
    disk: DiskId,
}

impl Inner {
    fn may_land_somewhere(&self, disk: &DiskId) -> bool {
        let now = Instant::now();
        self.landings.iter().any(|((_, landing), until)| landing == disk && *until > now)
    }
}

impl Claims {
    /// Claims `disk` for a move to or from a VM.
    ///
    /// # Errors
    /// ABORTED while the disk is being deleted.
    pub(crate) fn a_move(&self, disk: &DiskId) -> Result<Claimed, Error> {
        match self.lock().claims.entry(disk.clone()).or_insert(Claim::Moves(0)) {
            Claim::Moves(count) => *count += 1,
            Claim::Deletion => {
                return Err(Error::busy(format!("disk {} is being deleted; try again", disk.name())));
            }
        }
        Ok(Claimed { claims: self.clone(), disk: disk.clone() })
    }

    /// Claims `disk` for its deletion.
    ///
    /// # Errors
    /// ABORTED while the disk is on its way to or from a VM, or may be.
    pub(crate) fn a_deletion(&self, disk: &DiskId) -> Result<Claimed, Error> {
        let mut inner = self.lock();
        if inner.may_land_somewhere(disk) || inner.claims.contains_key(disk) {
            let name = disk.name();
            return Err(Error::busy(format!("disk {name} is being attached or detached; try again")));
        }
        inner.claims.insert(disk.clone(), Claim::Deletion);
        drop(inner);
        Ok(Claimed { claims: self.clone(), disk: disk.clone() })
    }

    /// Whether `disk` is on its way to or from a VM, or may be.
    pub(crate) fn is_moving(&self, disk: &DiskId) -> bool {
        let inner = self.lock();
        matches!(inner.claims.get(disk), Some(Claim::Moves(_))) || inner.may_land_somewhere(disk)
    }

    /// The answer to an attach was lost: it may land for a while.
    pub(crate) fn note_lost_attach(&self, vm: &VmId, disk: &DiskId) {
        let (mut inner, now) = (self.lock(), Instant::now());
        inner.landings.retain(|_, until| *until > now);
        inner.landings.insert((vm.clone(), disk.clone()), Instant::now() + LANDING);
    }

    /// The model showed what became of it.
    pub(crate) fn forget_lost_attach(&self, vm: &VmId, disk: &DiskId) {
        self.lock().landings.remove(&(vm.clone(), disk.clone()));
    }

    /// Whether an attach of the pair may still land.
    pub(crate) fn may_land(&self, vm: &VmId, disk: &DiskId) -> bool {
        let until = self.lock().landings.get(&(vm.clone(), disk.clone())).copied();
        until.is_some_and(|until| until > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut inner = self.claims.lock();
        match inner.claims.get_mut(&self.disk) {
            Some(Claim::Moves(count)) if *count > 1 => *count -= 1,
            _ => {
                inner.claims.remove(&self.disk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi::Kind;

    fn disk() -> DiskId {
        DiskId::new("s", "g", "d").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_move_and_a_deletion_exclude_each_other() {
        let claims = Claims::default();
        let (one, other) = (claims.a_move(&disk()).unwrap(), claims.a_move(&disk()).unwrap());
        assert_eq!(claims.a_deletion(&disk()).err().map(|error| error.kind()), Some(Kind::Busy));
        drop(one);
        assert!(claims.is_moving(&disk()) && claims.a_deletion(&disk()).is_err());
        drop(other);
        let deletion = claims.a_deletion(&disk()).unwrap();
        assert_eq!(claims.a_move(&disk()).err().map(|error| error.kind()), Some(Kind::Busy));
        assert!(claims.a_deletion(&disk()).is_err());
        drop(deletion);
        assert!(claims.a_move(&disk()).is_ok());
        assert!(!claims.is_moving(&disk()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_attach_is_remembered_for_a_while() {
        let claims = Claims::default();
        let vm: VmId = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v"
            .parse()
            .unwrap();
        claims.note_lost_attach(&vm, &disk());
        assert!(claims.may_land(&vm, &disk()) && claims.a_deletion(&disk()).is_err());
        tokio::time::advance(LANDING).await;
        assert!(!claims.may_land(&vm, &disk()) && claims.a_deletion(&disk()).is_ok());
        claims.note_lost_attach(&vm, &disk());
        claims.forget_lost_attach(&vm, &disk());
        assert!(!claims.may_land(&vm, &disk()));
    }
}
