//! Every way an accepted operation can end, and what is told of it.

use std::time::Duration;

use azure::model::disk::{DiskPatch, SkuName};
use azure::{DiskSku, ErrorKind};
use azure_emulator::Action;
use http::Response;
use serde_json::{Value, json};

use crate::snapshots::cut;
use crate::vms::attach;
use crate::world::{Seen, World, answer, disk, ending, json, premium, refused, snapshot, within};

/// The writes, by the word that their path has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    CreateDisk,
    UpdateDisk,
    DeleteDisk,
    CreateSnapshot,
    DeleteSnapshot,
    ChangeDisks,
}

const WRITES: [Write; 6] = [
    Write::CreateDisk,
    Write::UpdateDisk,
    Write::DeleteDisk,
    Write::CreateSnapshot,
    Write::DeleteSnapshot,
    Write::ChangeDisks,
];

impl Write {
    fn method(self) -> &'static str {
        match self {
            Write::CreateDisk | Write::CreateSnapshot => "PUT",
            Write::UpdateDisk => "PATCH",
            Write::DeleteDisk | Write::DeleteSnapshot => "DELETE",
            Write::ChangeDisks => "POST",
        }
    }

    /// Whether a failure after the accept leaves something behind.
    fn leaves(self) -> bool {
        matches!(self, Write::CreateDisk | Write::CreateSnapshot | Write::ChangeDisks)
    }

    /// Prepares what it needs, lets `spoil` have its way, writes.
    async fn run(self, world: &World, spoil: impl FnOnce(&World)) -> Result<(), azure::Error> {
        let (arm, deadline) = (&world.arm, within(300));
        let (id, snap) = (world.disk("there").await, snapshot("snap"));
        if self == Write::DeleteSnapshot {
            arm.create_snapshot(&snap, &cut(&id), deadline).await.unwrap();
        }
        let vm = (self == Write::ChangeDisks).then(|| world.vm("node-a"));
        let patch =
            DiskPatch { sku: Some(SkuName { name: DiskSku::StandardSsdLrs }), ..DiskPatch::default() };
        world.seen();
        spoil(world);
        match self {
            Write::CreateDisk => arm.create_disk(&disk("new"), &premium(8), deadline).await.map(drop),
            Write::UpdateDisk => arm.update_disk(&id, &patch, deadline).await.map(drop),
            Write::DeleteDisk => arm.delete_disk(&id, deadline).await,
            Write::CreateSnapshot => arm.create_snapshot(&snap, &cut(&id), deadline).await.map(drop),
            Write::DeleteSnapshot => arm.delete_snapshot(&snap, deadline).await,
            Write::ChangeDisks => arm.change_disks(&vm.unwrap(), &attach(&id, 0), deadline).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_end_is_an_error_though_every_answer_was_a_success() {
    let rows = [
        (false, "QuotaExceeded", ErrorKind::Quota),
        (false, "ZonalAllocationFailed", ErrorKind::Capacity),
        (false, "OperationPreempted", ErrorKind::Preempted),
        (true, "OperationPreempted", ErrorKind::Preempted),
        (true, "", ErrorKind::Preempted),
        (false, "", ErrorKind::Transient),
        (false, "Unheard", ErrorKind::Transient),
        (false, "NotFound", ErrorKind::NotFound),
    ];
    for write in WRITES {
        for (canceled, code, kind) in rows {
            let world = World::slow(Duration::from_secs(3));
            let script = |world: &World| world.script(write.method(), "", ending(canceled, code, "words"));
            let error = refused(write.run(&world, script).await);
            assert_eq!(error.kind(), kind, "{write:?} {code}: {error}");
            assert_eq!(error.code(), Some(code).filter(|code| !code.is_empty()), "{write:?}");
            assert_eq!(error.status(), None, "{write:?}: HTTP 200 would say nothing");
            assert!(error.request_id().is_some() && error.correlation_id().is_some(), "{write:?}: {error}");
            let is_definite = !write.leaves() && kind != ErrorKind::Preempted;
            assert_eq!(error.is_definite_refusal(), is_definite, "{write:?} {code}: {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_attach_that_a_newer_one_preempted_says_so() {
    let world = World::slow(Duration::from_secs(10));
    let vm = world.vm("node-a");
    let (a, b) = (world.disk("a").await, world.disk("b").await);
    let (one, other) = (attach(&a, 0), attach(&b, 1));
    let first = world.arm.change_disks(&vm, &one, within(60));
    let second = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.arm.change_disks(&vm, &other, within(60)).await
    };
    let (first, second) = tokio::join!(first, second);
    second.unwrap();
    let error = refused(first);
    assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Preempted, false));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_polls_fails_no_operation() {
    let troubles: [fn() -> Action; 6] = [
        || answer(503, Value::Null, &[]),
        || answer(500, json!({ "error": { "code": "InternalServerError", "message": "" } }), &[]),
        || answer(429, json!({ "code": "OperationNotAllowed", "message": "" }), &[("retry-after", "7")]),
        || answer(200, Value::Null, &[]),
        || answer(302, Value::Null, &[("location", "https://elsewhere.test/")]),
        || Action::LoseAnswer,
    ];
    for write in WRITES {
        for trouble in troubles {
            let world = World::slow(Duration::from_secs(3));
            let script = |world: &World| world.script_many("GET", "perations/", 20, trouble());
            let outcome = write.run(&world, script).await;
            assert!(outcome.is_ok(), "{write:?} {:?}: {outcome:?}", trouble());
            let writes = world.seen().iter().filter(|seen| seen.method != "GET").count();
            assert_eq!(writes, 1, "{write:?}: what was accepted is not written again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_azure_forgot_is_judged_by_its_resource() {
    let gone = || answer(404, json!({ "error": { "code": "NotFound", "message": "" } }), &[]);
    for write in WRITES {
        let world = World::slow(Duration::from_secs(30));
        let script = |world: &World| world.script_many("GET", "perations/", 1000, gone());
        let begun = tokio::time::Instant::now();
        write.run(&world, script).await.unwrap_or_else(|error| panic!("{write:?}: {error}"));
        // Two preparing operations at most take 30 s each, and the write itself one more.
        let least = if write == Write::DeleteSnapshot { 90 } else { 60 };
        assert!(begun.elapsed() >= Duration::from_secs(least), "{write:?}: told as done before it was");

        let world = World::slow(Duration::from_secs(3));
        let script = |world: &World| {
            world.script(write.method(), "", ending(false, "QuotaExceeded", ""));
            world.script_many("GET", "perations/", 1000, gone());
        };
        let outcome = write.run(&world, script).await;
        // A change that did not happen leaves the disk as it was, and the document says so.
        assert_eq!(outcome.is_ok(), write == Write::UpdateDisk, "{write:?}: {outcome:?}");
        assert!(outcome.err().is_none_or(|error| !error.is_definite_refusal()), "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_vanishes_while_it_is_made_leaves_the_end_open() {
    let world = World::slow(Duration::from_secs(30));
    let gone = || answer(404, json!({ "error": { "code": "ResourceNotFound", "message": "" } }), &[]);
    world.script_many("GET", "", 1000, gone());
    let error = refused(world.arm.create_disk(&disk("new"), &premium(8), within(60)).await);
    assert_eq!((error.kind(), error.operation()), (ErrorKind::NotFound, "create disk"));
    assert!(!error.is_definite_refusal(), "Azure may show it later");
}

/// Azure as older services are: a `Location` and no operation document.
fn with_location_only() -> World {
    let spoil = |_: &Seen, answer: &mut Response<bytes::Bytes>| {
        answer.headers_mut().remove("azure-asyncoperation");
    };
    World::spoilt(Box::new(|_| None), Box::new(spoil))
}

#[tokio::test(start_paused = true)]
async fn a_location_leads_to_the_result() {
    for write in WRITES {
        let world = with_location_only();
        world.emulator.set_latency(azure_emulator::Latency::fixed(Duration::from_secs(5)));
        write.run(&world, |_| {}).await.unwrap_or_else(|error| panic!("{write:?}: {error}"));
        let read = world.arm.disk(&disk("new"), within(60)).await;
        assert_eq!(read.is_ok(), write == Write::CreateDisk, "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_result_at_a_location_ends_the_following() {
    for write in [Write::CreateDisk, Write::DeleteDisk] {
        let world = with_location_only();
        let script = |world: &World| world.script(write.method(), "", ending(false, "QuotaExceeded", "full"));
        let begun = tokio::time::Instant::now();
        let error = refused(write.run(&world, script).await);
        assert_eq!((error.kind(), error.message()), (ErrorKind::Quota, "full"), "{write:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{write:?}: polled long after the end");
    }
}

#[tokio::test(start_paused = true)]
async fn an_accept_without_any_url_is_followed_by_the_resource() {
    for write in WRITES {
        let spoil = |_: &Seen, answer: &mut Response<bytes::Bytes>| {
            answer.headers_mut().remove("azure-asyncoperation");
            answer.headers_mut().remove("location");
        };
        let world = World::spoilt(Box::new(|_| None), Box::new(spoil));
        world.emulator.set_latency(azure_emulator::Latency::fixed(Duration::from_secs(5)));
        write.run(&world, |_| {}).await.unwrap_or_else(|error| panic!("{write:?}: {error}"));
        let (there, new) =
            (world.emulator.disk(disk("there").as_str()), world.emulator.disk(disk("new").as_str()));
        assert_eq!(there.is_none(), write == Write::DeleteDisk, "{write:?}");
        assert_eq!(new.is_some(), write == Write::CreateDisk, "{write:?}");
        let attached = !world.emulator.attached().values().all(|luns| luns == &json!({}));
        assert_eq!(attached, write == Write::ChangeDisks, "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_after_a_write_does_not_undo_it() {
    // The end of the operation comes without the document, and the read of it is forbidden.
    let instead = |seen: &Seen| {
        let forbidden = json!({ "error": { "code": "AuthorizationFailed", "message": "" } });
        if seen.is_poll() {
            return Some(Ok(json(200, &json!({ "status": "Succeeded" }))));
        }
        (seen.method == "GET").then(|| Ok(json(403, &forbidden)))
    };
    let world = World::spoilt(Box::new(instead), Box::new(|_, _| {}));
    let disk = refused(world.arm.create_disk(&disk("new"), &premium(8), within(60)).await);
    let cut = cut(&crate::world::disk("new"));
    let snapshot = refused(world.arm.create_snapshot(&snapshot("snap"), &cut, within(60)).await);
    for error in [disk, snapshot] {
        assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Forbidden, false), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn polls_that_are_forbidden_are_told_at_once_and_leave_the_end_open() {
    for write in WRITES {
        let world = World::slow(Duration::from_secs(30));
        let body =
            json!({ "error": { "code": "AuthorizationFailed", "message": "no action operations/read" } });
        // The preparation has its own polls; only those that come after it are refused.
        let script = |world: &World| world.script_many("GET", "perations/", 1000, answer(403, body, &[]));
        let error = refused(write.run(&world, script).await);
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{write:?}");
        assert!(!error.is_definite_refusal() && error.request_id().is_some(), "{write:?}: {error}");
    }
}
