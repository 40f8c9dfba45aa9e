//! A real Kubernetes on one Linux machine, whose nodes are VMs of an emulated Azure: the playground that a user
//! opens, and the strictest test of the driver.
//!
//! Everything runs in namespaces of its own: nothing listens on the machine's network, no sysctl of the machine
//! changes, and the end of one process ends it all. **Invariant:** nothing here reaches into the driver; it is
//! deployed by its chart and seen through Kubernetes, the kernel and the emulator's control endpoint.
//!
//! ```text
//! supervisor (outside; holds the lock, sweeps at the end)
//!  └ unshare ─ init, process 1: etcd, API server, controller manager, scheduler, emulator, bring-up
//!     ├ unshare ─ node n1, process 1: containerd, images, kubelet, and the pods
//!     └ unshare ─ node n2 …
//! ```

pub mod audit;
pub mod bring_up;
pub mod cgroup;
pub mod cluster;
pub mod containerd;
pub mod control_plane;
pub mod deploy;
pub mod images;
pub mod init;
pub mod inside;
mod kubelet;
pub mod loops;
pub mod memory;
pub mod needs;
mod net;
pub mod node;
mod node_root;
mod pki;
pub mod place;
pub mod playground;
pub mod processes;
mod progress;
pub mod ready;
mod run;
pub mod shape;
pub mod suite;
pub mod supervise;
pub mod supervisor;
mod sweep;
pub mod tools;
pub mod trial;

/// Anything that ends a run, with enough words for a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
