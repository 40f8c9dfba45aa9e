//! Virtual machines, of their own and of scale sets: whole-VM PUT and PATCH, the delta attach call, read, delete.
//!
//! A VM has one goal: the list of data disks in its model. Every write replaces the goal at accept, preempts the
//! operation that was bringing the older goal about, and starts one that brings about the new one.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::arm::{attach, scale_sets, vm_body};
use crate::call::Call;
use crate::fate::Change;
use crate::model::{Model, Outcome};
use crate::operation::{Effect, Operation, Provider, Stage};
use crate::power::{self, Power};
use crate::refusal::Refusal;
use crate::shape::demand_body;
use crate::world::{DataDisk, Key, Provisioning, Vm, World, group_of, key, name_of};

const KIND: &str = "Microsoft.Compute/virtualMachines";
const INSTANCE_KIND: &str = "Microsoft.Compute/virtualMachineScaleSets/virtualMachines";

/// `…/virtualMachines/N`.
pub(crate) fn one(model: &mut Model, call: &Call) -> Outcome {
    model.group(call.segment(3))?;
    let key = key(&model.id(call.segment(3), "Microsoft.Compute", "virtualMachines", call.segment(7)));
    match call.method {
        Method::GET => {
            let vm = find(model, call, &key)?;
            let mut body = view(&model.world, vm);
            if call.query("$expand").is_some_and(|what| what.eq_ignore_ascii_case("instanceView")) {
                body["properties"]["instanceView"] = instance_view(vm);
            }
            Ok(Answer::ok(body).etag(vm.etag).compute())
        }
        Method::PUT => put(model, call, &key),
        Method::PATCH => {
            find(model, call, &key)?;
            update(model, call, &key)
        }
        Method::DELETE => Ok(delete(model, call, &key)),
        _ => Err(Refusal::no_method(call.method.as_str(), &call.path)),
    }
}

/// The VMs of the subscription or of one group.
pub(crate) fn list(model: &mut Model, call: &Call) -> Outcome {
    let prefix = model.scope(call)?;
    let wants_view = call.query("$expand").is_some_and(|what| what.eq_ignore_ascii_case("instanceView"));
    // The only filter there is, `'virtualMachineScaleSet/id' eq 'ID'`: the VMs of a flexible scale set.
    let asked = call.query("$filter").map(|filter| key(filter.split('\'').nth(3).unwrap_or_default()));
    let is_asked_for = |vm: &Vm| match (&asked, vm.set()) {
        (None, _) => true,
        (Some(asked), set) => set.is_some_and(|set| key(set) == *asked),
    };
    let vms = model
        .world
        .vms
        .iter()
        .filter(|(key, vm)| vm.instance.is_none() && key.starts_with(&prefix) && is_asked_for(vm));
    let vms: Vec<Value> = vms
        .map(|(_, vm)| {
            let mut body = view(&model.world, vm);
            if wants_view {
                body["properties"]["instanceView"] = instance_view(vm);
            }
            body
        })
        .collect();
    if vms.is_empty() {
        return Ok(Answer::list(vms));
    }
    let request = model.guid();
    Ok(Answer::list(vms).compute().gathered(&request))
}

/// `…/virtualMachines/N/instanceView`.
pub(crate) fn instance(model: &mut Model, call: &Call) -> Outcome {
    model.group(call.segment(3))?;
    let key = key(&model.id(call.segment(3), "Microsoft.Compute", "virtualMachines", call.segment(7)));
    let vm = find(model, call, &key)?;
    Ok(Answer::ok(instance_view(vm)).compute())
}

/// `…/virtualMachines/N/{action}`.
pub(crate) fn action(model: &mut Model, call: &Call) -> Outcome {
    model.group(call.segment(3))?;
    let key = key(&model.id(call.segment(3), "Microsoft.Compute", "virtualMachines", call.segment(7)));
    find(model, call, &key)?;
    act(model, call, &key, &call.lower[8])
}

