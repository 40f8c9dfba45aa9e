//! Too many requests, and storms of failures: what is waited for, what is told, and that it ends.

use std::time::Duration;

use azure::ErrorKind;
use azure_emulator::Action;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::vms::attach;
use crate::world::{World, answer, disk, premium, refused, within};

/// As the compute provider says it: without the envelope, and with a code that other refusals share.
fn throttled(seconds: &str) -> Action {
    let body = json!({ "code": "OperationNotAllowed", "message": "too many requests",
        "details": [{ "code": "TooManyRequests", "target": "AttachDetachVMDisks", "message": "{}" }] });
    let headers = [("retry-after", seconds)];
    answer(429, body, if seconds.is_empty() { &[] } else { &headers })
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_fits_is_waited_to_the_second() {
    let world = World::new();
    let (vm, id) = (world.vm("node-a"), world.disk("a").await);
    world.script("POST", "attachDetach", throttled("17"));
    world.update(&vm, &attach(&id, 0), within(60)).await.unwrap();
    let posts: Vec<_> = world.seen().into_iter().filter(|seen| seen.method == "POST").collect();
    let [first, second] = posts.as_slice() else { panic!("{posts:?}") };
    assert_eq!(second.at - first.at, Duration::from_secs(17));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_does_not_fit_is_told_at_once() {
    for (seconds, retry_after) in [("60", 60), ("1200", 1200), ("18446744073709551615", u64::MAX)] {
        let world = World::new();
        let (vm, id) = (world.vm("node-a"), world.disk("a").await);
        world.script("POST", "attachDetach", throttled(seconds));
        let begun = Instant::now();
        let error = refused(world.arm.change_disks(&vm, &attach(&id, 0), within(60)).await);
        assert_eq!(begun.elapsed(), Duration::ZERO, "held for nothing");
        let retry_after = Some(Duration::from_secs(retry_after));
        assert_eq!(error.kind(), ErrorKind::Throttled { retry_after });
        assert_eq!(error.target(), Some("AttachDetachVMDisks"));
        assert!(error.is_definite_refusal(), "429 says that nothing was done");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_storm_is_given_up_after_a_few_tries() {
    let storms: [(Action, ErrorKind); 5] = [
        (answer(503, Value::Null, &[]), ErrorKind::Transient),
        (answer(503, Value::Null, &[("retry-after", "0")]), ErrorKind::Transient),
        // The window of a policy.
        (throttled(""), ErrorKind::Throttled { retry_after: Some(Duration::from_mins(1)) }),
        (throttled("0"), ErrorKind::Throttled { retry_after: Some(Duration::ZERO) }),
        (Action::LoseRequest, ErrorKind::Transient),
    ];
    for (storm, kind) in storms {
        let world = World::new();
        world.script_many("", "disks/", 10_000, storm.clone());
        let write = refused(world.arm.create_disk(&disk("a"), &premium(8), within(3600)).await);
        let read = refused(world.arm.disk(&disk("a"), within(3600)).await);
        let seen = world.seen().len();
        assert_eq!((write.kind(), read.kind()), (kind, kind));
        assert!(seen <= 12, "{seen} requests in {storm:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_pause_after_an_accept_is_azures() {
    for (seconds, ends) in [("2", true), ("30", true), ("600", false), ("18446744073709551615", false)] {
        let spoil = move |seen: &crate::world::Seen, answer: &mut http::Response<bytes::Bytes>| {
            if seen.method == "PUT" {
                answer.headers_mut().insert("retry-after", seconds.parse().unwrap());
            }
        };
        let world = World::spoilt(Box::new(|_| None), Box::new(spoil));
        let begun = Instant::now();
        let made = world.arm.create_disk(&disk("a"), &premium(8), within(60)).await;
        assert_eq!(made.is_ok(), ends, "{seconds}: {made:?}");
        match made {
            Ok(_) => assert_eq!(begun.elapsed(), Duration::from_secs(seconds.parse().unwrap())),
            Err(error) => {
                assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Timeout, false));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_between_polls_is_at_least_azures() {
    let running = json!({ "status": "InProgress" });
    for (status, body) in [(200, running), (429, Value::Null), (503, Value::Null)] {
        let world = World::new();
        world.script("GET", "perations/", answer(status, body, &[("retry-after", "40")]));
        let begun = Instant::now();
        world.arm.create_disk(&disk("a"), &premium(8), within(60)).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(40), "{status}");
        assert_eq!(world.seen().len(), 3, "{status}: the write and two polls");
    }
}
