//! Managed disks: create or update, read, change, delete, list.
//!
//! Owner of the wire form of a disk. A disk is inserted when its creation is accepted and usable when that
//! operation ends; a change becomes visible only when its operation ends.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::arm::companions;
use crate::arm::disk_rules::{self, Holder};
use crate::call::Call;
use crate::model::{Model, Outcome};
use crate::operation::{Effect, Operation, Provider};
use crate::power::Power;
use crate::refusal::Refusal;
use crate::shape::demand_body;
use crate::tiers::{self, Family};
use crate::vm_sizes;
use crate::world::{Disk, Key, Provisioning, World, key, name_of};

const KIND: &str = "Microsoft.Compute/disks";

/// One disk: `/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/disks/N`.
pub(crate) fn one(model: &mut Model, call: &Call) -> Outcome {
    let (group, name) = (call.segment(3), call.segment(7));
    model.group(group)?;
    let key = key(&model.id(group, "Microsoft.Compute", "disks", name));
    match call.method {
        Method::PUT => put(model, call, &key),
        Method::DELETE => delete(model, call, &key),
        Method::GET => {
            let disk = model.world.disks.get(&key).ok_or_else(|| Refusal::no_resource(KIND, name, group))?;
            Ok(Answer::ok(view(&model.world, disk)))
        }
        Method::PATCH => patch(model, call, &key),
        _ => Err(Refusal::no_method(call.method.as_str(), &call.path)),
    }
}

/// The disks of the subscription, or of one group.
pub(crate) fn list(model: &mut Model, call: &Call) -> Outcome {
    let prefix = model.scope(call)?;
    let (after, most) = model.listing.window(call);
    let disks: Vec<Value> = model
        .world
        .disks
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after))
        .take(most)
        .map(|(_, disk)| view(&model.world, disk))
        .collect();
    let request = model.guid();
    Ok(Answer::list(disks).gathered(&request))
}

fn put(model: &mut Model, call: &Call, key: &Key) -> Outcome {
    demand_body(call)?;
    if let Some(old) = model.world.disks.get(key).cloned() {
        disk_rules::check_same_origin(&old, &call.body)?;
        let new = changed(&model.world, &old, &call.body)?;
        companions::check_disk(&model.world, &new)?;
        let mut echo = echo(&old.id, call, &old.location);
        echo["sku"] = sku(&new);
        echo["properties"]["diskSizeBytes"] = json!(new.bytes());
        return Ok(accept_change(model, call, key, &old, echo));
    }
    let disk = draft(model, call)?;
    companions::check_disk(&model.world, &disk)?;
    let echo = echo(&disk.id, call, &disk.location);
    let location = disk.location.clone();
    // A copy is of this moment, whatever is written to its source from now on.
    if let Some(source) = disk.creation.get("sourceUniqueId").and_then(Value::as_str) {
        let copied = model.copy_bytes(source, &disk.unique_id, disk.bytes());
        model.doom(copied);
    }
    model.world.disks.insert(key.clone(), disk);
    Ok(accept(model, call, &location, Effect::CreateDisk(key.clone()), echo))
}

fn patch(model: &mut Model, call: &Call, key: &Key) -> Outcome {
    let found = model.world.disks.get(key).cloned();
    let old = found.ok_or_else(|| Refusal::no_resource(KIND, call.segment(7), call.segment(3)))?;
    demand_body(call)?;
    let mut new = changed(&model.world, &old, &call.body)?;
    companions::check_disk(&model.world, &new)?;
    new.state = Provisioning::Updating;
    let echo = view(&model.world, &new);
    Ok(accept_change(model, call, key, &old, echo))
}

fn delete(model: &mut Model, call: &Call, key: &Key) -> Outcome {
    let Some(disk) = model.world.disks.get_mut(key) else {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    };
    if let Some(owner) = disk.owners.first() {
        return Err(Refusal::not_allowed(format!("Disk {} is attached to VM {owner}.", name_of(&disk.id))));
    }
    disk.state = Provisioning::Updating;
    let location = disk.location.clone();
    let operation = model.accept(call, Provider::Disk, &location, Effect::DeleteDisk(key.clone()));
    Ok(operation.announce(call, Answer::empty(StatusCode::ACCEPTED)).handled(call, &location))
}

fn accept_change(model: &mut Model, call: &Call, key: &Key, old: &Disk, echo: Value) -> Answer {
    if let Some(disk) = model.world.disks.get_mut(key) {
        disk.state = Provisioning::Updating;
    }
    accept(model, call, &old.location, Effect::ChangeDisk(key.clone(), call.body.clone()), echo)
}

fn accept(model: &mut Model, call: &Call, location: &str, effect: Effect, echo: Value) -> Answer {
    let operation = model.accept(call, Provider::Disk, location, effect);
    let answer = operation.announce(call, Answer::json(StatusCode::ACCEPTED, echo)).handled(call, location);
    answer.with("retry-after", model.retry_after(&operation).to_string())
}