/// An action on a VM of either kind.
pub(crate) fn act(model: &mut Model, call: &Call, key: &Key, action: &str) -> Outcome {
    let Some(vm) = model.world.vms.get(key) else { return Err(Refusal::no_route(&call.path)) };
    refuse_when_leaving(vm, action)?;
    match action {
        "attachdetachdatadisks" => {
            demand_body(call)?;
            let goal = attach::delta(&model.world, vm, &call.body)?;
            model.check_sharing(vm, &goal)?;
            let (vm, operation) = model.write_vm(call, key, |vm| vm.disks = goal)?;
            let body = storage_view(&model.world, &vm);
            let answer = Answer::ok(body).etag(vm.etag).compute().handled(call, &vm.location);
            Ok(operation.announce(call, answer))
        }
        "deallocate" | "start" | "poweroff" | "reapply" | "redeploy" | "restart" => {
            let power = power::wanted(vm, action)?;
            let (vm, operation) = model.write_vm(call, key, |vm| vm.wanted_power = power)?;
            let answer = Answer::empty(StatusCode::ACCEPTED).compute().handled(call, &vm.location);
            Ok(operation.announce(call, answer))
        }
        _ => Err(Refusal::no_route(&call.path)),
    }
}

/// The VM a call names.
pub(crate) fn find<'a>(model: &'a Model, call: &Call, key: &Key) -> Result<&'a Vm, Refusal> {
    model.world.vms.get(key).ok_or_else(|| Refusal::no_resource(KIND, call.segment(7), call.segment(3)))
}

/// The two conditional headers.
pub(crate) fn check_etag(call: &Call, etag: Option<u64>) -> Result<(), Refusal> {
    let bare = |text: &str| text.trim().trim_matches('"').to_owned();
    if let (Some("*"), Some(etag)) = (call.header("if-none-match").map(str::trim), etag) {
        return Err(Refusal::wrong_etag("*", etag));
    }
    match (call.header("if-match").map(bare), etag) {
        (Some(given), Some(etag)) if given != "*" && given != etag.to_string() => {
            Err(Refusal::wrong_etag(&given, etag))
        }
        (Some(given), None) => Err(Refusal::wrong_etag(&given, 0)),
        _ => Ok(()),
    }
}

fn put(model: &mut Model, call: &Call, key: &Key) -> Outcome {
    demand_body(call)?;
    if model.world.vms.contains_key(key) {
        return update(model, call, key);
    }
    check_etag(call, None)?;
    let (group, name) = (call.segment(3), call.segment(7));
    let (size, properties) = vm_body::create(name, &call.body)?;
    let mut vm = Vm {
        id: model.id(group, "Microsoft.Compute", "virtualMachines", name),
        location: model.location_in(&call.body),
        zones: zones_in(&call.body),
        tags: call.body["tags"].is_object().then(|| call.body["tags"].clone()),
        size,
        properties,
        disks: Vec::new(),
        guid: model.guid(),
        created: model.clock.stamp(),
        etag: 0,
        state: Provisioning::Creating,
        running: None,
        power: Power::Running,
        wanted_power: Power::Running,
        switched: None,
        instance: None,
        addresses: Vec::new(),
    };
    if let Some(list) = call.body["properties"]["storageProfile"]["dataDisks"].as_array() {
        let goal = attach::listed(&model.world, &vm, list)?;
        model.check_sharing(&vm, &goal)?;
        vm.disks = goal;
    }
    scale_sets::join(&mut model.world, &vm)?;
    model.world.vms.insert(key.clone(), vm);
    let (vm, operation) = model.write_vm(call, key, |_| {})?;
    let body = view(&model.world, &vm);
    let answer = Answer::json(StatusCode::CREATED, body).etag(vm.etag).compute().handled(call, &vm.location);
    Ok(operation.announce(call, answer))
}

/// PUT or PATCH of a VM that exists.
pub(crate) fn update(model: &mut Model, call: &Call, key: &Key) -> Outcome {
    demand_body(call)?;
    let Some(old) = model.world.vms.get(key) else { return Err(Refusal::no_route(&call.path)) };
    check_etag(call, Some(old.etag))?;
    refuse_when_leaving(old, "Update VM")?;
    let mut new = old.clone();
    vm_body::update(&mut new, &call.body)?;
    if let Some(list) = call.body["properties"]["storageProfile"]["dataDisks"].as_array() {
        new.disks = attach::listed(&model.world, &new, list)?;
        model.check_sharing(old, &new.disks)?;
    }
    let is_settled = old.state == Provisioning::Succeeded
        && old.disks.iter().all(|disk| disk.is_attached && !disk.to_be_detached);
    let is_same = new.disks == old.disks
        && new.size == old.size
        && new.tags == old.tags
        && new.properties == old.properties;
    if is_settled && is_same && old.instance.is_none() {
        new.etag += 1;
        model.world.vms.insert(key.clone(), new.clone());
        model.is_dirty = true;
        // Azure says Updating and names no operation.
        new.state = Provisioning::Updating;
        let body = view(&model.world, &new);
        return Ok(Answer::ok(body).etag(new.etag).compute().handled(call, &new.location));
    }
    let (vm, operation) = model.write_vm(call, key, |vm| *vm = new)?;
    let body = view(&model.world, &vm);
    let answer = Answer::ok(body).etag(vm.etag).compute().handled(call, &vm.location);
    Ok(operation.announce(call, answer))
}

