//! Many reads, and many updates, at once: Azure grants one identity so few reads that a list has to stand for them,
//! and nobody must get another answer for it.

use std::time::Duration;

use azure::{Deadline, DiskId, Error, ErrorKind, VmId};
use azure_emulator::{Action, Fault, Latency, Throttling};
use futures::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::vms::attach;
use crate::world::{World, disk, within};

const MANY: usize = 40;

async fn disks(world: &World) -> Vec<DiskId> {
    let mut ids = Vec::new();
    for number in 0..MANY {
        ids.push(world.disk(&format!("pvc-{number}")).await);
    }
    // Answers take as long as Azure's, or nobody would meet anybody.
    world.emulator.set_latency(Latency::realistic(1));
    ids
}

/// The names that Azure tells for these ids, all asked for at once.
async fn names(world: &World, ids: &[DiskId], deadline: Deadline) -> Vec<Result<String, Error>> {
    let read = |id: DiskId| async move { world.arm.disk_of_many(&id, deadline).await.map(|disk| disk.name) };
    join_all(ids.iter().cloned().map(read)).await
}

fn refuse_lists(status: u16, code: &str) -> Fault {
    let body = json!({"error": {"code": code, "message": "no"}});
    let headers = vec![("retry-after".into(), "20".into())];
    Fault::on("GET", "/disks?", Action::Answer { status, body, headers }).times(9)
}

#[tokio::test(start_paused = true)]
async fn many_disks_are_read_in_a_list_and_the_answers_are_the_same() {
    let lists_refused = [
        None,
        Some((403, "AuthorizationFailed")),
        Some((429, "TooManyRequests")),
        Some((500, "InternalServerError")),
    ];
    for refused in lists_refused {
        let world = World::new();
        let mut ids = disks(&world).await;
        let wanted: Vec<String> = ids.iter().map(|id| id.name().to_owned()).collect();
        // Asked for twice, by another spelling, and one that does not exist.
        ids.push(ids[0].as_str().to_uppercase().parse().unwrap());
        ids.push(disk("none"));
        if let Some((status, code)) = refused {
            world.emulator.script(refuse_lists(status, code));
        }
        world.seen();
        let mut got = names(&world, &ids, within(60)).await;
        let none = got.pop().unwrap().unwrap_err();
        assert_eq!((none.kind(), none.operation()), (ErrorKind::NotFound, "read disk"), "{refused:?}");
        let same = got.pop().unwrap().unwrap();
        assert_eq!(same, wanted[0], "{refused:?}");
        let got: Vec<String> = got.into_iter().map(Result::unwrap).collect();
        assert_eq!(got, wanted, "{refused:?}");
        let requests = world.seen().len();
        let most = if refused.is_none() { 9 } else { 50 };
        assert!(requests <= most, "{requests} requests, lists refused: {refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_or_has_no_time_holds_up_nobody() {
    let world = World::new();
    let ids = disks(&world).await;
    let hung_up = tokio::time::timeout(Duration::from_millis(10), names(&world, &ids, within(60)));
    assert!(hung_up.await.is_err());
    let late = names(&world, &ids, Instant::now()).await;
    assert!(late.iter().all(|answer| answer.as_ref().unwrap_err().kind() == ErrorKind::Timeout), "{late:?}");
    assert!(names(&world, &ids, within(60)).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn where_azure_takes_no_reads_the_impatient_are_told_at_once_and_the_others_wait() {
    let world = World::new();
    let ids = disks(&world).await;
    world.emulator.set_throttling(Throttling::Real { speed: 1 });
    world.emulator.set_bucket("subscription-reads", None, 0).unwrap();
    let refused = world.arm.disk_of_many(&ids[0], Instant::now() + Duration::from_millis(900)).await;
    assert!(matches!(refused.unwrap_err().kind(), ErrorKind::Throttled { .. }));
    let begun = Instant::now();
    let (hurried, patient) = tokio::join!(
        async { (names(&world, &ids[..9], begun + Duration::from_millis(900)).await, begun.elapsed()) },
        names(&world, &ids, within(60)),
    );
    let (hurried, after) = hurried;
    assert!(after <= Duration::from_millis(50), "told after {after:?}");
    let is_throttled = |answer: &Result<String, Error>| {
        matches!(answer.as_ref().unwrap_err().kind(), ErrorKind::Throttled { retry_after: Some(_) })
    };
    assert!(hurried.iter().all(is_throttled), "{hurried:?}");
    assert!(patient.iter().all(Result::is_ok));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// Forty VMs get a disk each at once; how many requests that took, and how long.
async fn attach_everywhere(world: &World, operation: Duration) -> (usize, Duration) {
    let ids = disks(world).await;
    let vms: Vec<VmId> = (0..MANY).map(|number| world.vm(&format!("node-{number}"))).collect();
    world.emulator.set_latency(Latency::fixed(operation));
    world.seen();
    let begun = Instant::now();
    let attach = |(vm, id): (&VmId, &DiskId)| {
        let (vm, changes) = (vm.clone(), attach(id, 0));
        async move { world.arm.change_disks(&vm, &changes, within(600)).await.unwrap() }
    };
    join_all(vms.iter().zip(&ids).map(attach)).await;
    (world.seen().len(), begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn many_updates_are_seen_to_end_by_lists() {
    let operation = Duration::from_secs(20);
    let (requests, took) = attach_everywhere(&World::new(), operation).await;
    assert!(took < operation + Duration::from_millis(500), "{took:?}");
    // 40 updates and the polls that see their ends, a list every 0.3 s, and what the first few poll by themselves.
    assert!(requests < 2 * MANY + 70 + 60, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn where_vms_cannot_be_listed_each_operation_is_polled() {
    let world = World::new();
    let body = json!({"error": {"code": "AuthorizationFailed", "message": "no"}});
    let no = Action::Answer { status: 403, body, headers: vec![] };
    world.emulator.script(Fault::on("GET", "/virtualMachines?", no).times(99));
    let operation = Duration::from_secs(20);
    let (_, took) = attach_everywhere(&world, operation).await;
    assert!(took < operation + Duration::from_secs(5), "{took:?}");
}
