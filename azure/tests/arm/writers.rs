//! The ways to write a VM's data disks: each brings the same about, leaves what is not ours alone and makes no VM.

use std::time::Duration;

use azure::{DetachDisk, DiskChanges, DiskUpdates, DiskWriter, ErrorKind, FirstWay, VmId, Written};
use azure_emulator::{Action, Latency};
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::vms::{at, attach};
use crate::world::{SIZE, Seen, World, answer, disk, refused, within};

const WAYS: [FirstWay; 3] = [FirstWay::Delta, FirstWay::FullList, FirstWay::AzureStack];

fn updates(world: &World, first: FirstWay) -> DiskUpdates {
    DiskUpdates::new(world.arm.clone(), first)
}

/// Changes every document of a VM on its way back.
fn shown(change: fn(&mut Value, &mut http::HeaderMap)) -> World {
    let spoil = move |seen: &Seen, answer: &mut Response<Bytes>| {
        if seen.method == "GET" && seen.url.contains("virtualMachines/") && !seen.is_poll() {
            let mut document: Value = serde_json::from_slice(answer.body()).unwrap();
            change(&mut document, answer.headers_mut());
            *answer.body_mut() = document.to_string().into();
        }
    };
    World::spoilt(Box::new(|_| None), Box::new(spoil))
}

