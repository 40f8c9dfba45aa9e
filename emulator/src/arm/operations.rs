//! Polling of long-running operations, by `Azure-AsyncOperation` and by `Location`.

use http::StatusCode;
use serde_json::Value;

use crate::answer::Answer;
use crate::arm::{disks, vms};
use crate::call::Call;
use crate::model::{Model, Outcome};
use crate::operation::{Effect, Operation, Provider, Stage, id_of_token};
use crate::refusal::Refusal;

/// `/subscriptions/S/providers/P/locations/L/{operations,DiskOperations}/ID`.
pub(crate) fn one(model: &mut Model, call: &Call) -> Outcome {
    let id = &call.lower[7];
    let found = model.world.operations.get(id);
    let operation = found
        .filter(|operation| (operation.provider == Provider::Disk) == (call.lower[6] == "diskoperations"))
        .ok_or_else(|| Refusal::new(404, "NotFound", format!("The operation '{id}' was not found.")))?;
    let answer = if call.query("monitor") == Some("true") {
        result(model, operation)
    } else {
        Answer::ok(operation.poll())
    };
    let answer = answer.handled(call, call.segment(5));
    Ok(if operation.provider == Provider::Compute { answer.compute() } else { answer })
}

/// `/subscriptions/S/operationresults/TOKEN`: a group's deletion.
pub(crate) fn group_result(model: &mut Model, call: &Call) -> Outcome {
    let found = id_of_token(call.segment(3)).and_then(|id| model.world.operations.get(&id));
    let operation = found.ok_or_else(|| Refusal::new(404, "NotFound", "The operation was not found."))?;
    Ok(result(model, operation))
}

/// What `Location` shows: 202 until the end, then the resource, or nothing after a deletion.
fn result(model: &Model, operation: &Operation) -> Answer {
    match &operation.stage {
        Stage::Running => Answer::empty(StatusCode::ACCEPTED),
        Stage::Failed { code, message } | Stage::Canceled { code, message } => {
            Refusal::new(409, code, message.as_str()).answer()
        }
        Stage::Succeeded => {
            resource(model, operation).map_or_else(|| Answer::empty(StatusCode::OK), Answer::ok)
        }
    }
}

fn resource(model: &Model, operation: &Operation) -> Option<Value> {
    let world = &model.world;
    match &operation.effect {
        Effect::CreateDisk(key) | Effect::ChangeDisk(key, _) => {
            world.disks.get(key).map(|disk| disks::view(world, disk))
        }
        Effect::ApplyVm(key) => world.vms.get(key).map(|vm| vms::view(world, vm)),
        _ => operation.output.clone(),
    }
}
