//! The built program over its socket: start, faults that close connections or kill, restart after kill -9, end.
#![expect(clippy::unwrap_used, reason = "what fails in a test's own steps fails the test")]

mod devices;
mod faults;
mod metadata;
mod process;
mod restart;
mod tls;
