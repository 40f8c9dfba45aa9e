//! What a call that ran out of time had read of its disk, left for the one that repeats it.
//!
//! A sidecar gives a call up after seconds and makes it again; an update of a VM with many disks takes longer than
//! that. When hundreds of disks move at once, what each repetition would read again is more than the Resource Manager
//! grants. **Invariants:** nothing is left but what the next call of the same wish would read at once, of a disk that
//! nobody held, and it is as good as new: not older than a patient call may be when its turn comes. Any other call for
//! the disk throws it away. Azure has the last word: an attach of a disk that is held elsewhere by now is refused.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure::DiskId;
use csi::{Error, Kind};
use tokio::time::Instant;

use crate::attach::Attachment;
use crate::readonly::Mode;

/// Whether a call that ends like this is made again as it was, and may have come no further than to a queue.
pub(crate) fn is_repeated(error: &Error) -> bool {
    matches!(error.kind(), Kind::Timeout | Kind::Unavailable)
}

/// How old what was read may be.
const LASTS: Duration = Duration::from_mins(1);

/// What was found out of a disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// For a publish of this wish: nobody holds it, its tags are right, and it is to be attached like this.
    Free(Wish, Box<Attachment>),
    /// For an unpublish: it has no tag of ours to be removed.
    Untagged,
}

/// What a publish asks for beyond disk and node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) mode: Mode,
    pub(crate) caching: Option<&'static str>,
}

/// Something that was found, and when it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Left {
    pub(crate) found: Found,
    pub(crate) read: Instant,
}

/// What was left, by disk.
#[derive(Debug, Default)]
pub(crate) struct Leavings {
    left: Mutex<HashMap<DiskId, (String, Left)>>,
}

impl Leavings {
    /// Leaves something for the next call of this disk and node.
    pub(crate) fn leave(&self, disk: &DiskId, node_id: &str, left: Left) {
        let (now, mut all) = (Instant::now(), self.lock());
        all.retain(|_, (_, left)| now < left.read + LASTS);
        all.insert(disk.clone(), (node_id.to_owned(), left));
    }

    /// What was left for this call; it is gone then, whoever it was left for.
    pub(crate) fn take(&self, disk: &DiskId, node_id: &str) -> Option<Left> {
        let (whose, left) = self.lock().remove(disk)?;
        (whose == node_id && Instant::now() < left.read + LASTS).then_some(left)
    }

    /// The disk changes.
    pub(crate) fn forget(&self, disk: &DiskId) {
        self.lock().remove(disk);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DiskId, (String, Left)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_for_the_next_call_of_the_pair_and_for_a_minute() {
        let leavings = Leavings::default();
        let [a, b] = ["a", "b"].map(|name| DiskId::new("s", "g", name).unwrap());
        let left = Left { found: Found::Untagged, read: Instant::now() };
        leavings.leave(&a, "node", left.clone());
        assert_eq!(leavings.take(&b, "node"), None);
        assert_eq!(leavings.take(&a, "node"), Some(left.clone()));
        assert_eq!(leavings.take(&a, "node"), None, "once");
        leavings.leave(&a, "node", left.clone());
        assert_eq!(leavings.take(&a, "other"), None);
        assert_eq!(leavings.take(&a, "node"), None, "the other may have changed it");
        leavings.leave(&a, "node", left.clone());
        leavings.forget(&a);
        assert_eq!(leavings.take(&a, "node"), None);
        leavings.leave(&a, "node", left.clone());
        tokio::time::advance(LASTS).await;
        leavings.leave(&b, "node", Left { read: Instant::now(), ..left });
        assert_eq!(leavings.lock().len(), 1, "what is old goes");
        assert_eq!(leavings.take(&a, "node"), None);
    }
}
