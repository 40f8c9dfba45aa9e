//! No call outlives its deadline, whatever is in its way.

use std::time::Duration;

use azure::model::disk::DiskPatch;
use azure::transport::BoxFuture;
use azure::{Arm, Deadline, Error, ErrorKind, VmId};
use azure_emulator::{Action, Latency, SUBSCRIPTION};
use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use crate::snapshots::cut;
use crate::vms::attach;
use crate::world::{World, answer, disk, group, premium, refused, snapshot, within};

type Call = fn(Arm, VmId, Deadline) -> BoxFuture<'static, Result<(), Error>>;

/// Every method; whether it is a write.
const CALLS: [(&str, bool, Call); 15] = [
    ("disk", false, |arm, _, by| Box::pin(async move { arm.disk(&disk("a"), by).await.map(drop) })),
    ("disks", false, |arm, _, by| Box::pin(async move { arm.disks(&group(), by).await.map(drop) })),
    ("create_disk", true, |arm, _, by| {
        Box::pin(async move { arm.create_disk(&disk("new"), &premium(8), by).await.map(drop) })
    }),
    ("update_disk", true, |arm, _, by| {
        Box::pin(async move { arm.update_disk(&disk("a"), &DiskPatch::default(), by).await.map(drop) })
    }),
    ("delete_disk", true, |arm, _, by| Box::pin(async move { arm.delete_disk(&disk("a"), by).await })),
    ("settled_disk", false, |arm, _, by| {
        Box::pin(async move { arm.settled_disk(&disk("a"), by).await.map(drop) })
    }),
    ("snapshot", false, |arm, _, by| {
        Box::pin(async move { arm.snapshot(&snapshot("s"), by).await.map(drop) })
    }),
    ("snapshots", false, |arm, _, by| Box::pin(async move { arm.snapshots(&group(), by).await.map(drop) })),
    ("create_snapshot", true, |arm, _, by| {
        Box::pin(async move { arm.create_snapshot(&snapshot("t"), &cut(&disk("a")), by).await.map(drop) })
    }),
    ("delete_snapshot", true, |arm, _, by| {
        Box::pin(async move { arm.delete_snapshot(&snapshot("s"), by).await })
    }),
    ("settled_snapshot", false, |arm, _, by| {
        Box::pin(async move { arm.settled_snapshot(&snapshot("s"), by).await.map(drop) })
    }),
    ("vm", false, |arm, vm, by| Box::pin(async move { arm.vm(&vm, by).await.map(drop) })),
    ("find_vm", false, |arm, _, by| {
        Box::pin(async move { arm.find_vm(&group(), "aks-pool-000000", by).await.map(drop) })
    }),
    ("change_disks", true, |arm, vm, by| {
        Box::pin(async move { arm.change_disks(&vm, &attach(&disk("a"), 0), by).await })
    }),
    ("skus", false, |arm, _, by| {
        Box::pin(async move { arm.skus(SUBSCRIPTION, "eastus2", by).await.map(drop) })
    }),
];

async fn filled() -> (World, VmId) {
    let world = World::new();
    let (vm, id) = (world.vm("node-a"), world.disk("a").await);
    world.arm.create_snapshot(&snapshot("s"), &cut(&id), within(60)).await.unwrap();
    world.emulator.add_scale_set("pool", "aks-pool-", crate::world::SIZE, &[], 1).unwrap();
    world.seen();
    (world, vm)
}

const HOUR: Duration = Duration::from_hours(1);

