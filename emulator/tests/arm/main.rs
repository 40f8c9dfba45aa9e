//! The rules of the emulated Azure, seen through its door, in process and under tokio's paused clock.

mod attach;
mod client;
mod disks;
