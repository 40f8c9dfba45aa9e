//! Which version of each VM's model was seen last, so that a read that lags behind it is known for one.
//!
//! Azure numbers the versions of a VM in its ETag, and a write makes the number larger. Its front doors may answer from
//! a cache, so a read can be older than one before it: believing it would call a disk detached that was just attached.
//! The numbers are used as a hint only: what has none is believed, and so is what stays old for long. After an update
//! whose answer was lost the version from before it may still be the present one, or be from the cache: it is believed
//! when caches are not that old.
//!
//! What a VM was seen to hold it holds for as long as its version is the same: a disk comes and goes by a write of the VM.
//!
//! A process that has just started knows of nothing that one before it sent: until caches are not that old, what a VM
//! shows of a disk proves nothing, unless it shows an update of this process as well.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure::{DiskId, Vm, VmId};
use tokio::time::Instant;

/// How long the version that was seen last is not believed when there may be a newer one.
const OUTDATED: Duration = Duration::from_secs(10);
/// How long an older version is not believed.
const LAG: Duration = Duration::from_secs(30);
/// How long a version is remembered: caches are not older.
const MEMORY: Duration = Duration::from_mins(15);

/// How a read stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Not older than what was seen of the machine before.
    Fresh,
    /// Older, and not to be believed.
    Old,
    /// There is nothing to compare it with: believed, but no proof on its own that something is gone.
    Unknown,
}

/// The versions seen last.
#[derive(Debug)]
pub(super) struct Versions {
    /// When this process began.
    born: Instant,
    seen: Mutex<HashMap<VmId, Seen>>,
}

