//! A second writer of the VMs: another program, such as the Go driver of a neighbour, with disks of its own.
//!
//! It reads a VM, thinks, and writes the whole list of its data disks back, as that driver does; it changes tags and sizes,
//! and stops and starts VMs. Its requests go through the emulator's door, but scripted faults do not count them and the
//! request log does not show them. Owner of its disks and of what it believes about them: whatever it is sure of and finds
//! otherwise, somebody else did, and it says so ([`SecondWriter::surprises`]). Time is tokio's, chance is a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::Emulator;
use crate::call::Unseen;
use crate::seed::SeedError;
use crate::vm_sizes;
use crate::world::{key, name_of};

/// Pause between two polls of an operation.
const POLL: Duration = Duration::from_millis(500);

/// Polls until an operation is given up.
const MOST_POLLS: usize = 1200;

/// How a [`SecondWriter`] behaves.
#[derive(Debug, Clone)]
pub struct Habits {
    /// Resource group of its disks; made if it is not there.
    pub group: String,
    /// How many disks it has.
    pub disks: usize,
    /// Longest pause between two acts.
    pub pause: Duration,
    /// Longest time between reading a VM and writing it.
    pub think: Duration,
    /// How many of a hundred lists it writes with `If-Match`. The others overwrite what came in between.
    pub careful: u8,
    /// Whether it stops and starts VMs.
    pub switches: bool,
    /// Whether it changes sizes, to others that take as many disks.
    pub resizes: bool,
}

impl Default for Habits {
    /// Four disks in the group `foreign`, pauses up to ten seconds, thoughts up to two; every other list is careful.
    fn default() -> Self {
        Self {
            group: "foreign".to_owned(),
            disks: 4,
            pause: Duration::from_secs(10),
            think: Duration::from_secs(2),
            careful: 50,
            switches: true,
            resizes: true,
        }
    }
}

/// Where one of its disks is, as far as it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Free,
    /// On the VM with this id.
    On(String),
    /// Its own last act did not end well.
    Unsure,
}

/// What the writer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// What it is, such as `attach foreign-0`.
    pub what: String,
    /// ARM id of the VM.
    pub vm: String,
    /// Whether Azure accepted it and it ended well.
    pub is_done: bool,
}

/// See the module; made by [`Emulator::second_writer`].
#[derive(Debug)]
pub struct SecondWriter {
    emulator: Emulator,
    habits: Habits,
    random: fastrand::Rng,
    /// Disk id → where it is.
    places: BTreeMap<String, Place>,
    surprises: Vec<String>,
}

/// An answer: status, poll URL, body.
struct Reply {
    status: StatusCode,
    poll: Option<String>,
    body: Value,
}

impl Emulator {
    /// A second writer, whose acts follow from `seed`. Disks that it had before a restart are its own again.
    pub async fn second_writer(&self, seed: u64, habits: Habits) -> Result<SecondWriter, SeedError> {
        self.add_group(&habits.group);
        let (subscription, location) = {
            let model = self.lock();
            (model.subscription.clone(), model.location.clone())
        };
        let random = fastrand::Rng::with_seed(seed);
        let (places, surprises) = (BTreeMap::new(), Vec::new());
        let mut writer = SecondWriter { emulator: self.clone(), habits, random, places, surprises };
        for number in 0..writer.habits.disks {
            let group = &writer.habits.group;
            let id = format!(
                "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/disks/foreign-{number}"
            );
            // This SKU goes to every VM, whatever its zone and size.
            let body = json!({
                "location": location, "sku": { "name": "StandardSSD_ZRS" }, "tags": { "owner": "second-writer" },
                "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 4 },
            });
            let reply = writer.send(Method::PUT, &id, body, None).await;
            if !writer.follow(&reply).await {
                return Err(SeedError::Failed(format!("{id}: {}", reply.body)));
            }
            writer.places.insert(id, Place::Unsure);
        }
        writer.look();
        Ok(writer)
    }
}

impl SecondWriter {
    /// Acts for ever.
    pub async fn run(&mut self) {
        loop {
            let act = self.act().await;
            tracing::info!(what = act.what, vm = act.vm, done = act.is_done, "second writer");
        }
    }

    /// What others did to its disks.
    pub fn surprises(&self) -> &[String] {
        &self.surprises
    }

    /// Its disks: id → the VM that it is sure it is on, or `None` if it is free. What it is unsure of is left out.
    pub fn places(&self) -> BTreeMap<String, Option<String>> {
        let sure = self.places.iter().filter(|(_, place)| **place != Place::Unsure);
        let place = |place: &Place| if let Place::On(vm) = place { Some(vm.clone()) } else { None };
        sure.map(|(disk, found)| (disk.clone(), place(found))).collect()
    }

