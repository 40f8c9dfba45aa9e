//! The model and what it needs to run: the state behind the emulator's one lock.
//!
//! Handlers in [`crate::arm`] get `&mut Model`, decide, write, and return an answer; nothing here waits. Time passes by
//! [`crate::settle`], which ends the operations that are due.

use serde_json::Value;

use crate::answer::Answer;
use crate::call::Call;
use crate::clock::{Clock, Millis, millis};
use crate::devices::Devices;
use crate::fate::{Change, Fate};
use crate::faults::Script;
use crate::history::History;
use crate::latency::{Draws, Latency, Work};
use crate::listing::Listing;
use crate::log::RequestLog;
use crate::operation::{Effect, Operation, Provider, Stage};
use crate::races::Races;
use crate::refusal::Refusal;
use crate::store::{Store, StoreError};
use crate::throttle::Throttle;
use crate::world::{Group, Key, World, key};

/// What a handler returns.
pub(crate) type Outcome = Result<Answer, Refusal>;

/// The emulator's state and its surroundings.
pub(crate) struct Model {
    pub(crate) world: World,
    pub(crate) clock: Clock,
    pub(crate) latency: Latency,
    pub(crate) draws: Draws,
    pub(crate) subscription: String,
    pub(crate) location: String,
    /// Where VMs are seeded.
    pub(crate) default_group: String,
    pub(crate) seed: u64,
    pub(crate) is_strict: bool,
    pub(crate) listing: Listing,
    /// Something changed that is not saved yet.
    pub(crate) is_dirty: bool,
    /// What becomes of the operation that the present call starts; set by the fault script.
    pub(crate) fate: Fate,
    pub(crate) races: Races,
    /// The operation that the present call started, for the log.
    pub(crate) accepted: Option<String>,
    pub(crate) throttle: Throttle,
    pub(crate) script: Script,
    /// What was, while somebody asks for it.
    pub(crate) history: Option<History>,
    pub(crate) log: RequestLog,
    pub(crate) store: Option<Store>,
    pub(crate) devices: Option<Devices>,
}

impl Model {
    /// A guid that this model never drew before, nor will again after a restart.
    pub(crate) fn guid(&mut self) -> String {
        let number = self.world.next();
        let mut random = fastrand::Rng::with_seed(self.seed.wrapping_add(number));
        uuid::Builder::from_random_bytes(random.u128(..).to_be_bytes()).into_uuid().to_string()
    }

    /// Accepts an operation. Its duration and its ending are drawn here.
    pub(crate) fn accept(
        &mut self,
        call: &Call,
        provider: Provider,
        location: &str,
        effect: Effect,
    ) -> Operation {
        let id = self.guid();
        let work = Work::of(&self.world, &effect);
        let now = self.clock.now();
        let drawn: Millis = now + millis(self.latency.of(work, self.draws.operation(call)));
        let fate = std::mem::take(&mut self.fate);
        let operation = Operation {
            id: id.clone(),
            provider,
            location: location.to_owned(),
            subscription: self.subscription.clone(),
            api_version: call.query("api-version").unwrap_or_default().to_owned(),
            order: self.world.next(),
            started: self.clock.stamp(),
            ended: None,
            accepted: now,
            due: fate.due(now, drawn),
            stage: Stage::Running,
            drawn: fate.ending.unwrap_or(Stage::Succeeded),
            leaves: fate.leaves,
            is_settled: fate.is_settled,
            change: Change::default(),
            effect,
            output: None,
        };
        self.accepted = Some(id.clone());
        self.world.operations.insert(id, operation.clone());
        self.is_dirty = true;
        operation
    }

    /// The group named in the path, or the gateway's refusal.
    pub(crate) fn group(&self, name: &str) -> Result<&Group, Refusal> {
        self.world.groups.get(&key(name)).ok_or_else(|| Refusal::no_group(name))
    }

    /// The key prefix of what a list call asks for: one group's resources, or all.
    pub(crate) fn scope(&self, call: &Call) -> Result<String, Refusal> {
        if call.lower[2] != "resourcegroups" {
            return Ok(String::new());
        }
        let group = self.group(call.segment(3))?;
        Ok(key(&format!("/subscriptions/{}/resourceGroups/{}/", self.subscription, group.name)))
    }

    /// Saves the model, if it is kept and something changed.
    pub(crate) fn save_if_dirty(&mut self) -> Result<(), StoreError> {
        if self.is_dirty {
            self.remember(self.clock.now());
        }
        if self.is_dirty
            && let Some(store) = &self.store
        {
            self.world.clock = self.clock.now();
            store.save(&self.world)?;
        }
        self.is_dirty = false;
        Ok(())
    }

    /// The id of a resource of this subscription.
    pub(crate) fn id(&self, group: &str, provider: &str, kind: &str, name: &str) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{group}/providers/{provider}/{kind}/{name}",
            self.subscription
        )
    }

    /// Removes a VM at once, by id or by machine name.
    pub(crate) fn vanish(&mut self, vm: &str) -> bool {
        let Some(id) = self.find_vm(vm) else { return false };
        self.delete_vm(&id);
        true
    }

    /// The key of a VM by id or by machine name.
    pub(crate) fn find_vm(&self, vm: &str) -> Option<Key> {
        let mut vms = self.world.vms.iter();
        let found = vms.find(|(id, found)| **id == key(vm) || found.machine().eq_ignore_ascii_case(vm));
        found.map(|(id, _)| id.clone())
    }

    /// `location` of a body, or the default; Azure writes it without blanks and in lower case.
    pub(crate) fn location_in(&self, body: &Value) -> String {
        match body["location"].as_str() {
            Some(location) => location.replace(' ', "").to_lowercase(),
            None => self.location.clone(),
        }
    }
}