/// Lets `spoil` have its way with an Azure in which all is there, and makes every call with each deadline.
async fn check(name: &str, reads_fail: bool, writes_fail: bool, spoil: impl Fn(&World)) {
    for seconds in [1, 10, 100] {
        for (call, is_write, run) in CALLS {
            let (world, vm) = filled().await;
            spoil(&world);
            let (begun, deadline) = (Instant::now(), within(seconds));
            let outcome = run(world.arm.clone(), vm, deadline).await;
            let took = begun.elapsed();
            assert!(took <= Duration::from_secs(seconds), "{name}: {call} took {took:?} of {seconds} s");
            assert!(world.seen().iter().all(|seen| seen.at < deadline), "{name}: {call}: sent too late");
            let fails = if is_write { writes_fail } else { reads_fail };
            assert_eq!(outcome.is_err(), fails, "{name}: {call} within {seconds} s: {outcome:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_azure_that_never_answers() {
    check("silence", true, true, |world| {
        world.emulator.set_latency(Latency { accept: HOUR, ..Latency::default() });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn operations_that_never_end() {
    check("endless", false, true, |world| world.emulator.set_latency(Latency::fixed(HOUR))).await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_without_end() {
    for status in [429, 500, 503] {
        let storm = || answer(status, Value::Null, &[]);
        check("storm", true, true, |world| world.script_many("", "", 10_000, storm())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_that_asks_for_patience() {
    let storm = || answer(503, Value::Null, &[("retry-after", "3")]);
    check("patience", true, true, |world| world.script_many("", "", 10_000, storm())).await;
}

#[tokio::test(start_paused = true)]
async fn polls_that_are_never_answered_well() {
    let storms = [
        answer(503, Value::Null, &[]),
        answer(429, Value::Null, &[("retry-after", "40")]),
        Action::LoseAnswer,
    ];
    for storm in storms {
        check("polls", false, true, |world| world.script_many("GET", "perations/", 10_000, storm.clone()))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_never_settles() {
    let updating = json!({ "id": disk("a").as_str(), "name": "a", "location": "x",
        "properties": { "provisioningState": "Migrating", "creationData": { "createOption": "Empty" } } });
    let (world, _) = filled().await;
    world.script_many("GET", "/disks/a", 10_000, answer(200, updating, &[]));
    let begun = Instant::now();
    let error = refused(world.arm.settled_disk(&disk("a"), within(100)).await);
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() <= Duration::from_secs(100));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_too_late_asks_nothing_and_did_nothing() {
    let (world, vm) = filled().await;
    let deadline = Instant::now();
    advance(Duration::from_secs(1)).await;
    for (call, is_write, run) in CALLS {
        let error = refused(run(world.arm.clone(), vm.clone(), deadline).await);
        assert_eq!(error.kind(), ErrorKind::Timeout, "{call}: {error}");
        assert!(!is_write || error.is_definite_refusal(), "{call}: {error}");
        assert!(world.seen().is_empty(), "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_not_answered_in_time_may_have_been_done() {
    for (call, is_write, run) in CALLS {
        let (world, vm) = filled().await;
        world.emulator.set_latency(Latency { accept: HOUR, ..Latency::default() });
        let error = refused(run(world.arm.clone(), vm, within(10)).await);
        assert_eq!(error.kind(), ErrorKind::Timeout, "{call}: {error}");
        assert!(!is_write || !error.is_definite_refusal(), "{call}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hung_read_is_given_up_and_read_again() {
    for (call, is_write, run) in CALLS {
        if is_write {
            continue;
        }
        let (world, vm) = filled().await;
        world.emulator.set_latency(Latency { accept: HOUR, ..Latency::default() });
        let begun = Instant::now();
        let recovers = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            world.emulator.set_latency(Latency::default());
        };
        let (outcome, ()) = tokio::join!(run(world.arm.clone(), vm, within(60)), recovers);
        outcome.unwrap_or_else(|error| panic!("{call}: {error}"));
        assert!(begun.elapsed() < Duration::from_secs(8), "{call}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn no_read_takes_more_than_fifteen_seconds_of_a_call() {
    for (call, is_write, run) in CALLS {
        if is_write {
            continue;
        }
        let (world, vm) = filled().await;
        world.emulator.set_latency(Latency { accept: HOUR, ..Latency::default() });
        let begun = Instant::now();
        let error = refused(run(world.arm.clone(), vm, within(600)).await);
        assert_eq!(error.kind(), ErrorKind::Transient, "{call}: {error}");
        let took = begun.elapsed();
        assert!(took <= Duration::from_secs(15) && world.seen().len() > 1, "{call}: {took:?}");
    }
}
