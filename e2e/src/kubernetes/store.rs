//! The objects, their versions and what became of them: a model without time, network or chance.
//!
//! **Invariants:** every change has a version of its own, higher than all before; the history holds all changes
//! after `floor`, so a watch from there or later misses nothing, and one from before is refused.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::merge::merge;
use super::resource::Resource;

/// Changes that are remembered; the real server forgets after minutes.
const MEMORY: usize = 10_000;

/// How the API says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Kubernetes' word for it.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, reason, message: message.into() }
    }

    fn not_found(resource: Resource, key: &str) -> Refusal {
        Refusal::new(404, "NotFound", format!("{} {key:?} not found", resource.kind()))
    }

    pub(super) fn expired() -> Refusal {
        Refusal::new(410, "Expired", "too old resource version")
    }

    /// As the API writes it.
    pub(super) fn body(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.status,
            "reason": self.reason, "message": self.message})
    }
}

/// One change.
#[derive(Clone, Debug)]
struct Past {
    version: u64,
    resource: Resource,
    key: String,
    what: &'static str,
    object: Value,
}

/// The rest of a list that is read by pages: all pages are of one moment.
#[derive(Debug)]
struct Reading {
    version: u64,
    rest: VecDeque<Value>,
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) version: u64,
    pub(super) items: Vec<Value>,
    /// The token of the next page; empty: this is the last.
    pub(super) next: String,
    pub(super) left: usize,
}

/// See the file.
#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    floor: u64,
    objects: BTreeMap<(Resource, String), Value>,
    history: VecDeque<Past>,
    readings: BTreeMap<String, Reading>,
    tokens: u64,
}

impl Store {
    pub(super) fn objects(&self, resource: Resource) -> Vec<Value> {
        self.objects
            .iter()
            .filter(|((kind, _), _)| *kind == resource)
            .map(|(_, object)| object.clone())
            .collect()
    }

    pub(super) fn get(&self, resource: Resource, key: &str) -> Result<Value, Refusal> {
        let found = self.objects.get(&(resource, key.to_owned())).cloned();
        found.ok_or_else(|| Refusal::not_found(resource, key))
    }

    pub(super) fn create(&mut self, resource: Resource, mut object: Value) -> Result<Value, Refusal> {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or_default().to_owned();
        let name = match (metadata["name"].as_str(), metadata["generateName"].as_str()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(prefix)) => format!("{prefix}{:05x}", self.version),
            (None, None) => return Err(Refusal::new(422, "Invalid", "name or generateName is required")),
        };
        let key = resource.key(&namespace, &name);
        if self.objects.contains_key(&(resource, key.clone())) {
            let message = format!("{} {key:?} already exists", resource.kind());
            return Err(Refusal::new(409, "AlreadyExists", message));
        }
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind().into();
        object["metadata"]["name"] = name.into();
        object["metadata"]["uid"] = format!("uid-{}", self.version + 1).into();
        Ok(self.put(resource, key, "ADDED", object))
    }

    pub(super) fn patch(&mut self, resource: Resource, key: &str, patch: &Value) -> Result<Value, Refusal> {
        let mut object = self.get(resource, key)?;
        let wanted = &patch["metadata"]["resourceVersion"];
        if wanted.is_string() && *wanted != object["metadata"]["resourceVersion"] {
            return Err(Refusal::new(409, "Conflict", "the object has been modified; read it again"));
        }
        merge(&mut object, patch);
        if is_over(&object) {
            return Ok(self.remove(resource, key.to_owned(), object));
        }
        Ok(self.put(resource, key.to_owned(), "MODIFIED", object))
    }

    pub(super) fn delete(&mut self, resource: Resource, key: &str) -> Result<Value, Refusal> {
        let mut object = self.get(resource, key)?;
        if !object["metadata"]["deletionTimestamp"].is_string() {
            object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        if is_over(&object) {
            return Ok(self.remove(resource, key.to_owned(), object));
        }
        Ok(self.put(resource, key.to_owned(), "MODIFIED", object))
    }

    fn put(&mut self, resource: Resource, key: String, what: &'static str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert((resource, key.clone()), object.clone());
        self.remember(resource, key, what, object.clone());
        object
    }

    fn remove(&mut self, resource: Resource, key: String, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.remove(&(resource, key.clone()));
        self.remember(resource, key, "DELETED", object.clone());
        object
    }

    fn remember(&mut self, resource: Resource, key: String, what: &'static str, object: Value) {
        self.history.push_back(Past { version: self.version, resource, key, what, object });
        while self.history.len() > MEMORY {
            self.floor = self.history.pop_front().map_or(self.floor, |past| past.version);
        }
    }

    /// The first page of a list, or the one that `token` names.
    pub(super) fn page(
        &mut self,
        resource: Resource,
        namespace: &str,
        limit: usize,
        token: &str,
    ) -> Result<Page, Refusal> {
        let reading = if token.is_empty() {
            let prefix = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
            let mine = |(kind, key): &&(Resource, String)| *kind == resource && key.starts_with(&prefix);
            let rest = self.objects.iter().filter(|(key, _)| mine(key)).map(|(_, object)| object.clone());
            Some(Reading { version: self.version, rest: rest.collect() })
        } else {
            self.readings.remove(token)
        };
        let Some(mut reading) = reading else { return Err(Refusal::expired()) };
        let count = if limit == 0 { reading.rest.len() } else { limit.min(reading.rest.len()) };
        let items = reading.rest.drain(..count).collect();
        let (version, left) = (reading.version, reading.rest.len());
        let mut next = String::new();
        if left > 0 {
            self.tokens += 1;
            next = format!("page-{}", self.tokens);
            self.readings.insert(next.clone(), reading);
        }
        Ok(Page { version, items, next, left })
    }

    /// What happened to a list after `version`, as lines of a watch, and the version that is reached.
    pub(super) fn since(
        &self,
        resource: Resource,
        namespace: &str,
        version: u64,
    ) -> Result<(Vec<Value>, u64), Refusal> {
        if version < self.floor {
            return Err(Refusal::expired());
        }
        let prefix = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let new = self.history.iter().filter(|past| past.version > version && past.resource == resource);
        let new = new.filter(|past| past.key.starts_with(&prefix));
        let lines = new.map(|past| json!({"type": past.what, "object": past.object})).collect();
        Ok((lines, version.max(self.version)))
    }

    pub(super) fn compact(&mut self) {
        self.floor = self.version;
        self.history.clear();
        self.readings.clear();
    }

    pub(super) fn restore_at(&mut self, version: u64) {
        self.compact();
        (self.version, self.floor) = (version, version.min(self.floor));
    }
}

/// An object that is being deleted goes when nobody holds it any more.
fn is_over(object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["deletionTimestamp"].is_string() && metadata["finalizers"].as_array().is_none_or(Vec::is_empty)
}
