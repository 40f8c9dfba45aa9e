//! Scale sets: a profile, a capacity, and so many VMs made from the profile.
//!
//! Instances are VMs like others (see [`crate::arm::vms`]); they appear when the set's operation ends. Those of a uniform
//! set are numbered resources below it. Those of a flexible set are VMs of their own that name the set, called
//! `SET_` and eight hexadecimal digits, with a computer name that is another; such a set may be without a profile, and
//! VMs may join it when they are made.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::arm::vm_body::{self, Guest};
use crate::arm::vms;
use crate::call::Call;
use crate::model::{Model, Outcome};
use crate::operation::{Effect, Provider};
use crate::power::Power;
use crate::refusal::Refusal;
use crate::shape::demand_body;
use crate::world::{Key, Provisioning, ScaleSet, Vm, World, group_of, key, name_of};

pub(crate) const KIND: &str = "Microsoft.Compute/virtualMachineScaleSets";

/// `…/virtualMachineScaleSets/N`.
pub(crate) fn one(model: &mut Model, call: &Call) -> Outcome {
    let (group, name) = (call.segment(3), call.segment(7));
    model.group(group)?;
    let key = key(&model.id(group, "Microsoft.Compute", "virtualMachineScaleSets", name));
    match call.method {
        Method::GET => {
            let set = model.world.sets.get(&key).ok_or_else(|| Refusal::no_resource(KIND, name, group))?;
            Ok(Answer::ok(view(set)).etag(set.etag).compute())
        }
        Method::PATCH if !model.world.sets.contains_key(&key) => Err(Refusal::no_resource(KIND, name, group)),
        Method::PUT | Method::PATCH => put(model, call, &key),
        Method::DELETE => {
            let Some(set) = model.world.sets.get_mut(&key) else {
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            };
            set.state = Provisioning::Deleting;
            let location = set.location.clone();
            let operation = model.accept(call, Provider::Compute, &location, Effect::DeleteSet(key));
            let answer = Answer::empty(StatusCode::ACCEPTED).compute().handled(call, &location).charged();
            Ok(operation.announce(call, answer))
        }
        _ => Err(Refusal::no_method(call.method.as_str(), &call.path)),
    }
}

/// The scale sets of the subscription or of one group.
pub(crate) fn list(model: &mut Model, call: &Call) -> Outcome {
    let prefix = model.scope(call)?;
    let sets = model.world.sets.iter().filter(|(key, _)| key.starts_with(&prefix));
    let sets: Vec<Value> = sets.map(|(_, set)| view(set)).collect();
    let request = model.guid();
    Ok(Answer::list(sets).compute().gathered(&request))
}

fn put(model: &mut Model, call: &Call, key: &Key) -> Outcome {
    demand_body(call)?;
    let old = model.world.sets.get(key).cloned();
    vms::check_etag(call, old.as_ref().map(|set| set.etag))?;
    let existed = old.is_some();
    let mut set = match old {
        Some(set) => ScaleSet { state: Provisioning::Updating, etag: set.etag + 1, ..set },
        None => draft(model, call)?,
    };
    if let Some(capacity) = call.body["sku"]["capacity"].as_u64() {
        if set.sku.is_empty() {
            let text = format!("Scale set '{}' has no profile to make VMs from.", name_of(&set.id));
            return Err(Refusal::invalid("sku.capacity", text));
        }
        set.capacity = capacity;
    }
    if call.body["tags"].is_object() {
        set.tags = Some(call.body["tags"].clone());
    }
    let (body, location, etag) = (view(&set), set.location.clone(), set.etag);
    model.world.sets.insert(key.clone(), set);
    let operation = model.accept(call, Provider::Compute, &location, Effect::ApplySet(key.clone()));
    let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
    let answer = Answer::json(status, body).etag(etag).compute().handled(call, &location).charged();
    Ok(operation.announce(call, answer))
}

fn draft(model: &mut Model, call: &Call) -> Result<ScaleSet, Refusal> {
    let body = &call.body;
    let asked = &body["properties"];
    let is_flexible = match asked["orchestrationMode"].as_str() {
        None | Some("Uniform") => false,
        Some("Flexible") => true,
        Some(other) => {
            let text = format!("The value '{other}' of parameter 'orchestrationMode' is invalid.");
            return Err(Refusal::invalid("orchestrationMode", text));
        }
    };
    let has_profile = asked["virtualMachineProfile"].is_object();
    let size = match body["sku"]["name"].as_str() {
        None if is_flexible && !has_profile => String::new(),
        asked => vm_body::known_size(asked.unwrap_or_default())?,
    };
    let mut properties: Map<String, Value> = asked.as_object().cloned().unwrap_or_default();
    let mut fill = |name: &str, value: Value| {
        properties.entry(name).or_insert(value);
    };
    fill("singlePlacementGroup", json!(!is_flexible));
    fill("orchestrationMode", json!("Uniform"));
    fill("platformFaultDomainCount", json!(if is_flexible { 1 } else { 5 }));
    if !is_flexible {
        fill("overprovision", json!(true));
        fill("doNotRunExtensionsOnOverprovisionedVMs", json!(false));
    }
    if let Some(policy) = properties
        .get_mut("upgradePolicy")
        .and_then(|p| p.get_mut("automaticOSUpgradePolicy")?.as_object_mut())
    {
        policy.entry("useRollingUpgradePolicy").or_insert(json!(false));
    }
    let created = model.clock.stamp();
    if has_profile || !is_flexible {
        let profile = profile(&asked["virtualMachineProfile"], &created);
        properties.insert("virtualMachineProfile".to_owned(), profile);
    }
    Ok(ScaleSet {
        id: model.id(call.segment(3), "Microsoft.Compute", "virtualMachineScaleSets", call.segment(7)),
        location: model.location_in(body),
        zones: vms::zones_in(body),
        tags: None,
        sku: size,
        capacity: 0,
        properties,
        unique_id: model.guid(),
        created,
        etag: 1,
        state: Provisioning::Creating,
        next: 0,
    })
}

