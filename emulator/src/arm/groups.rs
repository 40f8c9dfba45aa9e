//! Resource groups. Deleting one deletes all that is in it.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::model::{Model, Outcome};
use crate::operation::{Effect, Provider};
use crate::refusal::Refusal;
use crate::shape::demand_body;
use crate::world::{Group, key};

/// One group: `/subscriptions/S/resourceGroups/G`.
pub(crate) fn one(model: &mut Model, call: &Call) -> Outcome {
    let name = call.segment(3);
    match call.method {
        Method::GET => Ok(Answer::ok(view(model, model.group(name)?))),
        Method::HEAD => model.group(name).map(|_| Answer::empty(StatusCode::NO_CONTENT)),
        Method::PUT => {
            demand_body(call)?;
            let existed = model.world.groups.contains_key(&key(name));
            let created = json!({ "createdAt": model.clock.stamp() });
            let group = Group {
                name: name.to_owned(),
                location: model.location_in(&call.body),
                tags: if call.body["tags"].is_object() { call.body["tags"].clone() } else { created },
            };
            let view = view(model, &group);
            model.world.groups.insert(key(name), group);
            model.is_dirty = true;
            Ok(Answer::json(if existed { StatusCode::OK } else { StatusCode::CREATED }, view))
        }
        Method::DELETE => {
            let location = model.group(name)?.location.clone();
            let operation = model.accept(call, Provider::Group, &location, Effect::DeleteGroup(key(name)));
            Ok(operation.announce(call, Answer::empty(StatusCode::ACCEPTED)))
        }
        _ => Err(Refusal::no_method(call.method.as_str(), &call.path)),
    }
}

/// All groups.
pub(crate) fn list(model: &Model) -> Answer {
    let groups: Vec<Value> = model.world.groups.values().map(|group| view(model, group)).collect();
    Answer::list(groups)
}

fn view(model: &Model, group: &Group) -> Value {
    json!({
        "id": format!("/subscriptions/{}/resourceGroups/{}", model.subscription, group.name),
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": group.tags,
        "properties": { "provisioningState": "Succeeded" },
    })
}
