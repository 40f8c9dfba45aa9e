//! When each VM was last cleared of what failed writes left on it: at most once a minute, since what does not go
//! at once needs time and not more writes, of which a VM takes few.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure::VmId;
use tokio::time::Instant;

/// Between two repairs of a VM.
const BETWEEN: Duration = Duration::from_mins(1);

/// The latest repairs.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    latest: Mutex<HashMap<VmId, Instant>>,
}

impl Repairs {
    /// Whether the VM may be repaired again.
    pub(super) fn may_repair(&self, vm: &VmId) -> bool {
        self.lock().get(vm).is_none_or(|at| at.elapsed() >= BETWEEN)
    }

    /// The VM is being repaired now.
    pub(super) fn note(&self, vm: &VmId) {
        let mut latest = self.lock();
        latest.retain(|_, at| at.elapsed() < BETWEEN);
        latest.insert(vm.clone(), Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VmId, Instant>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_vm_is_repaired_once_a_minute() {
        let (repairs, vm) = (Repairs::default(), |name| VmId::standalone("s", "g", name).unwrap());
        assert!(repairs.may_repair(&vm("a")));
        repairs.note(&vm("a"));
        assert!(!repairs.may_repair(&vm("a")) && repairs.may_repair(&vm("b")));
        tokio::time::advance(BETWEEN).await;
        assert!(repairs.may_repair(&vm("a")));
        repairs.note(&vm("b"));
        assert_eq!(repairs.lock().len(), 1, "what is over is forgotten");
    }
}