    /// Pauses, looks after its disks, and does one thing to one VM.
    pub async fn act(&mut self) -> Act {
        self.rest(self.habits.pause).await;
        self.look();
        let Some((vm, is_own)) = self.some_vm() else {
            return Act { what: "nothing".to_owned(), vm: String::new(), is_done: false };
        };
        let free = self.some_disk(&Place::Free);
        let held = self.some_disk(&Place::On(vm.clone()));
        let (what, is_done) = match (self.random.u8(0..10), free, held) {
            (0..=3, Some(disk), _) | (0..=6, Some(disk), None) => {
                (format!("attach {}", name_of(&disk)), self.attach(&vm, &disk).await)
            }
            (0..=6, _, Some(disk)) => (format!("detach {}", name_of(&disk)), self.detach(&vm, &disk).await),
            (7, ..) if is_own && self.habits.resizes => ("resize".to_owned(), self.resize(&vm).await),
            (8, ..) if self.habits.switches => ("stop and start".to_owned(), self.switch(&vm).await),
            _ if is_own => ("tags".to_owned(), self.tag(&vm).await),
            _ => ("nothing".to_owned(), true),
        };
        self.look();
        Act { what, vm, is_done }
    }

    /// Compares what it is sure of with what is, and learns.
    fn look(&mut self) {
        for disk in self.places.keys().cloned().collect::<Vec<_>>() {
            let found = self.find(&disk);
            let known = self.places.insert(disk.clone(), found.clone());
            if let Some(known) = known.filter(|known| *known != Place::Unsure && *known != found) {
                let has_vm = |place: &Place| matches!(place, Place::On(vm) if self.emulator.has_vm(vm));
                // A VM that went took its attachment along: nobody's fault.
                if has_vm(&known) || known == Place::Free {
                    self.surprises.push(format!("{disk} was {known:?} and is {found:?}"));
                }
            }
        }
    }

    /// Where a disk is: the VM that holds it must list it, and nobody else.
    fn find(&self, disk: &str) -> Place {
        let holder = self.emulator.disk(disk).map_or(Value::Null, |disk| disk["managedBy"].clone());
        let vms: Vec<String> = self.emulator.lock().world.vms.values().map(|vm| vm.id.clone()).collect();
        let listed = vms.into_iter().filter_map(|vm| {
            let shown = self.emulator.vm(&vm)?;
            let entries = shown["properties"]["storageProfile"]["dataDisks"].as_array()?.clone();
            let mut entries = entries.into_iter().filter(|entry| is_of(entry, disk));
            entries.next().map(|entry| (vm, entry["toBeDetached"] == true))
        });
        match (listed.collect::<Vec<_>>().as_slice(), holder.as_str()) {
            ([], None) => Place::Free,
            ([(vm, false)], Some(holder)) if key(vm) == key(holder) => Place::On(vm.clone()),
            _ => Place::Unsure,
        }
    }

    /// A VM, and whether it is one of its own, not of a uniform scale set.
    fn some_vm(&mut self) -> Option<(String, bool)> {
        let model = self.emulator.lock();
        let vms: Vec<(String, bool)> =
            model.world.vms.values().map(|vm| (vm.id.clone(), vm.instance.is_none())).collect();
        drop(model);
        let index = self.random.usize(0..vms.len().max(1));
        vms.into_iter().nth(index)
    }

    fn some_disk(&mut self, place: &Place) -> Option<String> {
        let all: Vec<&String> =
            self.places.iter().filter(|(_, found)| *found == place).map(|(disk, _)| disk).collect();
        let index = self.random.usize(0..all.len().max(1));
        all.get(index).map(|disk| (*disk).clone())
    }

    async fn attach(&mut self, vm: &str, disk: &str) -> bool {
        self.write_list(vm, disk, |list| {
            let taken = |lun: &u64| list.iter().any(|entry| entry["lun"] == *lun);
            let Some(lun) = (0..=63).find(|lun| !taken(lun)) else { return };
            list.push(json!({
                "lun": lun, "name": name_of(disk), "createOption": "Attach", "caching": "None",
                "managedDisk": { "id": disk },
            }));
        })
        .await
    }

    async fn detach(&mut self, vm: &str, disk: &str) -> bool {
        self.write_list(vm, disk, |list| {
            for entry in list.iter_mut().filter(|entry| is_of(entry, disk)) {
                entry["toBeDetached"] = json!(true);
            }
        })
        .await
    }

