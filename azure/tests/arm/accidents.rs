//! Requests and answers that get lost, and refusals: what is repeated, what is not, and whether the error says
//! that Azure may have done it.

use azure::model::disk::{DiskPatch, DiskPatchProperties};
use azure::{ErrorKind, GiB, TransportError};
use azure_emulator::Action;
use serde_json::{Value, json};

use crate::vms::attach;
use crate::world::{World, answer, disk, premium, refused, within};

#[tokio::test(start_paused = true)]
async fn a_put_whose_answer_is_lost_is_sent_again_and_converges() {
    for lost in [Action::LoseAnswer, Action::LoseRequest] {
        let world = World::new();
        world.script("PUT", "disks/", lost);
        let made = world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await.unwrap();
        assert_eq!((world.methods().as_str(), made.bytes()), ("PUT PUT", 8 << 30));
        assert_eq!(world.emulator.disks().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_patch_whose_answer_is_lost_is_sent_again_and_converges() {
    let world = World::new();
    let id = world.disk("pvc-1").await;
    world.script("PATCH", "disks/", Action::LoseAnswer);
    let size = DiskPatchProperties { size: Some(GiB(12)), ..DiskPatchProperties::default() };
    let patch = DiskPatch { properties: Some(size), ..DiskPatch::default() };
    assert_eq!(world.arm.update_disk(&id, &patch, within(60)).await.unwrap().bytes(), 12 << 30);
}

#[tokio::test(start_paused = true)]
async fn a_delete_whose_answer_is_lost_finds_nothing_the_second_time() {
    let world = World::new();
    let id = world.disk("pvc-1").await;
    world.script("DELETE", "disks/", Action::LoseAnswer);
    world.arm.delete_disk(&id, within(60)).await.unwrap();
    assert_eq!(world.methods(), "DELETE DELETE");
    assert!(world.emulator.disks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_post_is_never_sent_twice_if_the_first_may_have_arrived() {
    let troubles: [(fn() -> Action, bool); 5] = [
        (|| Action::LoseAnswer, true),
        (|| Action::LoseRequest, false),
        (|| answer(500, Value::Null, &[]), false),
        (|| answer(503, Value::Null, &[("retry-after", "1")]), false),
        (|| answer(408, Value::Null, &[]), false),
    ];
    for (trouble, is_done) in troubles {
        let world = World::new();
        let (vm, id) = (world.vm("node-a"), world.disk("a").await);
        world.script("POST", "attachDetach", trouble());
        let error = refused(world.arm.change_disks(&vm, &attach(&id, 0), within(60)).await);
        assert_eq!(error.kind(), ErrorKind::Transient, "{:?}", trouble());
        assert!(!error.is_definite_refusal(), "{:?}: {error}", trouble());
        assert_eq!(world.methods(), "POST", "{:?}", trouble());
        assert_eq!(
            world.emulator.attached().get(vm.as_str()).is_some_and(|luns| luns["0"].is_string()),
            is_done
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_that_surely_did_not_leave_is_sent_again() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let instead = move |seen: &crate::world::Seen| {
        let is_first = seen.method == "POST" && first.swap(false, std::sync::atomic::Ordering::Relaxed);
        is_first.then(|| Err(TransportError::unsent("no connection")))
    };
    let world = World::spoilt(Box::new(instead), Box::new(|_, _| {}));
    let (vm, id) = (world.vm("node-a"), world.disk("a").await);
    world.arm.change_disks(&vm, &attach(&id, 0), within(60)).await.unwrap();
    assert_eq!(world.methods(), "POST POST");
}

#[tokio::test(start_paused = true)]
async fn without_any_connection_nothing_was_done() {
    let instead = |_: &crate::world::Seen| Some(Err(TransportError::unsent("no connection")));
    let world = World::spoilt(Box::new(instead), Box::new(|_, _| {}));
    let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(600)).await);
    assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Transient, true));
    assert_eq!(world.methods().split(' ').count(), 6, "tries are bounded");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_once_is_definite_and_not_repeated() {
    let rows = [
        (400, "InvalidParameter", ErrorKind::Invalid),
        (403, "AuthorizationFailed", ErrorKind::Forbidden),
        (403, "RequestDisallowedByPolicy", ErrorKind::Policy),
        (404, "ResourceGroupNotFound", ErrorKind::NotFound),
        (409, "Conflict", ErrorKind::Conflict),
        (409, "ScopeLocked", ErrorKind::Locked),
        (409, "QuotaExceeded", ErrorKind::Quota),
        (412, "PreconditionFailed", ErrorKind::EtagMismatch),
        (418, "", ErrorKind::Invalid),
    ];
    for (status, code, kind) in rows {
        let world = World::new();
        let body = json!({ "error": { "code": code, "message": "words" } });
        world.script("PUT", "disks/", answer(status, body, &[]));
        let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await);
        assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{error}");
        assert!(error.is_definite_refusal(), "{error}");
        assert_eq!(world.methods(), "PUT", "{status} {code}: repeating it is the caller's business");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_answer_is_not_definite() {
    let maybe: [fn() -> Action; 3] =
        [|| Action::LoseAnswer, || answer(503, Value::Null, &[]), || answer(408, Value::Null, &[])];
    for first in maybe {
        let world = World::new();
        world.script("PUT", "disks/", first());
        // A fault counts the matches that it does not act on, too.
        let conflict = answer(409, json!({ "error": { "code": "Conflict", "message": "" } }), &[]);
        world.emulator.script(azure_emulator::Fault::on("PUT", "disks/", conflict).nth(2));
        let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await);
        assert_eq!(
            (error.kind(), error.is_definite_refusal()),
            (ErrorKind::Conflict, false),
            "{:?}",
            first()
        );
        assert_eq!(world.methods(), "PUT PUT");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_azure_does_not_accept_is_renewed_once() {
    let refusal =
        || answer(401, json!({ "error": { "code": "ExpiredAuthenticationToken", "message": "" } }), &[]);
    let world = World::new();
    world.script("PUT", "disks/", refusal());
    world.script("GET", "perations/", refusal());
    let id = disk("pvc-1");
    world.arm.create_disk(&id, &premium(8), within(60)).await.unwrap();
    assert_eq!(world.seen().len(), 4, "the write and the poll, each twice");

    world.script_many("POST", "", 100, refusal());
    let vm = world.vm("node-a");
    let error = refused(world.arm.change_disks(&vm, &attach(&id, 0), within(60)).await);
    assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Unauthenticated, true));
    assert_eq!(world.methods(), "POST POST");

    world.script("PUT", "disks/", Action::LoseAnswer);
    world.emulator.script(azure_emulator::Fault::on("PUT", "disks/", refusal()).nth(2).times(100));
    let error = refused(world.arm.create_disk(&disk("pvc-2"), &premium(8), within(60)).await);
    assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Unauthenticated, false));
    assert_eq!(world.methods(), "PUT PUT PUT", "the first was carried out");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_not_taken_for_a_resource() {
    for body in [json!([]), json!("text"), json!({ "id": 7 }), Value::Null] {
        let world = World::new();
        world.disk("pvc-1").await;
        world.script("GET", "disks/", answer(200, body.clone(), &[]));
        let error = refused(world.arm.disk(&disk("pvc-1"), within(60)).await);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}");
    }
}
