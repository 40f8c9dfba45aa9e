//! Which publishes are in flight, and in which mode.
//!
//! Azure shows nothing of a publish that has not reached it, so two of one disk on one node in opposite modes would
//! each find the other's tag missing. Owned here: the pairs in flight. **Invariant:** the publishes of a pair that are
//! in flight are all of one mode. A turn is given back when it is dropped; the lock is never held across an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use azure::DiskId;
use csi::Error;

use super::{Mode, Tag};

/// The publishes in flight of one controller. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Turns {
    pairs: Arc<Mutex<HashMap<(DiskId, Tag), InFlight>>>,
}

struct InFlight {
    mode: Mode,
    count: usize,
}

/// A publish in flight, until dropped.
pub(crate) struct Turn {
    turns: Turns,
    pub(super) disk: DiskId,
    pub(super) node_id: String,
    pub(super) tag: Tag,
    pub(super) mode: Mode,
}

impl Turns {
    /// Begins a publish.
    ///
    /// # Errors
    /// ABORTED while one of the same pair in the other mode is in flight.
    pub(crate) fn take(&self, disk: &DiskId, node_id: &str, mode: Mode) -> Result<Turn, Error> {
        let tag = Tag::of(node_id);
        let mut pairs = self.lock();
        let there = pairs.entry((disk.clone(), tag.clone())).or_insert(InFlight { mode, count: 0 });
        if there.mode != mode {
            let (disk, other) = (disk.name(), there.mode.word());
            return Err(Error::busy(format!(
                "disk {disk} is being published {other} on node {node_id}; try again"
            )));
        }
        there.count += 1;
        drop(pairs);
        Ok(Turn { turns: self.clone(), disk: disk.clone(), node_id: node_id.to_owned(), tag, mode })
    }

    /// Whether a publish of the disk on the tag's node is in flight.
    pub(crate) fn has(&self, disk: &DiskId, tag: &Tag) -> bool {
        self.lock().contains_key(&(disk.clone(), tag.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(DiskId, Tag), InFlight>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let pair = (self.disk.clone(), self.tag.clone());
        let mut pairs = self.turns.lock();
        match pairs.get_mut(&pair) {
            Some(there) if there.count > 1 => there.count -= 1,
            _ => {
                pairs.remove(&pair);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_of_a_pair_in_flight_are_all_of_one_mode() {
        let turns = Turns::default();
        let disk = DiskId::new("s", "g", "d").unwrap();
        let take = |node: &str, mode| turns.take(&disk, node, mode).map_err(|error| error.kind());
        let one = take("node-a", Mode::ReadOnly).unwrap();
        let other = take("NODE-A", Mode::ReadOnly).unwrap();
        assert_eq!(take("node-a", Mode::ReadWrite).err(), Some(csi::Kind::Busy));
        drop(take("node-b", Mode::ReadWrite).unwrap());
        drop(one);
        assert_eq!(take("node-a", Mode::ReadWrite).err(), Some(csi::Kind::Busy));
        assert!(turns.has(&disk, &Tag::of("node-a")) && !turns.has(&disk, &Tag::of("node-b")));
        drop(other);
        assert!(!turns.has(&disk, &Tag::of("node-a")));
        assert!(take("node-a", Mode::ReadWrite).is_ok());
    }
}