    /// Reads the list of a VM's disks, thinks, and writes all of it. It is unsure of `disk` until it looks again.
    async fn write_list(&mut self, vm: &str, disk: &str, change: impl FnOnce(&mut Vec<Value>)) -> bool {
        let read = self.send(Method::GET, vm, Value::Null, None).await;
        let listed = read.body["properties"]["storageProfile"]["dataDisks"].as_array();
        let Some(mut list) = listed.cloned().filter(|_| read.status == StatusCode::OK) else { return false };
        change(&mut list);
        self.rest(self.habits.think).await;
        let etag = read.body["etag"].as_str().filter(|_| self.random.u8(0..100) < self.habits.careful);
        let etag = etag.map(str::to_owned);
        let body = json!({
            "location": read.body["location"], "properties": { "storageProfile": { "dataDisks": list } },
        });
        self.places.insert(disk.to_owned(), Place::Unsure);
        let reply = self.send(Method::PUT, vm, body, etag.as_deref()).await;
        self.follow(&reply).await
    }

    async fn tag(&mut self, vm: &str) -> bool {
        let read = self.send(Method::GET, vm, Value::Null, None).await;
        let mut tags = read.body["tags"].as_object().cloned().unwrap_or_default();
        self.rest(self.habits.think).await;
        tags.insert("second-writer".to_owned(), json!(self.random.u16(..).to_string()));
        let reply = self.send(Method::PATCH, vm, json!({ "tags": tags }), None).await;
        self.follow(&reply).await
    }

    /// To a size that takes as many disks of the same kinds.
    async fn resize(&mut self, vm: &str) -> bool {
        let read = self.send(Method::GET, vm, Value::Null, None).await;
        let present = read.body["properties"]["hardwareProfile"]["vmSize"].as_str().unwrap_or_default();
        let Some(present) = vm_sizes::find(present) else { return false };
        let is_like = |size: &vm_sizes::VmSize| {
            (size.most_disks, size.has_premium) == (present.most_disks, present.has_premium)
        };
        let sizes: Vec<&str> = vm_sizes::all().filter(is_like).map(|size| size.name).collect();
        self.rest(self.habits.think).await;
        let size = sizes[self.random.usize(0..sizes.len())];
        let body = json!({ "properties": { "hardwareProfile": { "vmSize": size } } });
        let reply = self.send(Method::PATCH, vm, body, None).await;
        self.follow(&reply).await
    }

    async fn switch(&mut self, vm: &str) -> bool {
        let off = if self.random.bool() { "deallocate" } else { "powerOff" };
        let stopped = self.send(Method::POST, &format!("{vm}/{off}"), Value::Null, None).await;
        let is_off = self.follow(&stopped).await;
        self.rest(self.habits.think).await;
        // Also after a refusal, or a preemption: nobody else will start it.
        for _ in 0..MOST_POLLS {
            let started = self.send(Method::POST, &format!("{vm}/start"), Value::Null, None).await;
            if started.status == StatusCode::NOT_FOUND || self.follow(&started).await {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        is_off
    }

    /// Waits for the end of what was accepted. False if it was not, or did not end well.
    async fn follow(&self, reply: &Reply) -> bool {
        let Some(url) = reply.poll.as_ref().filter(|_| reply.status.is_success()) else {
            return reply.status.is_success();
        };
        for _ in 0..MOST_POLLS {
            let poll = self.send(Method::GET, url, Value::Null, None).await;
            match poll.body["status"].as_str() {
                Some("InProgress") => tokio::time::sleep(POLL).await,
                Some("Succeeded") => return true,
                _ => return false,
            }
        }
        false
    }

    async fn rest(&mut self, longest: Duration) {
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_millis(self.random.u64(0..=longest))).await;
    }

    async fn send(&self, method: Method, target: &str, body: Value, etag: Option<&str>) -> Reply {
        let uri = if target.starts_with("http") {
            target.to_owned()
        } else {
            format!("http://azure{target}?api-version=2025-04-01")
        };
        let mut request = Request::builder().method(method).uri(uri).extension(Unseen);
        request = request.header("authorization", "Bearer second-writer");
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        let bytes = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let lost = Reply { status: StatusCode::BAD_REQUEST, poll: None, body: Value::Null };
        let Ok(request) = request.body(bytes) else { return lost };
        let (head, bytes) = self.emulator.handle(request).await.into_parts();
        let poll = head.headers.get("azure-asyncoperation").and_then(|url| url.to_str().ok());
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { status: head.status, poll: poll.map(str::to_owned), body }
    }
}

fn is_of(entry: &Value, disk: &str) -> bool {
    entry["managedDisk"]["id"].as_str().is_some_and(|id| key(id) == key(disk))
}
