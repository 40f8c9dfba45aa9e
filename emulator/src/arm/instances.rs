//! The VMs of a uniform scale set: read, list, PUT, attach and detach, delete. There is no PATCH. Those of a flexible one
//! are listed here as well, and otherwise are VMs of their own.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::arm::{scale_sets, vms};
use crate::call::Call;
use crate::model::{Model, Outcome};
use crate::refusal::Refusal;
use crate::world::{Key, ScaleSet, Vm, key, name_of};

/// `…/virtualMachineScaleSets/S/virtualMachines/N`.
pub(crate) fn one(model: &mut Model, call: &Call) -> Outcome {
    let key = find(model, call)?;
    match call.method {
        Method::GET => {
            let vm = vms::find(model, call, &key)?;
            let mut body = vms::view(&model.world, vm);
            if call.query("$expand").is_some_and(|what| what.eq_ignore_ascii_case("instanceView")) {
                body["properties"]["instanceView"] = vms::instance_view(vm);
            }
            Ok(Answer::ok(body).etag(vm.etag).compute().handled(call, &vm.location).charged())
        }
        Method::PUT => Ok(vms::update(model, call, &key)?.charged()),
        Method::DELETE => {
            let location = vms::find(model, call, &key)?.location.clone();
            let operation = model.begin_delete_vm(call, &key, &location);
            let answer = Answer::empty(StatusCode::ACCEPTED).compute().handled(call, &location).charged();
            Ok(operation.announce(call, answer))
        }
        _ => Err(Refusal::no_method(call.method.as_str(), &call.path)),
    }
}

/// `…/virtualMachines`: all VMs of the set.
pub(crate) fn list(model: &mut Model, call: &Call) -> Outcome {
    let set = find_set(model, call)?;
    let wants_view = call.query("$expand").is_some_and(|what| what.eq_ignore_ascii_case("instanceView"));
    let show = |vm: &Vm| {
        let mut body = vms::view(&model.world, vm);
        if wants_view {
            body["properties"]["instanceView"] = vms::instance_view(vm);
        }
        body
    };
    let show = |vm: &Vm| match vm.instance {
        Some(_) => show(vm),
        None => flexible_view(show(vm)),
    };
    let vms: Vec<Value> = model.world.instances(&set).map(show).collect();
    let location = model.location.clone();
    Ok(Answer::list(vms).compute().handled(call, &location).charged())
}

/// `…/virtualMachines/N/instanceView` and the actions.
pub(crate) fn action(model: &mut Model, call: &Call) -> Outcome {
    let key = find(model, call)?;
    if call.lower[10] == "instanceview" {
        let vm = vms::find(model, call, &key)?;
        let mut body = vms::instance_view(vm);
        body["placementGroupId"] = json!(vm.guid);
        body["platformUpdateDomain"] = json!(0);
        body["platformFaultDomain"] = json!(0);
        return Ok(Answer::ok(body).compute().handled(call, &vm.location).charged());
    }
    let action = call.lower[10].clone();
    Ok(vms::act(model, call, &key, &action)?.charged())
}

/// The id of the set that the path names.
fn find_set(model: &Model, call: &Call) -> Result<String, Refusal> {
    let (group, name) = (call.segment(3), call.segment(7));
    model.group(group)?;
    let id = model.id(group, "Microsoft.Compute", "virtualMachineScaleSets", name);
    if model.world.sets.contains_key(&key(&id)) {
        return Ok(id);
    }
    if call.lower.len() > 9 {
        return Err(Refusal::no_parent(scale_sets::KIND, name));
    }
    Err(Refusal::no_resource(scale_sets::KIND, name, group))
}

/// A flexible set lists its VMs without their tags.
fn flexible_view(mut vm: Value) -> Value {
    vm["instanceId"] = vm["name"].clone();
    if let Some(members) = vm.as_object_mut() {
        members.remove("tags");
    }
    vm
}

fn find(model: &Model, call: &Call) -> Result<Key, Refusal> {
    let set = find_set(model, call)?;
    if model.world.sets.get(&key(&set)).is_some_and(ScaleSet::is_flexible) {
        return Err(Refusal::not_allowed(format!(
            "The VMs of scale set '{}' are not its instances, because it is flexible: use the API of virtual machines.",
            name_of(&set)
        )));
    }
    let number = call.segment(9);
    if number.parse::<u64>().is_err() {
        return Err(Refusal::invalid(
            "instanceId",
            "Virtual Machine Scale Set VM instanceId must be a number.",
        ));
    }
    let key = key(&format!("{set}/virtualMachines/{number}"));
    if model.world.vms.contains_key(&key) {
        return Ok(key);
    }
    Err(Refusal::invalid(
        "instanceIds",
        format!(
            "The provided instanceId {} is not an active Virtual Machine Scale Set VM instanceId.",
            name_of(&key)
        ),
    ))
}
