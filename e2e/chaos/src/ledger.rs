//! What the callers were told, and what they asked for since. Pure: it is told of every call and every answer.
//!
//! Owned here: which volume was promised to be on which VM, and which was promised to be gone from it. A promise
//! ends when a caller asks for the opposite, never because Azure looks different.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{VmNo, VolumeNo};

/// A call of the CSI service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// CreateVolume.
    Create,
    /// DeleteVolume.
    Delete,
    /// ControllerPublishVolume.
    Publish(VmNo),
    /// ControllerUnpublishVolume.
    Unpublish(VmNo),
}

/// The promises in force.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Told that it is there, and at which LUN; nobody asked to take it away since.
    pub kept: BTreeMap<(VolumeNo, VmNo), u8>,
    /// Told that it is gone; nobody asked for it there since.
    pub gone: BTreeSet<(VolumeNo, VmNo)>,
    /// Told that it is deleted.
    pub deleted: BTreeSet<VolumeNo>,
}

impl Ledger {
    /// A caller asks.
    pub fn began(&mut self, volume: VolumeNo, verb: Verb) {
        match verb {
            Verb::Publish(vm) => {
                self.gone.remove(&(volume, vm));
            }
            Verb::Unpublish(vm) => {
                self.kept.remove(&(volume, vm));
            }
            Verb::Create | Verb::Delete => {}
        }
    }

    /// A caller was told OK; `lun` is the answer of a publish.
    pub fn told(&mut self, volume: VolumeNo, verb: Verb, lun: u8) {
        match verb {
            Verb::Publish(vm) => {
                self.kept.insert((volume, vm), lun);
            }
            Verb::Unpublish(vm) => {
                self.gone.insert((volume, vm));
            }
            Verb::Delete => {
                self.deleted.insert(volume);
            }
            Verb::Create => {}
        }
    }

    /// A VM was taken away, and with it every promise about what is on it.
    pub fn lost(&mut self, vm: VmNo) {
        self.kept.retain(|(_, on), _| *on != vm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_ends_when_the_opposite_is_asked_for() {
        let mut ledger = Ledger::default();
        ledger.told(1, Verb::Publish(0), 3);
        ledger.began(1, Verb::Unpublish(2));
        assert_eq!(ledger.kept.get(&(1, 0)), Some(&3));
        ledger.began(1, Verb::Unpublish(0));
        assert!(ledger.kept.is_empty() && ledger.gone.is_empty());
        ledger.told(1, Verb::Unpublish(0), 0);
        ledger.began(1, Verb::Unpublish(0));
        assert!(ledger.gone.contains(&(1, 0)));
        ledger.began(1, Verb::Publish(0));
        assert!(ledger.gone.is_empty());
    }

    #[test]
    fn a_vm_that_is_taken_away_ends_what_was_promised_of_it() {
        let mut ledger = Ledger::default();
        ledger.told(1, Verb::Publish(0), 3);
        ledger.told(2, Verb::Publish(1), 3);
        ledger.lost(0);
        assert_eq!(ledger.kept.into_keys().collect::<Vec<_>>(), [(2, 1)]);
    }
}