/// `virtualMachineProfile` with what Azure adds.
fn profile(asked: &Value, created: &str) -> Value {
    let guest = Guest::of(&asked["storageProfile"]);
    let mut storage = guest.storage_profile(&asked["storageProfile"], "", "Premium_LRS", "None");
    if let Some(disk) = storage.get_mut("osDisk").and_then(Value::as_object_mut) {
        disk.remove("name");
    }
    let mut profile = asked.clone();
    profile["storageProfile"] = Value::Object(storage);
    profile["osProfile"] = guest.os_profile(&asked["osProfile"], false);
    profile["timeCreated"] = json!(created);
    let interfaces =
        profile.pointer_mut("/networkProfile/networkInterfaceConfigurations").and_then(Value::as_array_mut);
    for interface in interfaces.into_iter().flatten() {
        let properties = &mut interface["properties"];
        for (name, value) in [
            ("enableAcceleratedNetworking", json!(false)),
            ("disableTcpStateTracking", json!(false)),
            ("dnsSettings", json!({ "dnsServers": [] })),
        ] {
            if properties[name].is_null() {
                properties[name] = value;
            }
        }
        for address in
            properties.get_mut("ipConfigurations").and_then(Value::as_array_mut).into_iter().flatten()
        {
            if address["properties"]["privateIPAddressVersion"].is_null() {
                address["properties"]["privateIPAddressVersion"] = json!("IPv4");
            }
        }
    }
    profile
}

fn view(set: &ScaleSet) -> Value {
    let mut properties = set.properties.clone();
    properties.insert("provisioningState".to_owned(), json!(set.state.word()));
    properties.insert("uniqueId".to_owned(), json!(set.unique_id));
    properties.insert("timeCreated".to_owned(), json!(set.created));
    let mut view = json!({
        "name": name_of(&set.id), "id": set.id, "type": KIND, "location": set.location,
        "etag": format!("\"{}\"", set.etag), "properties": properties,
    });
    if !set.sku.is_empty() {
        view["sku"] = json!({ "name": set.sku, "tier": "Standard", "capacity": set.capacity });
    }
    if let Some(tags) = &set.tags {
        view["tags"] = tags.clone();
    }
    if !set.zones.is_empty() {
        view["zones"] = json!(set.zones);
    }
    view
}

/// Counts a new VM to the flexible scale set that it names, or refuses it.
pub(crate) fn join(world: &mut World, vm: &Vm) -> Result<(), Refusal> {
    let Some(id) = vm.set() else { return Ok(()) };
    match world.sets.get_mut(&key(id)).filter(|set| set.is_flexible()) {
        Some(set) => {
            set.capacity += 1;
            Ok(())
        }
        None => Err(Refusal::invalid(
            "virtualMachineScaleSet.id",
            format!("There is no flexible scale set '{id}' for VM '{}'.", name_of(&vm.id)),
        )),
    }
}

/// Six digits of base 36, as Azure numbers the computers of a set.
fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(number % 36).unwrap_or_default()];
        number /= 36;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

impl Model {
    /// Makes or removes instances until the set has as many as its capacity says.
    pub(crate) fn apply_set(&mut self, set_key: &Key) -> Result<(), Refusal> {
        let Some(mut set) = self.world.sets.remove(set_key) else { return Ok(()) };
        let mut result = Ok(());
        let mut present: Vec<Key> = self.world.instances(&set.id).map(|vm| key(&vm.id)).collect();
        while (present.len() as u64) < set.capacity {
            let made = if set.is_flexible() { self.member_of(&set) } else { Ok(self.instance_of(&set)) };
            set.next += 1;
            match made.and_then(|vm| self.insert_vm(vm.clone()).map(|()| vm)) {
                Ok(vm) => present.push(key(&vm.id)),
                Err(refusal) => {
                    result = Err(refusal);
                    break;
                }
            }
        }
        while present.len() as u64 > set.capacity {
            if let Some(last) = present.pop() {
                self.delete_vm(&last);
            }
        }
        set.state = Provisioning::Succeeded;
        self.world.sets.insert(set_key.clone(), set);
        result
    }

