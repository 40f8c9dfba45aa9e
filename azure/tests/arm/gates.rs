//! What Azure throttles is not asked while it does: told at once or waited for, and nobody else is held up.

use std::time::Duration;

use azure::{DetachDisk, DiskChanges, ErrorKind};
use azure_emulator::Throttling;
use serde_json::json;
use tokio::time::Instant;

use crate::vms::attach;
use crate::world::{Seen, World, answer, disk, premium, refused, within};

const SECOND: Duration = Duration::from_secs(1);

fn throttled(seconds: &str) -> azure_emulator::Action {
    let body = json!({ "code": "OperationNotAllowed", "message": "too many requests",
        "details": [{ "code": "TooManyRequests", "target": "AttachDetachVMDisks", "message": "{}" }] });
    answer(429, body, &[("retry-after", seconds)])
}

fn posts(world: &World) -> usize {
    world.seen().iter().filter(|seen| seen.method == "POST").count()
}

#[tokio::test(start_paused = true)]
async fn a_hot_vm_stalls_nobody_else() {
    let world = World::new();
    let (hot, cold) = (world.vm("node-a"), world.vm("node-b"));
    let (a, b) = (world.disk("a").await, world.disk("b").await);
    world.script("POST", "node-a/attachDetach", throttled("40"));
    let begun = Instant::now();
    refused(world.arm.change_disks(&hot, &attach(&a, 0), within(10)).await);
    world.seen();

    let told = refused(world.arm.change_disks(&hot, &attach(&a, 0), within(10)).await);
    let retry_after = Some(40 * SECOND);
    assert_eq!(told.kind(), ErrorKind::Throttled { retry_after });
    assert!(told.is_definite_refusal() && told.to_string().contains("40 s"), "{told}");
    assert_eq!(posts(&world), 0, "asked during a Retry-After");

    world.arm.change_disks(&cold, &attach(&b, 0), within(10)).await.unwrap();
    world.arm.vm(&hot, within(10)).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "held up by another's bucket");

    world.update(&hot, &attach(&a, 0), within(60)).await.unwrap();
    assert_eq!(begun.elapsed(), 40 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_empty_bucket_is_not_drawn_from() {
    let spoil = |seen: &Seen, answer: &mut http::Response<bytes::Bytes>| {
        if seen.method == "POST" {
            let left = "Microsoft.Compute/AttachDetachVMDisksSubscriptionMaximum;1499,Microsoft.Compute/AttachDetachVMDisksResource;0";
            answer.headers_mut().insert("x-ms-ratelimit-remaining-resource", left.parse().unwrap());
        }
    };
    let world = World::spoilt(Box::new(|_| None), Box::new(spoil));
    let (vm, a, b) = (world.vm("node-a"), world.disk("a").await, world.disk("b").await);
    let begun = Instant::now();
    world.arm.change_disks(&vm, &attach(&a, 0), within(60)).await.unwrap();
    refused(world.arm.change_disks(&vm, &attach(&b, 1), within(30)).await);
    assert_eq!((posts(&world), begun.elapsed()), (1, Duration::ZERO));
    world.update(&vm, &attach(&b, 1), within(90)).await.unwrap();
    assert_eq!(begun.elapsed(), 60 * SECOND, "the window of the policy");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_resource_manager_holds_up_all_such_requests() {
    let body = json!({ "error": { "code": "SubscriptionRequestsThrottled", "message": "" } });
    let world = World::new();
    let a = world.disk("a").await;
    world.script("GET", "disks/a", answer(429, body, &[("retry-after", "7")]));
    let begun = Instant::now();
    let vm = world.vm("node-a");
    refused(world.arm.disk(&a, within(3)).await);
    refused(world.arm.vm(&vm, within(3)).await);
    assert_eq!((world.seen().len(), begun.elapsed()), (1, Duration::ZERO));
    world.arm.vm(&vm, within(30)).await.unwrap();
    assert_eq!(begun.elapsed(), 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn many_operations_share_the_reads_of_the_subscription() {
    let world = World::slow(Duration::from_mins(2));
    let begun = Instant::now();
    let calls = (0..200).map(|number| {
        let arm = world.arm.clone();
        async move { arm.create_disk(&disk(&format!("pvc-{number}")), &premium(8), within(600)).await }
    });
    let made = futures::future::join_all(calls).await;
    assert!(made.iter().all(Result::is_ok));
    let polls: Vec<_> = world.seen().into_iter().filter(Seen::is_poll).collect();
    for (count, poll) in polls.iter().enumerate() {
        let allowed = 250.0 + (poll.at - begun).as_secs_f64() * 25.0;
        assert!(
            f64::from(u32::try_from(count).unwrap()) < allowed + 0.01,
            "poll {count} after {:?}",
            poll.at - begun
        );
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(132), "two hundred shared 25 polls a second and took {took:?}");
}

/// An Azure with its own buckets, all full.
fn strict(operation: Duration) -> World {
    let world = World::slow(operation);
    world.emulator.set_throttling(Throttling::Real { speed: 1 });
    world
}

fn refusals(world: &World) -> usize {
    world.heard().iter().filter(|exchange| exchange.status == Some(429)).count()
}

#[tokio::test(start_paused = true)]
async fn a_vm_without_updates_left_slows_down_no_other() {
    let world = World::new();
    let mut updates = Vec::new();
    for number in 0..40 {
        let vm = world.vm(&format!("node-{number}"));
        updates.push((vm, attach(&world.disk(&format!("d-{number}")).await, 0)));
    }
    world.emulator.set_throttling(Throttling::Real { speed: 1 });
    world.emulator.set_bucket("AttachDetachVMDisksResource", Some(updates[0].0.as_str()), 0).unwrap();
    let begun = Instant::now();
    let calls = updates.iter().map(async |(vm, changes)| {
        world.update(vm, changes, within(600)).await.unwrap();
        begun.elapsed()
    });
    let took = futures::future::join_all(calls).await;
    assert_eq!(took[0], 60 * SECOND);
    assert!(took[1..].iter().all(Duration::is_zero), "{took:?}");
    assert_eq!(refusals(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn a_vm_gets_every_update_that_azure_grants_it_and_no_refusal() {
    let world = strict(5 * SECOND);
    let (vm, a) = (world.vm("node-a"), world.disk("a").await);
    let leaves =
        DiskChanges { attach: Vec::new(), detach: vec![DetachDisk { disk: a.clone(), force: false }] };
    let begun = Instant::now();
    for number in 0..44 {
        let changes = if number % 2 == 0 { attach(&a, 0) } else { leaves.clone() };
        world.update(&vm, &changes, within(600)).await.unwrap();
    }
    // 12 and 4 more each minute: the last four come back after eight minutes, and are made one after another.
    let took = begun.elapsed();
    assert!(took <= 8 * 60 * SECOND + 30 * SECOND, "{took:?}");
    assert_eq!(refusals(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_take_turns_before_the_resource_manager_refuses() {
    // Reads: 250 and 25 a second, a fifth of which is left to polls. Writes: 200 and 10 a second. Less a second's.
    for (is_write, most) in [(false, (1000 - 225) / 20), (true, (1000 - 190) / 10)] {
        let world = strict(Duration::ZERO);
        let begun = Instant::now();
        let calls = (0..1000).map(async |number| {
            if is_write {
                let name = format!("pvc-{number}");
                world.arm.create_disk(&disk(&name), &premium(8), within(600)).await.map(drop)
            } else {
                world.arm.disk(&disk("none"), within(600)).await.map(drop)
            }
        });
        let told = futures::future::join_all(calls).await;
        let expected = if is_write { None } else { Some(ErrorKind::NotFound) };
        assert!(told.iter().all(|outcome| outcome.as_ref().err().map(azure::Error::kind) == expected));
        assert_eq!(refusals(&world), 0, "write: {is_write}");
        let took = begun.elapsed();
        assert!(took <= (most + 1) * SECOND, "write: {is_write}, {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_no_turn_in_time_is_told_at_once_and_sends_nothing() {
    let world = strict(Duration::ZERO);
    let begun = Instant::now();
    let calls = (0..1000).map(async |_| {
        let told = refused(world.arm.disk(&disk("none"), within(10)).await);
        (told, begun.elapsed())
    });
    let told = futures::future::join_all(calls).await;
    let throttled: Vec<_> = told.iter().filter(|(told, _)| told.kind() != ErrorKind::NotFound).collect();
    assert_eq!(world.seen().len() + throttled.len(), 1000);
    assert!(
        (500..600).contains(&throttled.len()),
        "225 at once, 20 in each of ten seconds: {}",
        throttled.len()
    );
    for (told, took) in throttled {
        let ErrorKind::Throttled { retry_after: Some(wait) } = told.kind() else { panic!("{told}") };
        assert!(wait >= 10 * SECOND && took.is_zero() && told.is_definite_refusal(), "{told} after {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_a_time_is_told_with_the_time_of_its_window() {
    let world = World::new();
    let (vm, a) = (world.vm("node-a"), world.disk("a").await);
    world.script("POST", "node-a/attachDetach", answer(429, serde_json::Value::Null, &[]));
    let begun = Instant::now();
    for sent in [1, 0] {
        let told = refused(world.arm.change_disks(&vm, &attach(&a, 0), within(30)).await);
        assert_eq!(told.kind(), ErrorKind::Throttled { retry_after: Some(60 * SECOND) });
        assert!(told.is_definite_refusal() && begun.elapsed().is_zero(), "{told}");
        assert_eq!(posts(&world), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn polls_of_operations_and_a_flood_of_reads_share_what_azure_grants() {
    let world = strict(Duration::from_mins(2));
    let begun = Instant::now();
    let made = (0..150).map(async |number| {
        let name = format!("pvc-{number}");
        world.arm.create_disk(&disk(&name), &premium(8), within(600)).await.unwrap();
        begun.elapsed()
    });
    let read = (0..600).map(async |number| {
        tokio::time::sleep(SECOND * (number / 200) * 15).await;
        refused(world.arm.disk(&disk("none"), within(60)).await).kind()
    });
    let (made, read) = tokio::join!(futures::future::join_all(made), futures::future::join_all(read));
    assert!(read.iter().all(|kind| *kind == ErrorKind::NotFound), "{read:?}");
    assert_eq!(refusals(&world), 0);
    let last = made.iter().max().unwrap();
    assert!(*last < 140 * SECOND, "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_operation_is_followed_without_a_refusal() {
    let world = strict(Duration::from_mins(30));
    world.arm.create_disk(&disk("a"), &premium(8), within(3600)).await.unwrap();
    let vm = world.vm("node-a");
    world.arm.change_disks(&vm, &attach(&disk("a"), 0), within(3600)).await.unwrap();
    assert!(world.seen().iter().filter(|seen| seen.is_poll()).count() > 500);
    assert_eq!(refusals(&world), 0);
}