fn delete(model: &mut Model, call: &Call, key: &Key) -> Answer {
    let Some(vm) = model.world.vms.get(key) else { return Answer::empty(StatusCode::NO_CONTENT) };
    let location = vm.location.clone();
    let operation = model.begin_delete_vm(call, key, &location);
    operation.announce(call, Answer::empty(StatusCode::ACCEPTED).compute().handled(call, &location))
}

fn refuse_when_leaving(vm: &Vm, operation: &str) -> Result<(), Refusal> {
    if vm.state != Provisioning::Deleting {
        return Ok(());
    }
    Err(Refusal::not_allowed(format!(
        "Operation '{operation}' is not allowed on VM '{}' since the VM is marked for deletion. You can only retry the Delete operation (or wait for an ongoing one to complete).",
        name_of(&vm.id)
    )))
}

/// Zones of a body.
pub(crate) fn zones_in(body: &Value) -> Vec<String> {
    let zones = body["zones"].as_array().into_iter().flatten();
    zones.filter_map(|zone| zone.as_str().map(str::to_owned)).collect()
}

impl Model {
    /// Writes a VM's goal and starts the operation that brings it about.
    pub(crate) fn write_vm(
        &mut self,
        call: &Call,
        key: &Key,
        change: impl FnOnce(&mut Vm),
    ) -> Result<(Vm, Operation), Refusal> {
        if let Some(vm) = self.world.vms.get(key) {
            self.check_race(vm)?;
        }
        let Some(vm) = self.world.vms.get_mut(key) else { return Err(Refusal::no_route(&call.path)) };
        let (before, power) = (vm.disks.clone(), vm.wanted_power);
        change(vm);
        let change = Change::between(&before, power, vm);
        if vm.state != Provisioning::Creating {
            vm.state = Provisioning::Updating;
        }
        // A scale set's VM keeps its etag when only its tags change.
        if vm.instance.is_none() || vm.disks != before {
            vm.etag += 1;
        }
        let location = vm.location.clone();
        let preempted = vm.running.take();
        self.preempt(preempted);
        let operation = self.accept(call, Provider::Compute, &location, Effect::ApplyVm(key.clone()));
        if let Some(operation) = self.world.operations.get_mut(&operation.id) {
            operation.change = change;
        }
        let Some(vm) = self.world.vms.get_mut(key) else { return Err(Refusal::no_route(&call.path)) };
        vm.running = Some(operation.id.clone());
        Ok((vm.clone(), operation))
    }

    /// Marks a VM for deletion.
    pub(crate) fn begin_delete_vm(&mut self, call: &Call, key: &Key, location: &str) -> Operation {
        let preempted = self.world.vms.get_mut(key).and_then(|vm| {
            vm.state = Provisioning::Deleting;
            vm.running.take()
        });
        self.preempt(preempted);
        self.accept(call, Provider::Compute, location, Effect::DeleteVm(key.clone()))
    }

    fn preempt(&mut self, operation: Option<String>) {
        let now = self.clock.stamp();
        let found = operation.and_then(|id| self.world.operations.get_mut(&id));
        if let Some(operation) = found.filter(|operation| operation.is_running()) {
            operation.stage = Stage::preempted();
            operation.ended = Some(now);
        }
    }
}

