//! Who is on his way to the task of a VM: calls that still read what they need to know of their disk.
//!
//! An update takes seconds, and Azure takes twelve of a VM in a row and four a minute from then on. Calls that begin at
//! one moment end their reads a tenth of a second apart; without this the first one there would begin an update, and
//! the others would pay for a second one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure::VmId;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long an update waits for those who are on their way: some reads. One that hangs must not hold up its neighbours.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many are on their way to each VM. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    counts: Arc<Mutex<HashMap<VmId, watch::Sender<usize>>>>,
}

/// A call on its way to a VM, until this is dropped.
#[derive(Debug)]
pub(crate) struct Coming {
    expected: Expected,
    vm: VmId,
}

impl Expected {
    /// One more is on its way.
    pub(super) fn note(&self, vm: &VmId) -> Coming {
        let mut counts = self.lock();
        let count = counts.entry(vm.clone()).or_insert_with(|| watch::channel(0).0);
        count.send_modify(|count| *count += 1);
        Coming { expected: self.clone(), vm: vm.clone() }
    }

    /// Waits until nobody is on his way to the VM any more, and no longer than a moment.
    pub(super) async fn arrived(&self, vm: &VmId) {
        let count = self.lock().get(vm).map(watch::Sender::subscribe);
        if let Some(mut count) = count {
            // Too late, or the last one arrived: both end the waiting.
            let _ = timeout(PATIENCE, count.wait_for(|count| *count == 0)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VmId, watch::Sender<usize>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut counts = self.expected.lock();
        let Some(count) = counts.get(&self.vm) else { return };
        count.send_modify(|count| *count = count.saturating_sub(1));
        if *count.borrow() == 0 {
            counts.remove(&self.vm);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_on_his_way_is_waited_for_and_not_for_ever() {
        let expected = Expected::default();
        let [a, b] = ["a", "b"].map(|name| VmId::standalone("s", "g", name).unwrap());
        let begun = Instant::now();
        expected.arrived(&a).await;
        let coming = [expected.note(&a), expected.note(&a)];
        expected.arrived(&b).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let arrive = async {
            for one in coming {
                tokio::time::sleep(Duration::from_millis(100)).await;
                drop(one);
            }
        };
        tokio::join!(expected.arrived(&a), arrive);
        assert_eq!(begun.elapsed(), Duration::from_millis(200));
        assert!(expected.lock().is_empty(), "who arrived is forgotten");
        let _never = expected.note(&a);
        expected.arrived(&a).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(200) + PATIENCE);
    }
}
