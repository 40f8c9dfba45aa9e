//! What the script may do. An invariant is never weakened; where the driver is not there yet, a kind of trouble is off
//! here, with the reason, until it is.

/// GETs of VMs and disks may be answered from the past.
pub(crate) const STALE_READS: bool = true;

/// The delta call may be refused with 403, so that the full list is written.
pub(crate) const REFUSES_DELTA: bool = true;

/// A second controller may work beside the first, and callers may go from one to the other.
pub(crate) const SECOND_CONTROLLER: bool = true;

/// A controller may be killed at any moment.
pub(crate) const KILLS: bool = true;

/// Callers may hang up.
pub(crate) const HANG_UPS: bool = true;

/// Two nodes may ask for one unshared disk at the same time.
pub(crate) const ASKS_TWICE: bool = true;

/// A volume may be deleted while somebody has it.
pub(crate) const RUDE_DELETIONS: bool = true;

/// VMs may be deleted.
pub(crate) const VM_DELETIONS: bool = true;
