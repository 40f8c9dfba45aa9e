//! Start and end of an emulator: options, the saved model, the devices that an earlier process left.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::devices::{Devices, DevicesError};
use crate::fate::Fate;
use crate::faults::Script;
use crate::latency::{Draws, Latency};
use crate::listing::Listing;
use crate::log::RequestLog;
use crate::model::Model;
use crate::races::Races;
use crate::store::{Store, StoreError};
use crate::throttle::{Throttle, Throttling};
use crate::world::World;
use crate::{Emulator, Shared};

/// The subscription of [`Options::default`].
pub const SUBSCRIPTION: &str = "5ab5c71b-0000-4000-8000-000000000001";

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
    /// When writes collide.
    pub races: Races,
    /// Whether requests are throttled, and at what pace.
    pub throttling: Throttling,
    /// Refuse request properties that Azure does not know.
    pub strict: bool,
    /// Most resources on a page of a list.
    pub page: usize,
    /// Ids in lists have the group's name in capitals, as the real service was seen to do.
    pub shouting_lists: bool,
    /// Directory that keeps the model; without one it ends with the emulator.
    pub state: Option<PathBuf>,
    /// Show attached disks as block devices; needs `state` and root.
    pub devices: Option<DeviceKind>,
    /// Seed of every guid.
    pub seed: u64,
    /// What the wall clock shows at the start; it appears in timestamps and token lifetimes only.
    pub wall: SystemTime,
}

/// What stands behind attached disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Loop devices on sparse files.
    Loop,
}

impl Default for Options {
    /// Subscription [`SUBSCRIPTION`], region `eastus2`, group `rg`, instant operations, nothing kept.
    fn default() -> Self {
        Self {
            subscription: SUBSCRIPTION.to_owned(),
            location: "eastus2".to_owned(),
            groups: vec!["rg".to_owned()],
            latency: Latency::default(),
            races: Races::default(),
            throttling: Throttling::Off,
            strict: false,
            page: 250,
            shouting_lists: false,
            state: None,
            devices: None,
            seed: 0,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        }
    }
}

/// Why an emulator can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory or the saved model.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The block devices.
    #[error("block devices: {0}")]
    Devices(#[from] DevicesError),
    /// Devices without a directory to keep their bytes.
    #[error("block devices need a state directory")]
    NoState,
}

impl Emulator {
    /// Starts an emulator: the saved model if `options.state` has one, else an Azure with nothing but the groups.
    ///
    /// Without root it runs without devices and says so in the log.
    pub fn new(options: Options) -> Result<Self, StartError> {
        let store = options.state.as_deref().map(Store::open).transpose()?;
        let world = store.as_ref().map_or_else(|| Ok(World::default()), Store::load)?;
        let devices = match (options.devices, &options.state) {
            (None, _) => None,
            (Some(DeviceKind::Loop), None) => return Err(StartError::NoState),
            (Some(DeviceKind::Loop), Some(directory)) => match Devices::open(directory) {
                Ok(devices) => Some(devices),
                Err(DevicesError::NotRoot) => {
                    tracing::warn!("block devices need root: this emulator runs without them");
                    None
                }
                Err(error) => return Err(error.into()),
            },
        };
        let mut model = Model {
            clock: Clock::resumed(world.clock, options.wall),
            world,
            latency: options.latency,
            draws: Draws::default(),
            subscription: options.subscription,
            location: options.location,
            default_group: options.groups.first().cloned().unwrap_or_default(),
            seed: options.seed,
            is_strict: options.strict,
            listing: Listing { page: options.page, shouts: options.shouting_lists },
            is_dirty: true,
            fate: Fate::default(),
            races: options.races,
            accepted: None,
            throttle: Throttle::new(options.throttling),
            script: Script::default(),
            history: None,
            log: RequestLog::default(),
            store,
            devices,
        };
        for group in &options.groups {
            model.seed_group(group);
        }
        model.recover()?;
        model.save_if_dirty()?;
        Ok(Self { shared: Arc::new(Shared { model: Mutex::new(model), wake: Notify::new() }) })
    }

    /// Saves the model and releases the block devices. The emulator must not be used afterwards.
    pub fn close(&self) -> Result<(), StartError> {
        let mut model = self.lock();
        model.settle();
        model.is_dirty = true;
        model.save_if_dirty()?;
        if let Some(store) = &model.store {
            store.flush()?;
        }
        if let Some(devices) = &model.devices {
            devices.release()?;
        }
        Ok(())
    }
}

impl Model {
    /// Makes the devices agree with the model again, whatever a kill left behind.
    fn recover(&mut self) -> Result<(), StartError> {
        let Some(devices) = &self.devices else { return Ok(()) };
        devices.reconcile(&self.machines())?;
        // Bytes that were made for a request whose acceptance was never saved.
        let images = self.store.as_ref().map(Store::images).unwrap_or_default();
        for orphan in images.iter().filter(|image| !self.owns_bytes(image)) {
            devices.delete(orphan)?;
        }
        Ok(())
    }
}