/// A VM as GET shows it. Most of what a driver reads is this, so nothing in it is copied twice.
pub(crate) fn view(world: &World, vm: &Vm) -> Value {
    let own = vm.properties.iter().filter(|(name, _)| *name != "storageProfile");
    let mut properties: Map<String, Value> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    properties.insert("provisioningState".to_owned(), vm.state.word().into());
    properties.insert("vmId".to_owned(), vm.guid.as_str().into());
    properties.insert("timeCreated".to_owned(), vm.created.as_str().into());
    properties.insert("storageProfile".to_owned(), storage_view(world, vm));
    let mut view = json!({
        "name": name_of(&vm.id), "id": vm.id, "type": KIND, "location": vm.location,
        "etag": format!("\"{}\"", vm.etag),
    });
    view["properties"] = Value::Object(properties);
    if let Some(number) = vm.instance {
        let set = vm.id.split('/').nth(8).unwrap_or_default();
        view["name"] = json!(format!("{set}_{number}"));
        view["type"] = json!(INSTANCE_KIND);
        view["instanceId"] = json!(number.to_string());
        view["sku"] = json!({ "name": vm.size, "tier": "Standard" });
    }
    // The real service takes an instance's tags and does not show them.
    if let Some(tags) = vm.tags.as_ref().filter(|_| vm.instance.is_none()) {
        view["tags"] = tags.clone();
    }
    if !vm.zones.is_empty() {
        view["zones"] = json!(vm.zones);
    }
    view
}

/// `storageProfile` with the data disks of the goal.
pub(crate) fn storage_view(world: &World, vm: &Vm) -> Value {
    let mut storage = vm.properties.get("storageProfile").cloned().unwrap_or_else(|| json!({}));
    storage["dataDisks"] = vm.disks.iter().map(|entry| data_disk_view(world, entry)).collect();
    let has_os_disk = vm.state != Provisioning::Creating && storage["osDisk"]["diffDiskSettings"].is_null();
    if let Some(name) = storage["osDisk"]["name"].as_str().filter(|_| has_os_disk) {
        let subscription = vm.id.split('/').nth(2).unwrap_or_default();
        let group = group_of(&vm.id);
        storage["osDisk"]["managedDisk"]["id"] = json!(format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/disks/{name}"
        ));
    }
    storage
}

fn data_disk_view(world: &World, entry: &DataDisk) -> Value {
    let mut managed = Map::new();
    managed.insert("id".to_owned(), json!(entry.disk));
    if let Some(set) = &entry.encryption_set {
        managed.insert("diskEncryptionSet".to_owned(), set.clone());
    }
    let mut view = json!({
        "lun": entry.lun, "name": entry.name, "createOption": "Attach", "caching": entry.caching,
        "writeAcceleratorEnabled": entry.has_write_accelerator, "deleteOption": entry.delete_option,
        "toBeDetached": entry.to_be_detached,
    });
    if let Some(disk) = world.disks.get(&key(&entry.disk)) {
        managed.insert("storageAccountType".to_owned(), json!(disk.sku));
        view["diskSizeGB"] = json!(disk.size_gib);
    }
    if let Some(option) = &entry.detach_option {
        view["detachOption"] = json!(option);
    }
    view["managedDisk"] = Value::Object(managed);
    view
}

/// What runs on the machine now.
pub(crate) fn instance_view(vm: &Vm) -> Value {
    let since = vm.switched.as_ref().unwrap_or(&vm.created);
    let done = |what: &str| json!({ "code": what, "level": "Info", "displayStatus": "Provisioning succeeded", "time": since });
    let names = vm.disks.iter().filter(|entry| entry.is_attached).map(|entry| entry.name.as_str());
    let os_disk = vm.properties.get("storageProfile").and_then(|storage| storage["osDisk"]["name"].as_str());
    let disks: Vec<Value> = os_disk
        .into_iter()
        .chain(names)
        .map(|name| json!({ "name": name, "statuses": [done("ProvisioningState/succeeded")] }))
        .collect();
    let mut view = json!({
        "osName": "emulated",
        "osVersion": "1",
        "vmAgent": { "vmAgentVersion": "2.7", "statuses": [{
            "code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Ready",
            "message": "GuestAgent is running and processing the extensions.", "time": since,
        }] },
        "computerName": vm.properties.get("osProfile").map_or(Value::Null, |profile| profile["computerName"].clone()),
        "hyperVGeneration": "V2",
        "disks": disks,
        "statuses": [
            done(&format!("ProvisioningState/{}", vm.state.word().to_lowercase())),
            vm.power.status(),
        ],
    });
    if !vm.power.is_on() {
        // Its agent and its operating system tell nothing.
        for silent in ["osName", "osVersion", "vmAgent", "computerName"] {
            if let Some(members) = view.as_object_mut() {
                members.remove(silent);
            }
        }
    }
    view
}
