//! A local Azure: ARM Compute with disks, snapshots, VMs, scale sets and long-running operations, instance metadata
//! and tokens, for tests and for running a driver without an account.
//!
//! Use it in process through its door, [`Emulator::handle`], also under tokio's paused clock, or as the program
//! `azure-emulator`. It is written from what the real service was seen to do on the wire, never from a client's models.
//! Owner of all state: one [`Emulator`]; clones share it. Nothing waits while the state is locked.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use azure_emulator::{Emulator, Options, SUBSCRIPTION};
//! let emulator = Emulator::new(Options::default()).unwrap();
//! emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
//! let uri = format!("http://azure/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/node-a?api-version=2025-04-01");
//! let request = http::Request::get(uri).header("authorization", "Bearer any").body(bytes::Bytes::new()).unwrap();
//! assert_eq!(emulator.handle(request).await.status(), 200);
//! # });
//! ```

mod addresses;
mod answer;
mod arm;
mod bytes;
mod call;
mod clock;
mod connection;
mod control;
pub mod devices;
mod door;
mod fate;
mod faults;
mod gate;
mod history;
mod identity;
mod latency;
mod listing;
mod log;
mod machine;
mod model;
mod operation;
mod power;
mod races;
mod refusal;
mod router;
mod second_writer;
mod seed;
mod server;
mod settle;
mod shape;
mod start;
mod store;
mod strict;
mod throttle;
mod tiers;
mod tls;
mod truth;
mod vm_sizes;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

pub use addresses::{NotASubnet, Subnet};
pub use arm::companions::Rights;
pub use door::CONNECTION_LOST;
pub use fate::{Ending, Leaves};
pub use faults::{Action, Fault, Moment};
pub use latency::{Latency, Phase};
pub use log::LoggedRequest;
pub use races::Races;
pub use second_writer::{Act, Habits, SecondWriter};
pub use seed::SeedError;
pub use server::{Door, serve, serve_doors};
pub use start::{DeviceKind, Options, SUBSCRIPTION, StartError};
pub use store::StoreError;
pub use throttle::{BucketError, BucketState, Throttling};
pub use tls::{Authority, TlsError};
pub use truth::{ListedDisk, Truth, VmTruth};

use model::Model;

/// A local Azure. Cheap to clone; clones are the same Azure.
#[derive(Clone)]
pub struct Emulator {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulator").finish_non_exhaustive()
    }
}

struct Shared {
    model: Mutex<Model>,
    /// Rung after each request: an operation may have become the next to end.
    wake: Notify,
}

impl Emulator {
    /// The state. A panic in an earlier call does not take the emulator down: each call leaves the model whole.
    fn lock(&self) -> MutexGuard<'_, Model> {
        self.shared.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
