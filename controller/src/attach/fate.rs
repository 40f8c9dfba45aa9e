//! What becomes of an update that was not made, and of those that it was about. Pure.

use azure::ErrorKind;

/// What to do after an update was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Look again; the same may go through a little later.
    Again,
    /// One of several disks may be to blame: smaller updates find out which.
    Split,
    /// Whoever is named is told, unless the next look shows that it came true.
    Over,
}

/// What becomes of an update that named so many disks, perhaps only to detach them, and ended with `kind`.
pub(super) fn fate(kind: ErrorKind, named: usize, only_detaches: bool) -> Fate {
    match kind {
        // Nothing but ids goes into a detach: what is wrong with one is that the disk has left already, and that the
        // read before did not show it.
        ErrorKind::Invalid if only_detaches && named == 1 => Fate::Again,
        // Something else is going on with the VM; the deadline bounds how long that is waited for.
        ErrorKind::Conflict
        | ErrorKind::Preempted
        | ErrorKind::EtagMismatch
        // The next look finds the gate closed, and tells those who cannot wait.
        | ErrorKind::Throttled { .. } => Fate::Again,
        // About one disk, or about the request because of one disk.
        ErrorKind::NotFound
        | ErrorKind::AttachedElsewhere
        | ErrorKind::AttachLimit
        | ErrorKind::BeingDetached
        | ErrorKind::Forbidden
        | ErrorKind::Policy
        | ErrorKind::Locked
        | ErrorKind::Unsuitable
        | ErrorKind::NotAllowed
        | ErrorKind::Quota
        | ErrorKind::Capacity
        | ErrorKind::Invalid => match (named, kind) {
            (2.., _) => Fate::Split,
            (_, ErrorKind::BeingDetached) => Fate::Again,
            _ => Fate::Over,
        },
        ErrorKind::Unauthenticated
        | ErrorKind::Transient
        | ErrorKind::Timeout
        | ErrorKind::Protocol => Fate::Over,
    }
}

/// Whether Azure accepted a detach and could not carry it out. Not a refusal, whatever its code: 409, 429 and 5xx
/// say that it was never begun, and a newer write or a lost answer says nothing about the VM.
pub(super) fn is_stuck(error: &azure::Error) -> bool {
    let was_carried_out = error.status().is_none() && error.code().is_some();
    let passes = matches!(
        error.kind(),
        ErrorKind::Conflict
            | ErrorKind::Preempted
            | ErrorKind::EtagMismatch
            | ErrorKind::Throttled { .. }
            | ErrorKind::Timeout
            | ErrorKind::NotFound
    );
    was_carried_out && !passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_fate_alone_and_in_company() {
        let of = |named| move |kind: ErrorKind| fate(kind, named, false);
        let count = |of: &dyn Fn(ErrorKind) -> Fate, fate| {
            ErrorKind::ALL.into_iter().filter(|kind| of(*kind) == fate).count()
        };
        for (named, again, split, over) in [(1, 5, 0, 15), (2, 4, 12, 4), (64, 4, 12, 4)] {
            let of = of(named);
            let counts = [Fate::Again, Fate::Split, Fate::Over].map(|fate| count(&of, fate));
            assert_eq!(counts, [again, split, over], "{named} named");
        }
        assert_eq!(fate(ErrorKind::Invalid, 1, true), Fate::Again);
        assert_eq!(fate(ErrorKind::Invalid, 2, true), Fate::Split);
    }
}
