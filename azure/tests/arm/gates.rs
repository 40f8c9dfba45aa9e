//! What Azure throttles is not asked while it does: told at once or waited for, and nobody else is held up.

use std::time::Duration;

use azure::ErrorKind;
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

    world.arm.change_disks(&hot, &attach(&a, 0), within(60)).await.unwrap();
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
    world.arm.change_disks(&vm, &attach(&b, 1), within(90)).await.unwrap();
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
