//! Whole worlds out of the built programs: an emulated Azure, a controller, nodes, each a process of its
//! own, as a user would start them. The demo, the sanity runner and the kill tests stand on this.
//!
//! **Invariant:** nothing here reaches into the driver: only its flags, its sockets, its metrics, and what
//! the kernel and the emulator's control endpoint tell.

pub mod azure;
pub mod client;
pub mod kubernetes;
pub mod program;
pub mod sanity;
pub mod story;
pub mod tools;
pub mod traces;
pub mod volume;
pub mod world;

/// Anything that ends a run, with enough words for a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
