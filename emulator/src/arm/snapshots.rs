//! Snapshots: create, read, change, delete, list.
//!
//! The point in time is the accept of the PUT. A snapshot of a disk that is bought by the number is filled by a
//! background copy: until that ends it is `Pending`, tells its `completionPercent`, and can't be a source.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::clock::millis;
use crate::latency::Phase;
use crate::model::{Model, Outcome};
use crate::operation::{Effect, Provider};
use crate::refusal::Refusal;
use crate::shape::demand_body;
use crate::tiers;
use crate::world::{Key, Provisioning, Snapshot, World, key, name_of};

const KIND: &str = "Microsoft.Compute/snapshots";
const SKUS: &[&str] = &["Standard_LRS", "Standard_ZRS", "Premium_LRS"];
/// Most background copies of one disk at a time.
const MOST_COPIES: usize = 3;

/// `…/snapshots/N`.
pub(crate) fn one(model: &mut Model, call: &Call) -> Outcome {
    let (group, name) = (call.segment(3), call.segment(7));
    model.group(group)?;
    let key = key(&model.id(group, "Microsoft.Compute", "snapshots", name));
    let missing = || Refusal::no_resource(KIND, name, group);
    match call.method {
        Method::GET => {
            let snapshot = model.world.snapshots.get(&key).ok_or_else(missing)?;
            Ok(Answer::ok(view(&model.world, snapshot)))
        }
        Method::PUT => put(model, call, &key),
        Method::PATCH => {
            let snapshot = model.world.snapshots.get(&key).ok_or_else(missing)?;
            demand_body(call)?;
            let mut new = snapshot.clone();
            change(&mut new, &call.body)?;
            new.state = Provisioning::Updating;
            let echo = view(&model.world, &new);
            Ok(accept(model, call, Effect::ChangeSnapshot(key, call.body.clone()), echo, &new.location))
        }
        Method::DELETE => {
            let Some(snapshot) = model.world.snapshots.get_mut(&key) else {
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            };
            snapshot.state = Provisioning::Updating;
            let location = snapshot.location.clone();
            let operation = model.accept(call, Provider::Disk, &location, Effect::DeleteSnapshot(key));
            Ok(operation.announce(call, Answer::empty(StatusCode::ACCEPTED)).handled(call, &location))
        }
        _ => Err(Refusal::no_method(call.method.as_str(), &call.path)),
    }
}

/// The snapshots of the subscription or of one group.
pub(crate) fn list(model: &mut Model, call: &Call) -> Outcome {
    let prefix = model.scope(call)?;
    let snapshots = model.world.snapshots.iter().filter(|(key, _)| key.starts_with(&prefix));
    let snapshots: Vec<Value> = snapshots.map(|(_, snapshot)| view(&model.world, snapshot)).collect();
    let request = model.guid();
    Ok(Answer::list(snapshots).gathered(&request))
}

fn put(model: &mut Model, call: &Call, key: &Key) -> Outcome {
    demand_body(call)?;
    let source = call.body["properties"]["creationData"]["sourceResourceId"].as_str().unwrap_or_default();
    if let Some(old) = model.world.snapshots.get(key) {
        let same = old.creation.get("sourceResourceId").and_then(Value::as_str).unwrap_or_default();
        if !source.eq_ignore_ascii_case(same) {
            let refusal = Refusal::not_allowed("Changing property 'creationData' is not allowed.");
            return Err(refusal.target("creationData"));
        }
        let (mut new, location) = (old.clone(), old.location.clone());
        change(&mut new, &call.body)?;
        let echo = echo(&old.id, call, &location);
        return Ok(accept(
            model,
            call,
            Effect::ChangeSnapshot(key.clone(), call.body.clone()),
            echo,
            &location,
        ));
    }
    let (snapshot, from) = draft(model, call)?;
    let copied = model.copy_bytes(&from, &snapshot.unique_id, snapshot.size_gib << 30);
    let echo = echo(&snapshot.id, call, &snapshot.location);
    let location = snapshot.location.clone();
    model.world.snapshots.insert(key.clone(), snapshot);
    model.doom(copied);
    Ok(accept(model, call, Effect::CreateSnapshot(key.clone()), echo, &location))
}

fn accept(model: &mut Model, call: &Call, effect: Effect, echo: Value, location: &str) -> Answer {
    let operation = model.accept(call, Provider::Disk, location, effect);
    let answer = operation.announce(call, Answer::json(StatusCode::ACCEPTED, echo)).handled(call, location);
    answer.with("retry-after", model.retry_after(&operation).to_string())
}

fn echo(id: &str, call: &Call, location: &str) -> Value {
    let mut echo = json!({ "name": name_of(id), "id": id, "type": KIND, "location": location });
    for name in ["sku", "tags", "properties"] {
        if !call.body[name].is_null() {
            echo[name] = call.body[name].clone();
        }
    }
    echo["properties"]["provisioningState"] = json!(Provisioning::Updating.word());
    echo
}

