//! What the attach engine owes its callers when Azure is slow, busy or asked for two things at once.

use std::time::Duration;

use azure_emulator::{Action, Emulator, Ending, Fault, Latency, Leaves, Options};
use csi::v1::controller_server::Controller as _;
use futures::future::join_all;
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use crate::world::*;

const UPDATE: &str = "attachDetachDataDisks";

#[tokio::test(start_paused = true)]
async fn of_two_nodes_that_ask_for_one_disk_one_wins() {
    let world = World::slow(Duration::from_secs(6));
    let id = world.volume("pvc-1").await.volume_id;
    let (one, other) = tokio::join!(world.publish(&id, "node-a"), world.publish(&id, "node-b"));
    let answers = [one.map(|_| ()), other.map(|_| ())];
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let loser = answers.into_iter().find_map(Result::err).unwrap();
    assert_eq!(loser.code(), Code::FailedPrecondition, "{loser}");
    assert_eq!(world.requests("POST", UPDATE), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_that_begin_together_share_an_update_however_long_their_reads_take() {
    for seed in 1..=20 {
        let azure = Emulator::new(Options { strict: true, ..Options::default() }).unwrap();
        azure.add_vm("node-a", "Standard_D64s_v5", "").unwrap();
        let world = World::on(azure);
        let mut ids = Vec::new();
        for number in 0..17 {
            ids.push(world.volume(&format!("pvc-{number}")).await.volume_id);
        }
        world.publish(&ids[16], "node-a").await.unwrap();
        world.azure.set_latency(Latency::realistic(seed));
        world.azure.reset_requests();
        let publish = join_all(ids[..16].iter().map(|id| world.publish(id, "node-a")));
        let (published, unpublished) = tokio::join!(publish, world.unpublish(&ids[16], "node-a"));
        assert!(published.iter().all(Result::is_ok) && unpublished.is_ok(), "{published:?} {unpublished:?}");
        assert_eq!(world.requests("POST", UPDATE), 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_its_caller_gave_up_before_it_was_begun_is_not_begun() {
    let world = World::new();
    let ids = [world.volume("pvc-1").await.volume_id, world.volume("pvc-2").await.volume_id];
    world.azure.set_latency(Latency::fixed(Duration::from_mins(1)));
    let busy = tokio::spawn({
        let (world, id) = (world.clone(), ids[0].clone());
        async move { world.publish_within(&id, "node-a", Duration::from_mins(10)).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let hung_up = world.publish_within(&ids[1], "node-a", Duration::from_mins(10));
    assert!(tokio::time::timeout(Duration::from_secs(1), hung_up).await.is_err());
    busy.await.unwrap().unwrap();
    world.tasks.close();
    world.tasks.wait().await;
    assert_eq!(world.luns("node-a"), ["0"]);
    assert_eq!(world.requests("POST", UPDATE), 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_vm_tells_who_cannot_wait_and_gathers_the_others_into_one_update() {
    let world = World::new();
    let names = ["pvc-1", "pvc-2", "pvc-3", "pvc-4"];
    let ids = join_all(names.map(async |name| world.volume(name).await.volume_id)).await;
    let body = json!({"error": {"code": "OperationNotAllowed", "message": "too many requests"}});
    let throttled = Action::Answer { status: 429, body, headers: vec![("retry-after".into(), "120".into())] };
    world.azure.script(Fault::on("POST", UPDATE, throttled));
    world.azure.reset_requests();
    let begun = Instant::now();
    let patient = |id: &String| {
        let (world, id) = (world.clone(), id.clone());
        tokio::spawn(async move { world.publish_within(&id, "node-a", Duration::from_mins(10)).await })
    };
    let waiting = [patient(&ids[0]), patient(&ids[1])];
    for second in 1..4 {
        tokio::time::sleep_until(begun + Duration::from_secs(second)).await;
        let asked = Instant::now();
        let error = world.publish_within(&ids[2], "node-a", Duration::from_secs(15)).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.message().contains(&format!("in {} s", 120 - second)), "{error}");
        assert!(asked.elapsed() <= Duration::from_millis(50), "told after {:?}", asked.elapsed());
    }
    world.publish_within(&ids[3], "node-b", Duration::from_secs(15)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "another VM does not wait");
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert_eq!(begun.elapsed().as_secs(), 120);
    assert_eq!(world.requests("POST", "/node-a/attach"), 2, "the refused one and one for both");
    assert_eq!(world.luns("node-a").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_ok_while_an_attach_that_nobody_waits_for_can_land() {
    const PATIENCE: Duration = Duration::from_secs(15);
    let minutes = Duration::from_mins(5);
    for restarts in [false, true] {
        let mut world = World::new();
        let id = world.volume("pvc-1").await.volume_id;
        world.azure.script(Fault::on("POST", UPDATE, Action::HangOperation { ms: Some(300_000) }));
        let begun = Instant::now();
        assert_eq!(code(world.publish_within(&id, "node-a", PATIENCE).await), Code::DeadlineExceeded);
        let mut told = 0;
        loop {
            if restarts {
                world = world.restarted();
            }
            let gone = world.unpublish_within(&id, "node-a", PATIENCE).await;
            let elsewhere = world.publish_within(&id, "node-b", PATIENCE).await;
            let (a, b) = (world.luns("node-a").len(), world.luns("node-b").len());
            assert!(a + b <= 1, "on two VMs");
            assert!(gone.is_err() || a == 0, "told OK after {:?}", begun.elapsed());
            if gone.is_ok() && elsewhere.is_ok() {
                break;
            }
            told += 1;
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert!(begun.elapsed() >= minutes && told > 5, "{told} after {:?}", begun.elapsed());
        assert!(begun.elapsed() < minutes * 2, "it converges soon after");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_nobody_brings_to_an_end_is_cleared_up() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let ending = Ending::Preempted;
    let left = Action::EndOperation { ending, leaves: Leaves::Wanted, settled: true };
    world.azure.script(Fault::on("POST", UPDATE, left));
    let begun = Instant::now();
    world.publish(&id, "node-a").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(world.luns("node-a").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_update_left_is_cleared_up_once_a_minute() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    world.azure.reset_requests();
    let ending = Ending::Failed { code: "InternalOperationError".into(), message: "no".into() };
    let left = Action::EndOperation { ending, leaves: Leaves::Wanted, settled: false };
    world.azure.script(Fault::on("POST", UPDATE, left).times(3));
    let begun = Instant::now();
    let mut calls = 0;
    while world.unpublish_within(&id, "node-a", Duration::from_secs(15)).await.is_err() {
        calls += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(calls > 5, "{calls}");
    assert_eq!(world.requests("POST", UPDATE), 4, "the detach, and three repairs");
    assert!(begun.elapsed() >= Duration::from_mins(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_azure_takes_only_later_is_made_then() {
    let world = World::new();
    let ids = [world.volume("pvc-1").await.volume_id, world.volume("pvc-2").await.volume_id];
    world.publish(&ids[0], "node-a").await.unwrap();
    let ending = Ending::Failed { code: "InternalOperationError".into(), message: "no".into() };
    let left = Action::EndOperation { ending, leaves: Leaves::Wanted, settled: false };
    world.azure.script(Fault::on("POST", UPDATE, left));
    world.unpublish_within(&ids[0], "node-a", Duration::from_secs(15)).await.unwrap_err();
    let body = json!({"error": {"code": "OperationNotAllowed", "message": "too many requests"}});
    let throttled = Action::Answer { status: 429, body, headers: vec![("retry-after".into(), "20".into())] };
    world.azure.script(Fault::on("POST", UPDATE, throttled));
    world.publish_within(&ids[1], "node-a", Duration::from_secs(5)).await.unwrap_err();
    let begun = Instant::now();
    world.unpublish_within(&ids[0], "node-a", Duration::from_mins(5)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_detach_of_what_is_not_attached_is_one_read() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    world.unpublish(&id, "node-a").await.unwrap();
    // So much later what another controller sent before this one can be seen.
    tokio::time::advance(Duration::from_secs(10)).await;
    world.azure.reset_requests();
    world.unpublish(&id, "node-a").await.unwrap();
    let asked = world.azure.requests();
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "GET"));
}

#[tokio::test(start_paused = true)]
async fn a_detach_while_somebody_changes_the_vm_waits_for_the_end() {
    let world = World::new();
    let ids = [world.volume("pvc-1").await.volume_id, world.volume("pvc-2").await.volume_id];
    world.azure.set_latency(Latency::fixed(Duration::from_secs(20)));
    let other = world.restarted();
    let begun = Instant::now();
    let (attached, detached) = tokio::join!(other.publish(&ids[0], "node-a"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.unpublish(&ids[1], "node-a").await.map(|()| begun.elapsed())
    });
    attached.unwrap();
    assert!(detached.unwrap() >= Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_disk_in_use_is_not_taken_out_because_a_read_lags() {
    let world = World::new();
    let ids = [world.volume("pvc-1").await.volume_id, world.volume("pvc-2").await.volume_id];
    let before = world.azure.disk(&ids[0]).unwrap();
    world.publish(&ids[0], "node-a").await.unwrap();
    world.publish(&ids[1], "node-a").await.unwrap();
    let ending = Ending::Failed { code: "InternalOperationError".into(), message: "no".into() };
    let failed = Action::EndOperation { ending, leaves: Leaves::Wanted, settled: false };
    world.azure.script(Fault::on("POST", UPDATE, failed));
    assert!(world.unpublish_within(&ids[1], "node-a", Duration::from_secs(5)).await.is_err());
    let lagging = Action::Answer { status: 200, body: before, headers: vec![] };
    world.azure.script(Fault::on("GET", "/disks/pvc-1", lagging).times(5));
    world.azure.reset_requests();
    let again = world.restarted();
    assert_eq!(again.publish(&ids[0], "node-a").await.unwrap(), "0");
    assert_eq!(world.requests("POST", UPDATE), 0);
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_more_patient_call_is_answered_in_his_own_time() {
    let world = World::slow(Duration::from_secs(30));
    let patient = tokio::spawn({
        let world = world.clone();
        async move { world.create(wanted("pvc-1")).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let joined = world.controller.create_volume(within(wanted("pvc-1"), Duration::from_secs(2))).await;
    assert_eq!(code(joined), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_millis(2100), "{:?}", begun.elapsed());
    patient.await.unwrap().unwrap();
}
