//! From Azure's error to CSI's: the one table of kind and RPC, without a default arm.
//!
//! **Invariant (the leak rule):** once a call has sent a write, only a definite refusal by Azure becomes
//! a final code; whatever leaves open what Azure did is UNAVAILABLE or DEADLINE_EXCEEDED, on which the
//! sidecars keep the volume in mind and repeat the call.

use azure::{DiskId, ErrorKind};
use csi::{Error, Kind};

/// The calls that ask Azure for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rpc {
    CreateVolume,
    DeleteVolume,
    Publish,
    Unpublish,
    GetVolume,
    ListVolumes,
    Expand,
    Modify,
    CreateSnapshot,
    DeleteSnapshot,
    GetSnapshot,
    ListSnapshots,
}

/// The answer to `rpc` when a read ended with `error`.
pub(crate) fn csi_error(rpc: Rpc, error: &azure::Error) -> Error {
    answer(kind(rpc, error.kind()), error)
}

/// The answer about `disk` to `rpc` when an update of its VM ended with `error`: Azure's words name the VM.
pub(crate) fn disk_error(rpc: Rpc, disk: &DiskId, error: &azure::Error) -> Error {
    let plain = csi_error(rpc, error);
    Error::new(plain.kind(), format!("disk {}: {}", disk.name(), plain.message())).caused_by(error.clone())
}

/// The answer to `rpc` when a write ended with `error`.
pub(crate) fn after_write(rpc: Rpc, error: &azure::Error) -> Error {
    let kind = kind(rpc, error.kind());
    let is_open = kind.is_final() && !error.is_definite_refusal();
    answer(if is_open { Kind::Unavailable } else { kind }, error)
}

/// The answer to `rpc` when an attempt to make something ended with `error`, and whether something may be
/// left of it that has to be removed before that answer is given.
///
/// What Azure accepted and then could not carry out, which it says with a code and no HTTP status, is
/// over; what it refused after an attempt whose answer was lost is not: that attempt may still land.
pub(crate) fn after_making(rpc: Rpc, error: &azure::Error) -> (Error, bool) {
    let is_over = error.is_definite_refusal() || (error.status().is_none() && error.code().is_some());
    let answer = if is_over { csi_error(rpc, error) } else { after_write(rpc, error) };
    let may_be_left = answer.kind().is_final();
    (answer, may_be_left)
}

fn answer(kind: Kind, error: &azure::Error) -> Error {
    let line = match advice(error.kind()) {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    };
    Error::new(kind, line).caused_by(error.clone())
}

/// The table.
fn kind(rpc: Rpc, kind: ErrorKind) -> Kind {
    match kind {
        ErrorKind::NotFound => match rpc {
            // The resource group of the settings is missing.
            Rpc::ListVolumes | Rpc::ListSnapshots => Kind::Precondition,
            Rpc::CreateVolume
            | Rpc::DeleteVolume
            | Rpc::Publish
            | Rpc::Unpublish
            | Rpc::GetVolume
            | Rpc::Expand
            | Rpc::Modify
            | Rpc::CreateSnapshot
            | Rpc::DeleteSnapshot
            | Rpc::GetSnapshot => Kind::NotFound,
        },
        ErrorKind::Invalid => match rpc {
            // What the caller chose goes into these.
            Rpc::CreateVolume | Rpc::Publish | Rpc::Expand | Rpc::Modify | Rpc::CreateSnapshot => {
                Kind::Invalid
            }
            // Nothing but ids goes into these: it is the driver that is wrong.
            Rpc::DeleteVolume
            | Rpc::Unpublish
            | Rpc::GetVolume
            | Rpc::ListVolumes
            | Rpc::DeleteSnapshot
            | Rpc::GetSnapshot
            | Rpc::ListSnapshots => Kind::Internal,
        },
        ErrorKind::Unsuitable => match rpc {
            Rpc::CreateVolume | Rpc::Expand | Rpc::Modify | Rpc::CreateSnapshot => Kind::Invalid,
            Rpc::Publish
            | Rpc::Unpublish
            | Rpc::DeleteVolume
            | Rpc::GetVolume
            | Rpc::ListVolumes
            | Rpc::DeleteSnapshot
            | Rpc::GetSnapshot
            | Rpc::ListSnapshots => Kind::Precondition,
        },
        ErrorKind::Conflict
        | ErrorKind::Preempted
        | ErrorKind::BeingDetached
        | ErrorKind::EtagMismatch
        | ErrorKind::Throttled { .. }
        | ErrorKind::Transient => Kind::Unavailable,
        ErrorKind::Timeout => Kind::Timeout,
        ErrorKind::AttachLimit | ErrorKind::Quota | ErrorKind::Capacity => Kind::Exhausted,
        ErrorKind::AttachedElsewhere | ErrorKind::NotAllowed | ErrorKind::Locked => Kind::Precondition,
        ErrorKind::Unauthenticated => Kind::Unauthenticated,
        ErrorKind::Forbidden | ErrorKind::Policy => Kind::Denied,
        ErrorKind::Protocol => Kind::Internal,
    }
}

/// What an operator can do about it, where Azure's own words do not say so.
fn advice(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Protocol => None,
        ErrorKind::Conflict | ErrorKind::Preempted => Some("another change is going on, try again"),
        ErrorKind::BeingDetached => Some("wait until the detach has ended, or detach it again"),
        ErrorKind::EtagMismatch => Some("it changed meanwhile, try again"),
        ErrorKind::Transient => Some("try again"),
        ErrorKind::Throttled { .. } => Some("Azure throttles such requests, try again later"),
        ErrorKind::Timeout => Some("it may still be going on, try again"),
        ErrorKind::AttachLimit => Some("use a node with a free place for a disk"),
        ErrorKind::Quota => Some("raise the quota of the subscription"),
        ErrorKind::Capacity => Some("use another zone or SKU"),
        ErrorKind::AttachedElsewhere => Some("detach it from the other VM first"),
        ErrorKind::NotAllowed => Some("detach the disk, or wait until its VM is ready, and try again"),
        ErrorKind::Unsuitable => Some("use a node in the disk's zone whose VM size takes this SKU"),
        ErrorKind::Locked => Some(
            "a lock on the resource, its group or the subscription is in the way: remove it (`az lock list`), then try again",
        ),
        ErrorKind::Unauthenticated => Some("check the credentials in azure.json"),
        ErrorKind::Forbidden => Some("give the driver's identity the missing role"),
        ErrorKind::Policy => Some(
            "an Azure Policy forbids it: have it exempt this scope, or change the StorageClass to what it allows",
        ),
    }
}

#[cfg(test)]
mod tests;
