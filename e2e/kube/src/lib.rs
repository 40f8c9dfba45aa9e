//! A real Kubernetes on one Linux machine, whose nodes are VMs of an emulated Azure: the playground that a user
//! opens, and the strictest test of the driver.
//!
//! Everything runs in namespaces of its own: nothing listens on the machine's network, no sysctl of the machine
//! changes, and the end of one process ends it all. **Invariant:** nothing here reaches into the driver; it is
//! deployed by its chart and seen through Kubernetes, the kernel and the emulator's control endpoint.

pub mod audit;
pub mod deploy;
pub mod images;
pub mod memory;
pub mod needs;
pub mod place;
pub mod ready;
pub mod suite;
pub mod tools;
pub mod trial;

/// Anything that ends a run, with enough words for a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