/// The request as DiskRP echoes it while the operation runs.
fn echo(id: &str, call: &Call, location: &str) -> Value {
    let mut echo = json!({ "name": name_of(id), "id": id, "type": KIND, "location": location });
    for name in ["sku", "tags", "zones", "properties", "extendedLocation"] {
        if !call.body[name].is_null() {
            echo[name] = call.body[name].clone();
        }
    }
    if let Some(family) = echo["sku"]["name"].as_str().and_then(tiers::sku) {
        echo["sku"]["tier"] = json!(family.1);
    }
    echo["properties"]["provisioningState"] = json!(Provisioning::Updating.word());
    echo
}

/// The disk that a create body describes, or why there can't be one.
fn draft(model: &mut Model, call: &Call) -> Result<Disk, Refusal> {
    let (group, name) = (call.segment(3), call.segment(7));
    if name.len() > 80 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        return Err(Refusal::new(400, "InvalidParameter", format!("The disk name '{name}' is invalid."))
            .target("disk.name"));
    }
    let body = &call.body;
    let creation: Map<String, Value> =
        body["properties"]["creationData"].as_object().cloned().unwrap_or_default();
    let zones = body["zones"].as_array().into_iter().flatten();
    let mut disk = Disk {
        id: model.id(group, "Microsoft.Compute", "disks", name),
        location: model.location_in(body),
        zones: zones.filter_map(|zone| zone.as_str().map(str::to_owned)).collect(),
        tags: None,
        sku: "Standard_LRS".to_owned(),
        size_gib: 0,
        iops: None,
        mbps: None,
        max_shares: 1,
        tier: None,
        creation,
        properties: Map::new(),
        unique_id: model.guid(),
        created: model.clock.stamp(),
        state: Provisioning::Creating,
        owners: Vec::new(),
        moved: None,
    };
    disk_rules::merge(&mut disk, body)?;
    take_origin(&model.world, &mut disk)?;
    disk_rules::fill_defaults(&mut disk);
    disk_rules::check(&disk)?;
    Ok(disk)
}

/// Size, sector and identity of what the disk is copied from.
fn take_origin(world: &World, disk: &mut Disk) -> Result<(), Refusal> {
    match disk.creation.get("createOption").and_then(Value::as_str).unwrap_or_default() {
        "Empty" if disk.size_gib > 0 => Ok(()),
        "Empty" => {
            Err(Refusal::invalid("diskSizeGB", "Required parameter 'disk.diskSizeGB' is missing (null)."))
        }
        "Copy" => {
            let source =
                disk.creation.get("sourceResourceId").and_then(Value::as_str).unwrap_or_default().to_owned();
            let origin = Origin::find(world, &source)?;
            if disk.size_gib == 0 {
                disk.size_gib = origin.size_gib;
            }
            if disk.size_gib < origin.size_gib {
                return Err(Refusal::invalid(
                    "diskSizeGB",
                    format!(
                        "The size {} GiB is smaller than the source's {} GiB.",
                        disk.size_gib, origin.size_gib
                    ),
                ));
            }
            let by_number = tiers::family(&disk.sku).is_by_number();
            if origin.sector == 4096 && !by_number {
                return Err(Refusal::invalid(
                    "sku.name",
                    format!(
                        "A source with logical sector size 4096 cannot become a disk of SKU '{}'.",
                        disk.sku
                    ),
                ));
            }
            if by_number && origin.is_full_snapshot {
                return Err(Refusal::invalid(
                    "sku.name",
                    format!("A full snapshot cannot become a disk of SKU '{}'.", disk.sku),
                ));
            }
            disk.creation.insert("sourceUniqueId".to_owned(), json!(origin.unique_id));
            if origin.sector == 4096 || by_number {
                disk.creation.entry("logicalSectorSize").or_insert(json!(origin.sector));
            }
            Ok(())
        }
        other => Err(Refusal::invalid(
            "creationData.createOption",
            format!("Create option '{other}' is not served."),
        )),
    }
}

/// What a disk is copied from.
struct Origin {
    unique_id: String,
    size_gib: u64,
    sector: u32,
    is_full_snapshot: bool,
}

impl Origin {
    fn find(world: &World, source: &str) -> Result<Self, Refusal> {
        let id = key(source);
        if let Some(disk) = world.disks.get(&id) {
            let (unique_id, size_gib) = (disk.unique_id.clone(), disk.size_gib);
            return Ok(Self { unique_id, size_gib, sector: disk.sector(), is_full_snapshot: false });
        }
        let found = world.snapshots.get(&id);
        let snapshot = found.ok_or_else(|| {
            Refusal::new(404, "NotFound", format!("Source resource {source} is not found."))
        })?;
        if snapshot.state != Provisioning::Succeeded
            || snapshot.copy.is_some_and(|(_, ends)| ends > world.clock)
        {
            return Err(Refusal::not_allowed(format!(
                "Snapshot {} cannot be used as a source before its copy is complete.",
                name_of(source)
            )));
        }
        let sector = snapshot.creation.get("logicalSectorSize").and_then(Value::as_u64);
        Ok(Self {
            unique_id: snapshot.unique_id.clone(),
            size_gib: snapshot.size_gib,
            sector: if sector == Some(4096) { 4096 } else { 512 },
            is_full_snapshot: !snapshot.is_incremental,
        })
    }
}

