//! The controller against the emulated Azure: every verb, every refusal, and what accidents leave.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod accidents;
mod attach;
mod cluster;
mod defects;
mod engine;
mod lists;
mod readonly;
mod repeats;
mod snapshots;
mod volumes;
mod world;
