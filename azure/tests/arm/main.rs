//! The client against a local Azure, in process and under tokio's paused clock: every request, every way an
//! operation can end, and what can go wrong on the way.

mod disks;
mod snapshots;
mod vms;
mod world;