impl Default for Versions {
    fn default() -> Versions {
        Versions { born: Instant::now(), seen: Mutex::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// Azure's own id of the machine: one that is made anew under the same name begins with 1.
    machine: String,
    number: u64,
    at: Instant,
    /// Since when only older versions come.
    older_since: Option<Instant>,
    /// Since when there may be a newer version.
    outdated: Option<Instant>,
    /// Disks that it holds in this version.
    held: BTreeSet<DiskId>,
    /// This version, or one before it, shows an update of ours.
    shows_ours: bool,
}

impl Seen {
    /// Whether this very version may be an old one out of a cache.
    fn is_outdated(&self, now: Instant) -> bool {
        self.outdated.is_some_and(|since| now < since + OUTDATED)
    }
}

impl Versions {
    /// How this read stands to those before it.
    pub(super) fn age(&self, id: &VmId, vm: &Vm) -> Age {
        let (now, mut seen) = (Instant::now(), self.lock());
        let Some((machine, number)) = version(vm) else {
            if let Some(known) = seen.get_mut(id) {
                known.held.clear();
            }
            return Age::Unknown;
        };
        seen.retain(|_, known| now < known.at + MEMORY);
        let (mut age, mut held, mut shows_ours) = (Age::Unknown, BTreeSet::new(), false);
        if let Some(known) = seen.get_mut(id).filter(|known| known.machine == machine) {
            if number == known.number && known.is_outdated(now) {
                return Age::Old;
            }
            if number >= known.number {
                age = Age::Fresh;
                shows_ours = known.shows_ours;
                held = if number == known.number { std::mem::take(&mut known.held) } else { held };
            } else if now < *known.older_since.get_or_insert(now) + LAG {
                return Age::Old;
            }
        }
        let (older_since, outdated) = (None, None);
        seen.insert(id.clone(), Seen { machine, number, at: now, older_since, outdated, held, shows_ours });
        age
    }

    /// An update of the VM is sent: what it was seen to hold may be so no more, and an old answer must not say so.
    pub(super) fn changes(&self, id: &VmId) {
        if let Some(known) = self.lock().get_mut(id) {
            known.held.clear();
        }
    }

    /// What the VM was seen to hold in the version that was read last.
    pub(super) fn held(&self, id: &VmId) -> BTreeSet<DiskId> {
        self.lock().get(id).map(|known| known.held.clone()).unwrap_or_default()
    }

    /// In the version that was read last, with nothing under way, the VM holds these disks.
    pub(super) fn holds(&self, id: &VmId, disks: impl Iterator<Item = DiskId>) {
        if let Some(known) = self.lock().get_mut(id) {
            known.held.extend(disks);
        }
    }

    /// There may be a newer version than the one that was seen last: an update was sent, and nobody knows whether Azure
    /// took it; or Azure says that the VM is not as it was seen.
    pub(super) fn outdated(&self, id: &VmId) {
        if let Some(known) = self.lock().get_mut(id) {
            known.outdated = Some(Instant::now());
        }
    }

    /// The version that was read last shows what an update of ours did.
    pub(super) fn shows_ours(&self, id: &VmId) {
        if let Some(known) = self.lock().get_mut(id) {
            known.shows_ours = true;
        }
    }

    /// Whether an answer about the VM may be from before what another process sent last.
    pub(super) fn is_early(&self, id: &VmId) -> bool {
        Instant::now() < self.born + OUTDATED && !self.lock().get(id).is_some_and(|known| known.shows_ours)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VmId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The machine and the number in `"7"`, as Azure writes an ETag of a VM.
fn version(vm: &Vm) -> Option<(String, u64)> {
    let number = vm.etag.as_deref()?.trim_matches('"').parse().ok()?;
    Some((vm.properties.unique_id.clone().unwrap_or_default(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(machine: &str, etag: &str) -> Vm {
        let text = format!(
            r#"{{"id":"x","name":"x","location":"x","etag":{etag:?},"properties":{{"vmId":{machine:?}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_version_is_not_believed_for_a_while() {
        let (versions, id) = (Versions::default(), VmId::standalone("s", "g", "v").unwrap());
        let rows = [
            ("a", "\"5\"", Age::Unknown),
            ("a", "\"5\"", Age::Fresh),
            ("a", "\"4\"", Age::Old),
            ("b", "\"1\"", Age::Unknown),
            ("b", "\"3\"", Age::Fresh),
            ("b", "2", Age::Old),
            ("b", "W/x", Age::Unknown),
            ("b", "\"3\"", Age::Fresh),
        ];
        for (machine, etag, wanted) in rows {
            assert_eq!(versions.age(&id, &vm(machine, etag)), wanted, "{machine} {etag}");
        }
        let other = VmId::standalone("s", "g", "w").unwrap();
        assert_eq!(versions.age(&other, &vm("b", "\"1\"")), Age::Unknown);
        assert_eq!(versions.age(&id, &vm("b", "\"2\"")), Age::Old);
        tokio::time::advance(LAG).await;
        assert_eq!(versions.age(&id, &vm("b", "\"2\"")), Age::Unknown, "what stays so is so");
        assert_eq!(versions.age(&id, &vm("b", "\"2\"")), Age::Fresh);
        versions.outdated(&id);
        assert_eq!(versions.age(&id, &vm("b", "\"2\"")), Age::Old, "it may be from before the update");
        assert_eq!(versions.age(&id, &vm("b", "\"3\"")), Age::Fresh);
        assert_eq!(versions.age(&id, &vm("b", "\"3\"")), Age::Fresh, "it is from after the update");
        versions.outdated(&id);
        tokio::time::advance(OUTDATED).await;
        assert_eq!(versions.age(&id, &vm("b", "\"3\"")), Age::Fresh, "the update did not arrive");
        tokio::time::advance(MEMORY).await;
        assert_eq!(versions.age(&id, &vm("b", "\"1\"")), Age::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_vm_holds_it_holds_in_that_version() {
        let (versions, id) = (Versions::default(), VmId::standalone("s", "g", "v").unwrap());
        let disk = DiskId::new("s", "g", "d").unwrap();
        versions.holds(&id, [disk.clone()].into_iter());
        assert!(versions.held(&id).is_empty(), "it was never read");
        let rows = [("a", "\"5\"", true), ("a", "\"6\"", false), ("b", "\"6\"", false), ("b", "W/x", false)];
        for (machine, etag, held) in rows {
            versions.age(&id, &vm("a", "\"5\""));
            versions.holds(&id, [disk.clone()].into_iter());
            versions.age(&id, &vm(machine, etag));
            assert_eq!(versions.held(&id).contains(&disk), held, "{machine} {etag}");
            versions.changes(&id);
            assert!(versions.held(&id).is_empty(), "an update was sent");
            tokio::time::advance(MEMORY).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_is_early_until_it_is_older_than_caches() {
        let (versions, id) = (Versions::default(), VmId::standalone("s", "g", "v").unwrap());
        for (seconds, early) in [(0, true), (9, true), (1, false), (1000, false)] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            assert_eq!(versions.is_early(&id), early, "{seconds} s later");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_of_its_own_makes_a_process_sure_of_that_vm() {
        let (versions, id) = (Versions::default(), VmId::standalone("s", "g", "v").unwrap());
        let rows =
            [("a", "\"5\"", false), ("a", "\"6\"", false), ("a", "\"4\"", false), ("b", "\"7\"", true)];
        for (machine, etag, early) in rows {
            versions.age(&id, &vm(machine, etag));
            versions.shows_ours(&id);
            versions.age(&id, &vm("a", "\"6\""));
            versions.age(&id, &vm(machine, etag));
            assert_eq!(versions.is_early(&id), early, "{machine} {etag}");
        }
        assert!(versions.is_early(&VmId::standalone("s", "g", "w").unwrap()));
    }
}
