//! A local Azure: ARM Compute with disks, VMs and long-running operations, for tests and for running a driver without
//! an account.
//!
//! Use it in process through its door, [`Emulator::handle`], also under tokio's paused clock, or as the program
//! `azure-emulator`. It is written from what the real service was seen to do on the wire, never from a client's models.
//! Owner of all state: one [`Emulator`]; clones share it. Nothing waits while the state is locked.

mod answer;
mod arm;
mod call;
mod clock;
pub mod devices;
mod latency;
mod model;
mod operation;
mod refusal;
mod router;
mod seed;
mod settle;
mod tiers;
mod vm_sizes;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response};

pub use latency::{Latency, Phase};
pub use seed::SeedError;

use answer::Answer;
use call::Call;
use clock::Clock;
use model::Model;
use refusal::Refusal;
use world::World;

/// How an [`Emulator`] is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The one subscription that exists.
    pub subscription: String,
    /// Region of everything that does not name its own.
    pub location: String,
    /// Resource groups that exist from the start.
    pub groups: Vec<String>,
    /// How long things take.
    pub latency: Latency,
    /// Refuse request properties that Azure does not know.
    pub strict: bool,
    /// Seed of every guid.
    pub seed: u64,
    /// What the wall clock shows at the start; it appears in timestamps only.
    pub wall: SystemTime,
}

impl Default for Options {
    /// Subscription [`SUBSCRIPTION`], region `eastus2`, group `rg`, instant operations.
    fn default() -> Self {
        Self {
            subscription: SUBSCRIPTION.to_owned(),
            location: "eastus2".to_owned(),
            groups: vec!["rg".to_owned()],
            latency: Latency::default(),
            strict: false,
            seed: 0,
            wall: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000),
        }
    }
}

/// The subscription of [`Options::default`].
pub const SUBSCRIPTION: &str = "5ab5c71b-0000-4000-8000-000000000001";

/// Why an emulator can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {}

/// A local Azure. Cheap to clone; clones are the same Azure.
#[derive(Clone)]
pub struct Emulator {
    shared: Arc<Shared>,
}

struct Shared {
    model: Mutex<Model>,
}

impl Emulator {
    /// An Azure with nothing but the groups of `options`.
    pub fn new(options: Options) -> Result<Self, StartError> {
        let world = World::default();
        let model = Model {
            clock: Clock::resumed(world.clock, options.wall),
            world,
            latency: options.latency,
            subscription: options.subscription,
            location: options.location,
            default_group: options.groups.first().cloned().unwrap_or_default(),
            seed: options.seed,
            is_strict: options.strict,
            is_dirty: true,
            ending: None,
        };
        let emulator = Self { shared: Arc::new(Shared { model: Mutex::new(model) }) };
        for group in &options.groups {
            emulator.add_group(group);
        }
        Ok(emulator)
    }

    /// Answers one request to ARM.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let call = Call::new(request);
        let (response, accept) = {
            let mut model = self.lock();
            model.settle();
            let request_id = model.guid();
            let answer = if call.is_arm() { router::arm(&mut model, &call) } else { unknown(&call) };
            (answer.finish(&call, &request_id), model.latency.draw(Phase::Accept))
        };
        if !accept.is_zero() {
            tokio::time::sleep(accept).await;
        }
        response
    }

    /// The state. A panic in an earlier call does not take the emulator down: each call leaves the model whole.
    fn lock(&self) -> MutexGuard<'_, Model> {
        self.shared.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(call: &Call) -> Answer {
    Refusal::no_route(&call.path).answer()
}