/// An update whose caller gives up after 5 s, with an operation of 20 s and an answer that comes after `accept`.
#[tokio::test(start_paused = true)]
async fn an_update_is_sent_before_its_deadline_and_followed_past_it() {
    for (accept, follow, seconds, done) in [(0, 60, 20, true), (0, 5, 5, false), (6, 60, 5, false)] {
        for first in WAYS {
            let world = World::new();
            let (vm, a) = (world.vm("node-a"), world.disk("a").await);
            let (accept, operation) = (Duration::from_secs(accept), Duration::from_secs(20));
            world.emulator.set_latency(Latency { accept, operation, ..Latency::default() });
            let begun = Instant::now();
            let outcome = updates(&world, first).change(&vm, &attach(&a, 0), within(5), within(follow)).await;
            let took = begun.elapsed().as_secs();
            // Polls are up to 4 s apart.
            assert!(took.abs_diff(seconds) <= 4, "{first:?} took {took} s, wanted: {seconds}");
            assert_eq!(outcome.is_ok(), done, "{first:?}: {outcome:?}");
            let late = world.seen().into_iter().filter(|seen| seen.at >= begun + Duration::from_secs(5));
            assert!(late.map(|seen| seen.is_poll()).all(|is_poll| is_poll && done), "{first:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_brings_the_same_about() {
    for first in WAYS {
        for is_set in [false, true] {
            let world = World::slow(Duration::from_secs(5));
            let vm: VmId = if is_set {
                let vms = world.emulator.add_scale_set("pool", "aks-pool-", SIZE, &[], 2).unwrap();
                vms[1].parse().unwrap()
            } else {
                world.vm("node-a")
            };
            let (other, a, b) = (world.disk("other").await, world.disk("a").await, world.disk("b").await);
            world.arm.change_disks(&vm, &attach(&other, 2), within(60)).await.unwrap();
            let updates = updates(&world, first);
            let done = updates.change(&vm, &attach(&a, 0), within(60), within(60)).await;
            assert_eq!(done.unwrap(), Written::Done, "{first:?}");
            let detach = vec![DetachDisk { disk: a.clone(), force: false }];
            let swap = DiskChanges { attach: vec![at(&b, 1)], detach };
            world.seen();
            assert_eq!(
                updates.change(&vm, &swap, within(60), within(60)).await.unwrap(),
                Written::Done,
                "{first:?}"
            );
            let methods = if first == FirstWay::Delta { "POST" } else { "GET PUT" };
            assert_eq!(world.methods(), methods, "{first:?}");
            let expected = json!({ "1": b.as_str(), "2": other.as_str() });
            assert_eq!(world.emulator.attached()[vm.as_str()], expected, "{first:?} {is_set}");
            assert!(world.arm.disk(&a, within(60)).await.unwrap().holders().is_empty(), "{first:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_action_is_gone_around_and_not_tried_again() {
    for (status, code) in
        [(403, "AuthorizationFailed"), (404, "InvalidResourceType"), (405, "MethodNotAllowed")]
    {
        let world = World::new();
        let (vm, a, b) = (world.vm("node-a"), world.disk("a").await, world.disk("b").await);
        let refusal = json!({ "error": { "code": code, "message": "no" } });
        world.script_many("POST", "attachDetach", 100, answer(status, refusal, &[]));
        let updates = updates(&world, FirstWay::Delta);
        assert_eq!(updates.change(&vm, &attach(&a, 0), within(60), within(60)).await.unwrap(), Written::Done);
        assert_eq!(world.methods(), "POST GET PUT", "{code}");
        assert_eq!(updates.change(&vm, &attach(&b, 1), within(60), within(60)).await.unwrap(), Written::Done);
        assert_eq!(world.methods(), "GET PUT", "{code}");
        let other = world.vm("node-b");
        let detach = DiskChanges { attach: Vec::new(), detach: vec![DetachDisk { disk: a, force: false }] };
        updates.change(&vm, &detach, within(60), within(60)).await.unwrap();
        world.seen();
        updates.change(&other, &attach(&disk("a"), 0), within(60), within(60)).await.unwrap();
        assert_eq!(world.methods(), "POST GET PUT", "{code}: each VM is found out by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_another_reason_stays_refused() {
    let rows = [
        (403, "RequestDisallowedByPolicy", ErrorKind::Policy),
        (403, "LinkedAuthorizationFailed", ErrorKind::Forbidden),
        (404, "ResourceNotFound", ErrorKind::NotFound),
        (409, "Conflict", ErrorKind::Conflict),
    ];
    for (status, code, kind) in rows {
        let world = World::new();
        let (vm, a) = (world.vm("node-a"), world.disk("a").await);
        world.script("POST", "attachDetach", answer(status, json!({ "error": { "code": code } }), &[]));
        let outcome =
            updates(&world, FirstWay::Delta).change(&vm, &attach(&a, 0), within(60), within(60)).await;
        assert_eq!((refused(outcome).kind(), world.methods().as_str()), (kind, "POST"), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_changed_meanwhile_is_to_be_planned_again() {
    let world = shown(|document, _| document["etag"] = json!("\"999\""));
    let (vm, a) = (world.vm("node-a"), world.disk("a").await);
    let updates = updates(&world, FirstWay::FullList);
    let outcome = updates.change(&vm, &attach(&a, 0), within(60), within(60)).await;
    assert_eq!((outcome.unwrap(), world.methods().as_str()), (Written::Changed, "GET PUT"));
    assert_eq!(world.emulator.attached()[vm.as_str()], json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_lun_that_was_taken_meanwhile_is_not_written() {
    let world = World::new();
    let (vm, a, b) = (world.vm("node-a"), world.disk("a").await, world.disk("b").await);
    world.arm.change_disks(&vm, &attach(&a, 0), within(60)).await.unwrap();
    world.seen();
    let outcome =
        updates(&world, FirstWay::FullList).change(&vm, &attach(&b, 0), within(60), within(60)).await;
    assert_eq!((outcome.unwrap(), world.methods().as_str()), (Written::Changed, "GET"));
}

#[tokio::test(start_paused = true)]
async fn no_list_is_written_that_could_make_a_vm_or_empty_one() {
    let world = World::new();
    let vm = world.vm("node-a");
    let gone: VmId = vm.as_str().replace("node-a", "gone").parse().unwrap();
    let a = world.disk("a").await;
    for first in WAYS {
        let outcome = updates(&world, first).change(&gone, &attach(&a, 0), within(60), within(60)).await;
        assert_eq!(refused(outcome).kind(), ErrorKind::NotFound, "{first:?}");
        assert!(!world.methods().contains("PUT"), "{first:?}");
    }
    // It goes between the read and the write.
    world.script("PUT", "virtualMachines/", Action::DeleteVm { vm: "node-a".to_owned() });
    let outcome =
        updates(&world, FirstWay::FullList).change(&vm, &attach(&a, 0), within(60), within(60)).await;
    assert!(matches!(outcome, Ok(Written::Changed)), "{outcome:?}");
    assert_eq!(refused(world.arm.vm(&vm, within(60)).await).kind(), ErrorKind::NotFound, "it was made anew");

    let spoilt: [fn(&mut Value, &mut http::HeaderMap); 5] = [
        |document, headers| {
            document["etag"] = Value::Null;
            headers.remove("etag");
        },
        |document, _| document["etag"] = json!("*"),
        |document, _| document["location"] = Value::Null,
        |document, _| document["properties"]["storageProfile"] = Value::Null,
        |document, _| document["properties"]["storageProfile"]["dataDisks"] = json!([7]),
    ];
    for change in spoilt {
        let world = shown(change);
        let (vm, a) = (world.vm("node-a"), world.disk("a").await);
        let error = refused(
            updates(&world, FirstWay::FullList).change(&vm, &attach(&a, 0), within(60), within(60)).await,
        );
        assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Protocol, true), "{error}");
        assert_eq!(world.methods(), "GET");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_answer_is_lost_is_not_written_twice() {
    let world = World::new();
    let (vm, a) = (world.vm("node-a"), world.disk("a").await);
    world.script("PUT", "virtualMachines/", Action::LoseAnswer);
    let outcome =
        updates(&world, FirstWay::FullList).change(&vm, &attach(&a, 0), within(60), within(60)).await;
    assert_eq!((outcome.unwrap(), world.methods().as_str()), (Written::Changed, "GET PUT PUT"));
    assert_eq!(world.emulator.attached()[vm.as_str()], json!({ "0": a.as_str() }), "the next look shows it");
}
