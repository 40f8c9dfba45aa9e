//! The whole table, as it is meant.

use super::*;

const RPCS: [Rpc; 12] = [
    Rpc::CreateVolume,
    Rpc::DeleteVolume,
    Rpc::Publish,
    Rpc::Unpublish,
    Rpc::GetVolume,
    Rpc::ListVolumes,
    Rpc::Expand,
    Rpc::Modify,
    Rpc::CreateSnapshot,
    Rpc::DeleteSnapshot,
    Rpc::GetSnapshot,
    Rpc::ListSnapshots,
];

/// Every kind, and the answers to the calls in the order of [`RPCS`], one letter each.
const TABLE: [(ErrorKind, &str); 20] = [
    (ErrorKind::NotFound, "NNNNNPNNNNNP"),
    (ErrorKind::Conflict, "UUUUUUUUUUUU"),
    (ErrorKind::Preempted, "UUUUUUUUUUUU"),
    (ErrorKind::AttachedElsewhere, "PPPPPPPPPPPP"),
    (ErrorKind::BeingDetached, "UUUUUUUUUUUU"),
    (ErrorKind::AttachLimit, "EEEEEEEEEEEE"),
    (ErrorKind::Quota, "EEEEEEEEEEEE"),
    (ErrorKind::Capacity, "EEEEEEEEEEEE"),
    (ErrorKind::Throttled { retry_after: None }, "UUUUUUUUUUUU"),
    (ErrorKind::Unauthenticated, "AAAAAAAAAAAA"),
    (ErrorKind::Forbidden, "DDDDDDDDDDDD"),
    (ErrorKind::Policy, "DDDDDDDDDDDD"),
    (ErrorKind::Locked, "PPPPPPPPPPPP"),
    (ErrorKind::Invalid, "IXIXXXIIIXXX"),
    (ErrorKind::Unsuitable, "IPPPPPIIIPPP"),
    (ErrorKind::NotAllowed, "PPPPPPPPPPPP"),
    (ErrorKind::EtagMismatch, "UUUUUUUUUUUU"),
    (ErrorKind::Transient, "UUUUUUUUUUUU"),
    (ErrorKind::Timeout, "TTTTTTTTTTTT"),
    (ErrorKind::Protocol, "XXXXXXXXXXXX"),
];

fn letter(kind: Kind) -> char {
    match kind {
        Kind::Invalid => 'I',
        Kind::OutOfRange => 'O',
        Kind::NotFound => 'N',
        Kind::Exists => 'F',
        Kind::Denied => 'D',
        Kind::Unauthenticated => 'A',
        Kind::Exhausted => 'E',
        Kind::Precondition => 'P',
        Kind::Busy => 'B',
        Kind::Unavailable => 'U',
        Kind::Timeout => 'T',
        Kind::Unimplemented => 'M',
        Kind::Internal => 'X',
    }
}

#[test]
fn the_whole_table() {
    assert!(TABLE.iter().map(|(kind, _)| *kind).eq(ErrorKind::ALL));
    for (azure_kind, want) in TABLE {
        let got: String = RPCS.iter().map(|rpc| letter(kind(*rpc, azure_kind))).collect();
        assert_eq!(got, want, "{azure_kind:?}");
    }
}

#[test]
fn throttling_is_never_exhaustion() {
    let throttled = ErrorKind::Throttled { retry_after: Some(std::time::Duration::from_secs(9)) };
    for rpc in RPCS {
        assert_eq!(kind(rpc, throttled), Kind::Unavailable);
    }
}
