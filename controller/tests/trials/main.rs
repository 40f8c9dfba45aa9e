//! Long trials of the attach engine, in one process and on a paused clock: somebody else writes the same VMs, Azure
//! breaks off or refuses most updates, one VM is throttled, all are.
//!
//! Each trial states what must hold as plain functions of what was seen. Counts are small enough for every run of the
//! tests; those of the environment, named beside each, make a trial long.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![expect(clippy::print_stdout, reason = "a trial tells its figures")]

mod bad_luck;
mod foreign_load;
mod hot_vm;
mod second_writer;
mod world;
