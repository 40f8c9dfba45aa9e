//! What is left for people to read: errors that name things, ids for Azure's support, metrics; and no secret.

use std::sync::{Arc, Mutex};

use azure::{ErrorKind, TransportError};
use serde_json::{Value, json};

use crate::vms::attach;
use crate::world::{Seen, TOKEN, World, answer, disk, premium, refused, within};

#[tokio::test(start_paused = true)]
async fn an_error_names_the_resource_and_carries_azures_words_and_ids() {
    let world = World::new();
    let body =
        json!({ "error": { "code": "QuotaExceeded", "message": "No more disks.", "target": "disks" } });
    world.script("PUT", "disks/", answer(409, body, &[]));
    let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await);
    assert_eq!((error.operation(), error.resource()), ("create disk", disk("pvc-1").as_str()));
    assert_eq!((error.code(), error.target()), (Some("QuotaExceeded"), Some("disks")));
    let correlation = error.correlation_id().unwrap();
    assert_eq!(error.request_id().map(str::len), Some(36));
    let expected = format!(
        "create disk {}: QuotaExceeded: No more disks. (correlation id {correlation})",
        disk("pvc-1")
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_outlives_its_call_can_be_found_again() {
    let world = World::slow(std::time::Duration::from_mins(10));
    let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.request_id().is_some() && error.correlation_id().is_some(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn every_try_of_a_request_has_its_one_id_and_every_request_its_own() {
    let world = World::new();
    world.script_many("PUT", "disks/", 3, answer(503, Value::Null, &[]));
    world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await.unwrap();
    let first = world.seen();
    let ids = |method: &str| {
        first.iter().filter(|seen| seen.method == method).map(|seen| seen.client_request_id.clone()).collect()
    };
    let (puts, polls): (Vec<String>, Vec<String>) = (ids("PUT"), ids("GET"));
    assert_eq!(puts.len(), 4);
    assert!(puts.iter().all(|id| id.len() == 36 && *id == puts[0]), "{puts:?}");
    assert!(polls.iter().all(|id| *id != puts[0]), "{polls:?}");
    world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await.unwrap();
    assert_ne!(world.seen()[0].client_request_id, puts[0]);
}

#[tokio::test(start_paused = true)]
async fn the_observer_hears_every_exchange() {
    let world = World::new();
    let (vm, id) = (world.vm("node-a"), world.disk("a").await);
    world.script("POST", "attachDetach", answer(429, Value::Null, &[("retry-after", "1")]));
    world.script("GET", "perations/", azure_emulator::Action::LoseAnswer);
    world.update(&vm, &attach(&id, 0), within(60)).await.unwrap();
    let heard = world.heard();
    assert_eq!(heard.len(), world.seen().len());
    let told: Vec<_> = heard.iter().map(|exchange| (exchange.operation, exchange.status)).collect();
    let (change, poll) = ("attach and detach disks of", "poll operation on");
    assert_eq!(told, [(change, Some(429)), (change, Some(200)), (poll, None), (poll, Some(200))]);
}

/// All that an error chain can show.
fn printed(error: &azure::Error) -> String {
    let mut text = vec![format!("{error} {error:?} {error:#?}")];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push(format!("{cause} {cause:?}"));
        source = cause.source();
    }
    text.join(" ")
}

#[tokio::test(start_paused = true)]
async fn the_token_is_never_printed() {
    let world = World::new();
    assert!(!format!("{:?} {:#?}", world.arm, world.arm).contains(TOKEN));
    let id = world.disk("a").await;
    for status in [400, 401, 403, 404, 409, 429, 500] {
        world.script_many("PUT", "disks/", 20, answer(status, json!({ "code": "C", "message": "m" }), &[]));
        let error = refused(world.arm.create_disk(&id, &premium(8), within(60)).await);
        assert!(!printed(&error).contains(TOKEN), "{status}");
        world.emulator.clear_faults();
    }
    assert!(
        world.seen().iter().all(|seen| seen.authorization.ends_with(TOKEN)),
        "this test looks for nothing"
    );
    assert!(!format!("{:?}", world.heard()).contains(TOKEN));
}

#[tokio::test(start_paused = true)]
async fn the_cause_of_a_lost_answer_is_kept_for_the_log() {
    let last = Arc::new(Mutex::new(0));
    let count = last.clone();
    let instead = move |_: &Seen| {
        let mut number = count.lock().unwrap();
        *number += 1;
        Some(Err(TransportError::lost(format!("broken pipe {number}"))))
    };
    let world = World::spoilt(Box::new(instead), Box::new(|_, _| {}));
    let error = refused(world.arm.disk(&disk("a"), within(600)).await);
    let cause = format!("broken pipe {}", last.lock().unwrap());
    assert!(error.to_string().contains(&cause), "{error}");
    assert_eq!(std::error::Error::source(&error).map(ToString::to_string), Some(cause));
}