/// The snapshot that a body describes, and the unique id of what it is taken from.
fn draft(model: &mut Model, call: &Call) -> Result<(Snapshot, String), Refusal> {
    let (group, name) = (call.segment(3), call.segment(7));
    let asked = &call.body["properties"];
    let mut creation: Map<String, Value> = asked["creationData"].as_object().cloned().unwrap_or_default();
    let is_incremental = asked["incremental"].as_bool().unwrap_or(false);
    let source = asked["creationData"]["sourceResourceId"].as_str().unwrap_or_default().to_owned();
    let option = asked["creationData"]["createOption"].as_str().unwrap_or_default();
    if !matches!(option, "Copy" | "CopyStart") {
        return Err(Refusal::invalid(
            "creationData.createOption",
            format!("Create option '{option}' is not served."),
        ));
    }
    let unknown = || Refusal::new(404, "NotFound", format!("Source resource {source} is not found."));
    let mut by_number = false;
    let (size_gib, from, family_id, sector) = if let Some(disk) = model.world.disks.get(&key(&source)) {
        by_number = tiers::family(&disk.sku).is_by_number();
        (disk.size_gib, disk.unique_id.clone(), disk.unique_id.clone(), disk.sector())
    } else {
        let origin = model.world.snapshots.get(&key(&source)).ok_or_else(unknown)?;
        let family = origin.family_id.clone().unwrap_or_else(|| origin.unique_id.clone());
        (origin.size_gib, origin.unique_id.clone(), family, origin.sector())
    };
    if by_number && !is_incremental {
        return Err(Refusal::invalid(
            "incremental",
            "Only incremental snapshots are supported for a disk of this SKU.",
        ));
    }
    let now = model.clock.now();
    let from_here =
        |snapshot: &&Snapshot| snapshot.source() == from && snapshot.copy.is_some_and(|copy| copy.1 > now);
    if by_number && model.world.snapshots.values().filter(from_here).count() >= MOST_COPIES {
        return Err(Refusal::not_allowed(format!(
            "The number of in-progress snapshots of disk {} is at its limit of {MOST_COPIES}.",
            name_of(&source)
        )));
    }
    creation.insert("sourceUniqueId".to_owned(), json!(from));
    if sector == 4096 {
        creation.insert("logicalSectorSize".to_owned(), json!(4096));
    }
    let mut snapshot = Snapshot {
        id: model.id(group, "Microsoft.Compute", "snapshots", name),
        location: model.location_in(&call.body),
        tags: None,
        sku: "Standard_LRS".to_owned(),
        is_incremental,
        creation,
        properties: Map::new(),
        size_gib,
        family_id: is_incremental.then_some(family_id),
        unique_id: model.guid(),
        created: model.clock.stamp(),
        state: Provisioning::Creating,
        copy: (by_number || option == "CopyStart")
            .then(|| (now, now + millis(model.latency.draw(Phase::Copy)))),
    };
    change(&mut snapshot, &call.body)?;
    for (name, default) in [("networkAccessPolicy", "AllowAll"), ("publicNetworkAccess", "Enabled")] {
        snapshot.properties.entry(name).or_insert(json!(default));
    }
    Ok((snapshot, from))
}

/// Takes what a body may change on a snapshot. Also used when the operation ends.
pub(crate) fn change(snapshot: &mut Snapshot, body: &Value) -> Result<(), Refusal> {
    if let Some(asked) = body["sku"]["name"].as_str() {
        let sku = SKUS.iter().find(|sku| sku.eq_ignore_ascii_case(asked));
        let sku = sku.ok_or_else(|| {
            Refusal::invalid("sku.name", format!("The value '{asked}' of parameter 'sku.name' is invalid."))
        })?;
        (*sku).clone_into(&mut snapshot.sku);
    }
    if body["tags"].is_object() {
        snapshot.tags = Some(body["tags"].clone());
    }
    for name in
        ["networkAccessPolicy", "publicNetworkAccess", "encryption", "diskAccessId", "dataAccessAuthMode"]
    {
        if !body["properties"][name].is_null() {
            snapshot.properties.insert(name.to_owned(), body["properties"][name].clone());
        }
    }
    Ok(())
}

impl Snapshot {
    /// Unique id of what it was taken from.
    pub(crate) fn source(&self) -> &str {
        self.creation.get("sourceUniqueId").and_then(Value::as_str).unwrap_or_default()
    }

    fn sector(&self) -> u32 {
        if self.creation.get("logicalSectorSize") == Some(&json!(4096)) { 4096 } else { 512 }
    }

    /// How much of the background copy is done at model time `now`.
    fn percent(&self, now: u64) -> Option<u64> {
        let (begun, ends) = self.copy?;
        if now >= ends {
            return Some(100);
        }
        Some((now.saturating_sub(begun)) * 100 / (ends - begun).max(1))
    }
}

/// A snapshot as GET shows it.
pub(crate) fn view(world: &World, snapshot: &Snapshot) -> Value {
    let mut properties = snapshot.properties.clone();
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    let state =
        if snapshot.state == Provisioning::Creating { Provisioning::Updating } else { snapshot.state };
    put("creationData", json!(snapshot.creation));
    put("diskSizeGB", json!(snapshot.size_gib));
    put("diskSizeBytes", json!(snapshot.size_gib << 30));
    put("incremental", json!(snapshot.is_incremental));
    put("timeCreated", json!(snapshot.created));
    put("provisioningState", json!(state.word()));
    put("uniqueId", json!(snapshot.unique_id));
    put("diskState", json!("Unattached"));
    put("encryption", json!({ "type": "EncryptionAtRestWithPlatformKey" }));
    let percent = snapshot.percent(world.clock);
    put("snapshotAccessState", json!(if percent.is_none_or(|p| p == 100) { "Available" } else { "Pending" }));
    if let Some(percent) = percent {
        put("completionPercent", json!(percent));
    }
    if let Some(family) = &snapshot.family_id {
        put("incrementalSnapshotFamilyId", json!(family));
    }
    let tier = if snapshot.sku.starts_with("Premium") { "Premium" } else { "Standard" };
    let mut view = json!({
        "name": name_of(&snapshot.id), "id": snapshot.id, "type": KIND, "location": snapshot.location,
        "sku": { "name": snapshot.sku, "tier": tier }, "properties": properties,
    });
    if let Some(tags) = &snapshot.tags {
        view["tags"] = tags.clone();
    }
    view
}
