//! A small Kubernetes API server for tests: the few kinds that an Azure Disk driver has to do with, with the
//! rules that a client must live with (versions, pages, watches with bookmarks, a history that ends), and with
//! the accidents that happen to one. In process it is a plain function, and runs under a paused clock; the same
//! can listen on a port.
//!
//! **Invariant:** it knows nothing of the driver's client: it is written from Kubernetes' own rules, so that the
//! two can't agree on the same mistake.

mod door;
mod faults;
mod listener;
mod merge;
mod resource;
mod store;
mod watching;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

pub use door::{Answer, Body, Lost};
pub use listener::serve;
pub use resource::Resource;
pub use store::Refusal;

use faults::Faults;
use store::Store;

/// How often a watch gets a bookmark; about as often as the real one sends them.
const BOOKMARKS: Duration = Duration::from_mins(1);

/// The server; clones are the same one.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Whoever waits for a change looks again when this does.
    changed: watch::Sender<()>,
    /// Whoever waits for a request looks again when this does.
    asked: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    store: Store,
    faults: Faults,
    /// Every request that came: method, path and query.
    requests: Vec<String>,
}

impl Default for ApiServer {
    fn default() -> Self {
        ApiServer::new()
    }
}

impl ApiServer {
    /// An empty cluster.
    pub fn new() -> ApiServer {
        let shared =
            Shared { state: Mutex::default(), changed: watch::channel(()).0, asked: watch::channel(()).0 };
        ApiServer { shared: Arc::new(shared) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.shared.changed.send_replace(());
        result
    }

    /// Makes an object, as a POST does.
    ///
    /// # Errors
    /// As the API would refuse it.
    pub fn create(&self, resource: Resource, object: Value) -> Result<Value, Refusal> {
        self.change(|state| state.store.create(resource, object))
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// As the API would refuse it.
    pub fn patch(&self, resource: Resource, name: &str, patch: &Value) -> Result<Value, Refusal> {
        self.change(|state| state.store.patch(resource, &resource.key("", name), patch))
    }

    /// Deletes an object; one with finalizers is only marked.
    ///
    /// # Errors
    /// If it is not there.
    pub fn delete(&self, resource: Resource, name: &str) -> Result<Value, Refusal> {
        self.change(|state| state.store.delete(resource, &resource.key("", name)))
    }

    /// All objects of a kind.
    pub fn objects(&self, resource: Resource) -> Vec<Value> {
        self.state().store.objects(resource)
    }

    /// The requests since the last time this was asked: method, path and query.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    /// Waits until the requests since the last [`Self::requests`] are enough.
    pub async fn until_asked(&self, is_enough: impl Fn(&[String]) -> bool) {
        let mut asked = self.shared.asked.subscribe();
        while !is_enough(&self.state().requests) {
            // The sender lives as long as `self`.
            let _ = asked.changed().await;
        }
    }

    /// Nobody gets through: connections break, and new ones are not made.
    pub fn go_down(&self) {
        self.change(|state| state.faults.go_down());
    }

    /// The outage is over.
    pub fn come_back(&self) {
        self.change(|state| state.faults.is_down = false);
    }

    /// Open watches end in good order, as when their time is over.
    pub fn end_watches(&self) {
        self.change(|state| state.faults.ended += 1);
    }

    /// Open watches break in the middle of a line.
    pub fn cut_watches(&self) {
        self.change(|state| state.faults.cut += 1);
    }

    /// Open watches stay open and say nothing any more, as when the way to the server has lost them.
    pub fn hang_watches(&self) {
        self.change(|state| state.faults.hung += 1);
    }

    /// Nobody may do this to that kind any more; the verbs are `list` and `watch`.
    pub fn forbid(&self, verb: &'static str, resource: Resource) {
        self.change(|state| state.faults.forbidden.push((verb, resource)));
    }

    /// Everything is allowed again.
    pub fn allow(&self) {
        self.change(|state| state.faults.forbidden.clear());
    }

    /// Every answer takes so long to begin.
    pub fn slow_down(&self, pause: Duration) {
        self.change(|state| state.faults.pause = pause);
    }

    /// Only this bearer token is let in from now on.
    pub fn expect_token(&self, token: &str) {
        self.change(|state| state.faults.token = Some(token.to_owned()));
    }

    /// The next `count` requests are refused with this status.
    pub fn refuse(&self, count: usize, status: u16) {
        self.change(|state| state.faults.refusals.extend(std::iter::repeat_n(status, count)));
    }

    /// Forgets how things came to be: watches from before and pages of lists begun before get 410.
    pub fn compact(&self) {
        self.change(|state| state.store.compact());
    }

    /// Goes on as a backup of this moment would: versions count on from `version`, which may be an earlier one.
    pub fn restore_at(&self, version: u64) {
        self.change(|state| state.store.restore_at(version));
    }
}
