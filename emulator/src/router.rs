//! Which call goes to which provider, and what every ARM call must bring: a token, an api-version, and room in the
//! [`crate::throttle`]'s buckets.

use http::Method;

use crate::answer::Answer;
use crate::arm::companions::{self, Kind};
use crate::arm::{disks, groups, instances, network, operations, scale_sets, skus, snapshots, vms};
use crate::call::Call;
use crate::model::{Model, Outcome};
use crate::refusal::Refusal;
use crate::strict;

/// Oldest api-version that is taken; dates compare as text.
const OLDEST_VERSION: &str = "2020";

/// Answers one ARM call.
pub(crate) fn arm(model: &mut Model, call: &Call) -> Answer {
    if let Err(refusal) = check_entry(model, call) {
        return refusal.answer();
    }
    let ticket = match model.throttle.enter(call, &model.clock) {
        Ok(ticket) => ticket,
        Err(throttled) => return throttled,
    };
    let answer = served(model, call);
    model.throttle.leave(call, &ticket, answer, model.clock.now())
}

fn served(model: &mut Model, call: &Call) -> Answer {
    let checked = if model.is_strict { strict::check(call) } else { Ok(()) };
    match checked.and_then(|()| route(model, call)) {
        Ok(answer) => model.listing.present(call, answer),
        Err(refusal) => refused(call, &refusal, &model.location),
    }
}

fn check_entry(model: &Model, call: &Call) -> Result<(), Refusal> {
    let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if token.is_none_or(|token| token.trim().is_empty()) {
        return Err(Refusal::no_token());
    }
    match call.query("api-version") {
        None => return Err(Refusal::no_api_version()),
        Some(version) if version < OLDEST_VERSION => return Err(Refusal::bad_api_version(version)),
        Some(_) => {}
    }
    let subscription = call.segment(1);
    if subscription.eq_ignore_ascii_case(&model.subscription) {
        Ok(())
    } else {
        Err(Refusal::no_subscription(subscription))
    }
}

fn route(model: &mut Model, call: &Call) -> Outcome {
    match call.shape().as_slice() {
        [_, _, "resourcegroups"] => Ok(groups::list(model)),
        [_, _, "resourcegroups", _] => groups::one(model, call),
        [_, _, "operationresults", _] => operations::group_result(model, call),
        [_, _, "providers", _, "locations", _, "operations" | "diskoperations", _] => {
            operations::one(model, call)
        }
        [_, _, "providers", "microsoft.compute", "skus"] => Ok(skus::list(model, call)),
        [_, _, "providers", "microsoft.compute", kind]
        | [_, _, "resourcegroups", _, "providers", "microsoft.compute", kind] => list(model, call, kind),
        [_, _, "resourcegroups", _, "providers", "microsoft.compute", rest @ ..] => {
            compute(model, call, rest)
        }
        [_, _, "resourcegroups", _, "providers", "microsoft.network", _, _] => network::one(model, call),
        _ => Err(Refusal::no_route(&call.path)),
    }
}

/// All resources of a kind, of the subscription or of one group.
fn list(model: &mut Model, call: &Call, kind: &str) -> Outcome {
    if call.method != Method::GET {
        return Err(Refusal::no_method(call.method.as_str(), &call.path));
    }
    match kind {
        "disks" => disks::list(model, call),
        "snapshots" => snapshots::list(model, call),
        "virtualmachinescalesets" => scale_sets::list(model, call),
        "virtualmachines" => vms::list(model, call),
        kind => match Kind::of(kind) {
            Some(kind) => companions::list(model, call, kind),
            None => Err(Refusal::no_route(&call.path)),
        },
    }
}

fn compute(model: &mut Model, call: &Call, rest: &[&str]) -> Outcome {
    match rest {
        ["disks", _] => disks::one(model, call),
        ["snapshots", _] => snapshots::one(model, call),
        ["virtualmachinescalesets", _] => scale_sets::one(model, call),
        ["virtualmachinescalesets", _, "virtualmachines"] => instances::list(model, call),
        ["virtualmachinescalesets", _, "virtualmachines", _] => instances::one(model, call),
        ["virtualmachinescalesets", _, "virtualmachines", _, _] => instances::action(model, call),
        ["virtualmachines", _] => vms::one(model, call),
        ["virtualmachines", _, "instanceview"] => vms::instance(model, call),
        ["virtualmachines", _, _] => vms::action(model, call),
        [kind, _] => match Kind::of(kind) {
            Some(kind) => companions::one(model, call, kind),
            None => Err(Refusal::no_route(&call.path)),
        },
        _ => Err(Refusal::no_route(&call.path)),
    }
}

/// A provider's refusal carries the provider's headers; the gateway's does not.
fn refused(call: &Call, refusal: &Refusal, location: &str) -> Answer {
    let answer = refusal.answer();
    if refusal.gateway {
        return answer;
    }
    let answer = answer.handled(call, location);
    if call.lower.get(6).is_some_and(|kind| kind == "virtualmachinescalesets") && call.method == Method::GET {
        answer.compute().charged()
    } else if call.lower.iter().any(|segment| segment.starts_with("virtualmachine")) {
        answer.compute()
    } else {
        answer
    }
}