    /// Removes a set and all its VMs.
    pub(crate) fn delete_set(&mut self, set_key: &Key) {
        let Some(set) = self.world.sets.remove(set_key) else { return };
        let vms: Vec<Key> = self.world.instances(&set.id).map(|vm| key(&vm.id)).collect();
        for vm in &vms {
            self.delete_vm(vm);
        }
    }

    /// A VM of a flexible set, as from a body.
    fn member_of(&mut self, set: &ScaleSet) -> Result<Vm, Refusal> {
        let suffix: String = self.guid().replace('-', "").chars().take(8).collect();
        let name = format!("{}_{suffix}", name_of(&set.id));
        let mut profile = set.properties.get("virtualMachineProfile").cloned().unwrap_or_default();
        if let Some(os) = profile.get_mut("osProfile").and_then(Value::as_object_mut) {
            let prefix = os.remove("computerNamePrefix");
            let prefix = prefix.as_ref().and_then(Value::as_str).unwrap_or(name_of(&set.id));
            let drawn = fastrand::Rng::with_seed(self.seed.wrapping_add(self.world.sequence)).u64(..);
            os.insert("computerName".to_owned(), json!(format!("{prefix}{}", base36(drawn).to_uppercase())));
        }
        profile["hardwareProfile"] = json!({ "vmSize": set.sku });
        let (size, mut properties) = vm_body::create(&name, &json!({ "properties": profile }))?;
        properties.insert("virtualMachineScaleSet".to_owned(), json!({ "id": set.id }));
        let zone = usize::try_from(set.next).unwrap_or_default().checked_rem(set.zones.len());
        Ok(Vm {
            id: self.id(group_of(&set.id), "Microsoft.Compute", "virtualMachines", &name),
            location: set.location.clone(),
            zones: zone.map(|index| set.zones[index].clone()).into_iter().collect(),
            tags: set.tags.clone(),
            size,
            properties,
            disks: Vec::new(),
            guid: self.guid(),
            created: self.clock.stamp(),
            etag: 1,
            state: Provisioning::Succeeded,
            running: None,
            power: Power::Running,
            wanted_power: Power::Running,
            switched: None,
            instance: None,
            addresses: Vec::new(),
        })
    }

    fn instance_of(&mut self, set: &ScaleSet) -> Vm {
        let (number, name) = (set.next, name_of(&set.id));
        let id = format!("{}/virtualMachines/{number}", set.id);
        let profile = set.properties.get("virtualMachineProfile").cloned().unwrap_or_default();
        let suffix = self.guid().replace('-', "");
        let mut storage: Map<String, Value> =
            profile["storageProfile"].as_object().cloned().unwrap_or_default();
        vm_body::resolve_image(&mut storage);
        if let Some(disk) = storage.get_mut("osDisk") {
            disk["name"] = json!(format!("{name}_{name}_{number}_OS__1_{suffix}"));
        }
        let mut os = profile["osProfile"].clone();
        let prefix = os["computerNamePrefix"].as_str().unwrap_or(name).to_owned();
        if let Some(os) = os.as_object_mut() {
            os.remove("computerNamePrefix");
            os.insert("computerName".to_owned(), json!(format!("{prefix}{}", base36(number))));
        }
        let interfaces = &profile["networkProfile"]["networkInterfaceConfigurations"];
        let nics: Vec<Value> = interfaces.as_array().into_iter().flatten()
            .map(|nic| json!({ "id": format!("{id}/networkInterfaces/{}", nic["name"].as_str().unwrap_or("nic")) }))
            .collect();
        let mut properties = Map::new();
        for (name, value) in [
            ("latestModelApplied", json!(true)),
            ("modelDefinitionApplied", json!("VirtualMachineScaleSet")),
            ("resilientVMDeletionStatus", json!("Disabled")),
            ("hardwareProfile", json!({ "vmSize": set.sku })),
            ("networkProfileConfiguration", json!({ "networkInterfaceConfigurations": interfaces })),
            ("networkProfile", json!({ "networkInterfaces": nics })),
            ("osProfile", os),
            ("storageProfile", Value::Object(storage)),
        ] {
            properties.insert(name.to_owned(), value);
        }
        let zone = usize::try_from(number).unwrap_or_default().checked_rem(set.zones.len());
        Vm {
            id,
            location: set.location.clone(),
            zones: zone.map(|index| set.zones[index].clone()).into_iter().collect(),
            tags: None,
            size: set.sku.clone(),
            properties,
            disks: Vec::new(),
            guid: self.guid(),
            created: self.clock.stamp(),
            etag: 1,
            state: Provisioning::Succeeded,
            running: None,
            power: Power::Running,
            wanted_power: Power::Running,
            switched: None,
            instance: Some(number),
            addresses: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computers_are_numbered_in_base_36_with_six_digits() {
        for (number, text) in
            [(0, "000000"), (10, "00000a"), (35, "00000z"), (36, "000010"), (46655, "000zzz")]
        {
            assert_eq!(base36(number), text);
        }
    }
}
