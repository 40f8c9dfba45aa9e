//! The client against a local Azure, in process and under tokio's paused clock: every request, every way an
//! operation can end, and what can go wrong on the way.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "also outside of #[test] functions, a test that cannot go on panics"
)]

mod accidents;
mod crowds;
mod deadlines;
mod disks;
mod gates;
mod hosts;
mod ids;
mod lists;
mod operations;
mod pace;
mod snapshots;
mod throttling;
mod tokens;
mod traces;
mod vms;
mod world;
mod writers;