/// `disk` after `body`, if the rules allow the step. Also used when the operation ends.
pub(crate) fn changed(world: &World, disk: &Disk, body: &Value) -> Result<Disk, Refusal> {
    let mut new = disk.clone();
    disk_rules::merge(&mut new, body)?;
    if tiers::family(&disk.sku) != Family::PremiumV2 && tiers::family(&new.sku) == Family::PremiumV2 {
        new.creation.insert("logicalSectorSize".to_owned(), json!(512));
    }
    disk_rules::fill_defaults(&mut new);
    disk_rules::check(&new)?;
    let holders: Vec<Holder> = disk.owners.iter().filter_map(|owner| holder(world, owner)).collect();
    disk_rules::check_change(disk, &new, &holders)?;
    Ok(new)
}

fn holder(world: &World, owner: &str) -> Option<Holder> {
    let vm = world.vms.get(&key(owner))?;
    Some(Holder {
        vm: vm.id.clone(),
        size: vm_sizes::find(&vm.size),
        is_deallocated: vm.power == Power::Deallocated,
    })
}

fn sku(disk: &Disk) -> Value {
    let tier = tiers::sku(&disk.sku).map_or("Standard", |found| found.1);
    json!({ "name": disk.sku, "tier": tier })
}

/// A disk as GET shows it.
pub(crate) fn view(world: &World, disk: &Disk) -> Value {
    let family = tiers::family(&disk.sku);
    let mut properties = disk.properties.clone();
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    put("creationData", Value::Object(disk.creation.clone()));
    put("diskSizeGB", json!(disk.size_gib));
    put("provisioningState", json!(disk.state.word()));
    let (iops, mbps) = match (disk.iops, disk.mbps, family.tier(disk.size_gib)) {
        (Some(iops), Some(mbps), _) => (iops, mbps),
        (_, _, Some(tier)) => {
            if family == Family::Premium {
                put("tier", json!(disk.tier.clone().unwrap_or_else(|| format!("P{}", tier.number))));
            }
            raised(family, disk.tier.as_deref()).unwrap_or((tier.iops, tier.mbps))
        }
        _ => (0, 0),
    };
    put("diskIOPSReadWrite", json!(iops));
    put("diskMBpsReadWrite", json!(mbps));
    put("timeCreated", json!(disk.created));
    put("diskSizeBytes", json!(disk.bytes()));
    put("uniqueId", json!(disk.unique_id));
    if disk.state == Provisioning::Creating {
        put("provisioningState", json!(Provisioning::Updating.word()));
    } else {
        put("diskState", json!(disk_state(world, disk)));
    }
    if let Some(moved) = &disk.moved {
        put("LastOwnershipUpdateTime", json!(moved));
    }
    if disk.max_shares > 1 {
        put("maxShares", json!(disk.max_shares));
        put("shareInfo", disk.owners.iter().map(|owner| json!({ "vmUri": owner })).collect());
    }
    let mut view = json!({
        "name": name_of(&disk.id), "id": disk.id, "type": KIND, "location": disk.location,
    });
    view["sku"] = sku(disk);
    view["properties"] = Value::Object(properties);
    if let Some(tags) = &disk.tags {
        view["tags"] = tags.clone();
    }
    if !disk.zones.is_empty() {
        view["zones"] = json!(disk.zones);
    }
    if let Some(owner) = disk.owners.first() {
        view["managedBy"] = json!(owner);
    }
    if disk.max_shares > 1 && !disk.owners.is_empty() {
        view["managedByExtended"] = json!(disk.owners);
    }
    view
}

fn raised(family: Family, tier: Option<&str>) -> Option<(u64, u64)> {
    let number: u32 = tier?.strip_prefix('P')?.parse().ok()?;
    family.tiers().into_iter().find(|row| row.number == number).map(|row| (row.iops, row.mbps))
}

fn disk_state(world: &World, disk: &Disk) -> &'static str {
    let mut holders = disk.owners.iter().filter_map(|owner| holder(world, owner)).peekable();
    if disk.owners.is_empty() {
        "Unattached"
    } else if holders.peek().is_some() && holders.all(|holder| holder.is_deallocated) {
        "Reserved"
    } else {
        "Attached"
    }
}

impl Model {
    /// Seconds to wait before the first poll: DiskRP advises 2, never more than the operation takes here.
    pub(crate) fn retry_after(&self, operation: &Operation) -> u64 {
        (operation.due.saturating_sub(self.clock.now()) / 1000).min(2)
    }
}
