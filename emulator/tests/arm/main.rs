//! The rules of the emulated Azure, seen through its door, in process and under tokio's paused clock.
#![expect(clippy::unwrap_used, reason = "what fails in a test's own steps fails the test")]

mod attach;
mod client;
mod companions;
mod disks;
mod endings;
mod faults;
mod flexible;
mod identity;
mod invariants;
mod latency;
mod lists;
mod nonsense;
mod power;
mod races;
mod scale_sets;
mod second_writer;
mod snapshots;
mod stale;
mod throttle;
mod truth;
