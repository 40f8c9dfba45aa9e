//! What drivers of this kind have been seen to do wrong when they attach and detach, and what is kept here instead.
//!
//! | elsewhere | kept by |
//! |---|---|
//! | any error of a detach is followed by force | `cluster::force_comes_only_after_a_detach_that_could_not_be_carried_out_on_a_node_out_of_service` |
//! | an error with the words "not found" is an OK to unpublish | `words_of_a_refusal_do_not_make_an_unpublish_ok` |
//! | a disk that cannot be read is "not found", or is attached unseen | `a_disk_that_cannot_be_read_is_neither_missing_nor_attached` |
//! | more disks than places: none is attached | `attach::too_many_disks_overflow_and_the_rest_attaches` |
//! | a disk that was left behind needs a second call to move | `cluster::a_disk_that_was_left_behind_moves_in_one_call` |
//! | a disk is deleted while it is being attached | `attach::a_disk_being_attached_is_not_deleted` |
//! | every attach waits for every detach, as if the VM were full | `an_attach_with_room_waits_for_no_detach` |
//! | a VM is believed to be full for minutes after it was | `a_vm_that_was_full_takes_a_disk_as_soon_as_one_is_gone` |
//! | the context of one volume delays all volumes | `a_delay_that_one_volume_asks_for_delays_nobody` |
//! | a detach of nothing writes the VM, from memory | `a_detach_of_nothing_writes_nothing_to_any_kind_of_vm`, `engine::a_detach_of_what_is_not_attached_is_one_read` |
//! | each call asks Kubernetes | `e2e/tests/kubernetes`: `no_call_asks_kubernetes` |
//! | a caller that is given up keeps waiting for the lock of its VM | `who_waits_behind_a_long_update_is_answered_in_his_own_time`, `engine::what_its_caller_gave_up_before_it_was_begun_is_not_begun` |
//! | the first caller of a batch takes the others along when it ends | `the_impatient_take_nobody_along`, `who_hangs_up_takes_nobody_along` |

use std::time::Duration;

use azure_emulator::{Action, Fault};
use csi::v1::controller_server::Controller as _;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::world::*;

const UPDATE: &str = "attachDetachDataDisks";
const OPERATION: Duration = Duration::from_secs(30);

async fn volumes<const N: usize>(world: &World, names: [&str; N]) -> Vec<String> {
    join_all(names.map(async |name| world.volume(name).await.volume_id)).await
}

fn refused(status: u16, body: Value) -> Action {
    Action::Answer { status, body, headers: vec![] }
}

fn with_code(status: u16, code: &str, message: &str) -> Action {
    refused(status, json!({"error": {"code": code, "message": message}}))
}

/// How many requests that may change something Azure has seen since the log was emptied.
fn writes(world: &World) -> usize {
    world.azure.requests().iter().filter(|one| one.method != "GET").count()
}

async fn publish_within(world: &World, id: &str, time: Duration) -> Answer<()> {
    let request = to_publish(id, "node-a", strings([]));
    world.controller.controller_publish_volume(within(request, time)).await.map(|_| ())
}

/// Elsewhere: a refusal that says "key vault key was not found" frees a disk that its VM still has.
#[tokio::test(start_paused = true)]
async fn words_of_a_refusal_do_not_make_an_unpublish_ok() {
    let failed = |code: &str| Action::FailOperation {
        canceled: false,
        code: code.into(),
        message: "the key vault key was not found".into(),
    };
    let rows = [
        ("POST", UPDATE, with_code(400, "InvalidParameter", "key vault key was not found")),
        ("POST", UPDATE, with_code(400, "KeyVaultKeyNotFound", "key vault key was not found")),
        ("POST", UPDATE, with_code(403, "LinkedAuthorizationFailed", "the identity was not found")),
        ("POST", UPDATE, with_code(409, "Conflict", "not found")),
        ("POST", UPDATE, failed("KeyVaultKeyNotFound")),
        ("POST", UPDATE, failed("NotFound")),
        ("GET", "/virtualMachines/node-a", refused(404, json!("<html>404 Not Found</html>"))),
        ("GET", "/virtualMachines/node-a", with_code(404, "NotFound", "not found")),
        ("GET", "/virtualMachines/node-a", with_code(403, "AuthorizationFailed", "the role was not found")),
    ];
    for (method, path, action) in rows {
        let world = World::new();
        let id = world.volume("pvc-1").await.volume_id;
        world.publish(&id, "node-a").await.unwrap();
        world.azure.script(Fault::on(method, path, action.clone()).times(1000));
        let answer = world.unpublish(&id, "node-a").await;
        assert_eq!(world.luns("node-a"), ["0"], "{action:?}");
        assert!(answer.is_err(), "OK to {method} {path}: {action:?}");
        world.azure.clear_faults();
        tokio::time::advance(Duration::from_mins(2)).await;
        world.unpublish(&id, "node-a").await.unwrap();
        assert!(world.luns("node-a").is_empty(), "{action:?}");
    }
}

/// Elsewhere: 403 is "not found", and a slow answer means an attach without its holder, size and encryption set.
#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_read_is_neither_missing_nor_attached() {
    let throttled = |seconds: &str| Action::Answer {
        status: 429,
        body: json!({"error": {"code": "TooManyRequests", "message": "later"}}),
        headers: vec![("retry-after".into(), seconds.into())],
    };
    let rows = [
        (with_code(403, "AuthorizationFailed", "no"), Code::PermissionDenied),
        (with_code(401, "InvalidAuthenticationToken", "no"), Code::Unauthenticated),
        (refused(404, json!("<html>404 Not Found</html>")), Code::Unavailable),
        (refused(503, json!("<html>busy</html>")), Code::Unavailable),
        (throttled("60"), Code::Unavailable),
        (refused(200, json!("<html>a page</html>")), Code::Internal),
        (Action::LoseRequest, Code::Unavailable),
    ];
    for (action, want) in rows {
        let world = World::new();
        let id = world.volume("pvc-1").await.volume_id;
        world.azure.reset_requests();
        world.azure.script(Fault::on("GET", "/disks/pvc-1", action.clone()).times(1000));
        let error = world.publish(&id, "node-a").await.unwrap_err();
        assert_eq!((error.code(), writes(&world)), (want, 0), "{action:?}: {error}");
        assert!(error.message().contains("pvc-1"), "{error}");
    }
}

/// Elsewhere: an attach waits for all detaches of its VM, also where nothing is full.
#[tokio::test(start_paused = true)]
async fn an_attach_with_room_waits_for_no_detach() {
    let world = World::slow(OPERATION);
    let ids = volumes(&world, ["pvc-1", "pvc-2", "pvc-3"]).await;
    world.publish(&ids[0], "node-a").await.unwrap();
    let alone = Instant::now();
    world.publish(&ids[1], "node-a").await.unwrap();
    let alone = alone.elapsed();
    let begun = Instant::now();
    let (gone, lun) = tokio::join!(world.unpublish(&ids[0], "node-a"), async {
        let lun = world.publish(&ids[2], "node-a").await;
        (lun, begun.elapsed())
    });
    assert_eq!((gone.is_ok(), lun.0.unwrap()), (true, "2".to_owned()));
    assert!(lun.1 < alone + Duration::from_secs(1), "{:?}, alone {alone:?}", lun.1);
}

/// Elsewhere: that a VM was full is remembered for five minutes.
#[tokio::test(start_paused = true)]
async fn a_vm_that_was_full_takes_a_disk_as_soon_as_one_is_gone() {
    let world = World::new();
    let ids = volumes(&world, ["pvc-1", "pvc-2", "pvc-3", "pvc-4", "pvc-5"]).await;
    for id in &ids[..4] {
        world.publish(id, "node-a").await.unwrap();
    }
    assert_eq!(code(world.publish(&ids[4], "node-a").await), Code::ResourceExhausted);
    world.unpublish(&ids[1], "node-a").await.unwrap();
    let begun = Instant::now();
    assert_eq!(world.publish(&ids[4], "node-a").await.unwrap(), "1");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// Elsewhere: the delay that one volume's context asks for becomes the delay of the whole process.
#[tokio::test(start_paused = true)]
async fn a_delay_that_one_volume_asks_for_delays_nobody() {
    let world = World::new();
    let ids = volumes(&world, ["pvc-1", "pvc-2", "pvc-3"]).await;
    let begun = Instant::now();
    let context = [("requestedsizegib", "1"), ("attachDiskInitialDelay", "30000")];
    world.published(&ids[0], "node-a", context).await.unwrap();
    world.publish(&ids[1], "node-a").await.unwrap();
    world.publish(&ids[2], "node-b").await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// Elsewhere: such a detach puts back a list from memory, and takes another's disk away with it.
#[tokio::test(start_paused = true)]
async fn a_detach_of_nothing_writes_nothing_to_any_kind_of_vm() {
    for is_by_list in [false, true] {
        let world = World::new();
        let no_right = with_code(403, "AuthorizationFailed", "no");
        if is_by_list {
            world.azure.script(Fault::on("POST", UPDATE, no_right).times(1000));
        }
        let mut nodes = vec!["node-a".to_owned()];
        nodes.extend(world.azure.add_scale_set("pool", "pool", "Standard_D2s_v5", &[], 1).unwrap());
        nodes.extend(world.azure.add_flexible_scale_set("flex", "flex", "Standard_D2s_v5", &[], 1).unwrap());
        let ids = volumes(&world, ["pvc-1", "pvc-2"]).await;
        for node in &nodes {
            world.publish(&ids[0], node).await.unwrap();
            world.unpublish(&ids[0], node).await.unwrap();
            world.restarted().publish(&ids[1], node).await.unwrap();
            world.azure.reset_requests();
            world.unpublish(&ids[0], node).await.unwrap();
            assert_eq!(writes(&world), 0, "{node}");
            let attached = world.azure.attached();
            let (_, luns) = attached.iter().find(|(id, _)| id.ends_with(node)).unwrap();
            assert_eq!(luns.as_object().unwrap().len(), 1, "{node}");
            world.unpublish(&ids[1], node).await.unwrap();
            assert_eq!(world.requests("PUT", node) > 0, is_by_list, "{node}");
        }
    }
}

/// Elsewhere: a call whose time is over stays in the queue for the lock of its VM.
#[tokio::test(start_paused = true)]
async fn who_waits_behind_a_long_update_is_answered_in_his_own_time() {
    let world = World::new();
    let ids = volumes(&world, ["pvc-1", "pvc-2"]).await;
    world.azure.script(Fault::on("POST", UPDATE, Action::HangOperation { ms: Some(300_000) }));
    let long = tokio::spawn({
        let (world, id) = (world.clone(), ids[0].clone());
        async move { publish_within(&world, &id, Duration::from_mins(10)).await }
    });
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let late = publish_within(&world, &ids[1], Duration::from_secs(5)).await;
    assert_eq!(code(late), Code::DeadlineExceeded);
    assert!(begun.elapsed() <= Duration::from_millis(5100), "{:?}", begun.elapsed());
    long.await.unwrap().unwrap();
}

/// Elsewhere: the time of whoever came first is the time of all.
#[tokio::test(start_paused = true)]
async fn the_impatient_take_nobody_along() {
    let world = World::slow(OPERATION);
    let ids = volumes(&world, ["pvc-1", "pvc-2", "pvc-3"]).await;
    let (first, second, third) = tokio::join!(
        publish_within(&world, &ids[0], Duration::from_secs(5)),
        publish_within(&world, &ids[1], Duration::from_mins(2)),
        publish_within(&world, &ids[2], Duration::from_mins(2)),
    );
    assert_eq!(code(first), Code::DeadlineExceeded);
    assert_eq!((second.is_ok(), third.is_ok(), world.requests("POST", UPDATE)), (true, true, 1));
}

/// Elsewhere: the update of all is cancelled with the call that happened to send it.
#[tokio::test(start_paused = true)]
async fn who_hangs_up_takes_nobody_along() {
    let world = World::slow(OPERATION);
    let ids = volumes(&world, ["pvc-1", "pvc-2"]).await;
    let hung_up = timeout(Duration::from_secs(5), publish_within(&world, &ids[0], Duration::from_mins(2)));
    let (first, second) = tokio::join!(hung_up, publish_within(&world, &ids[1], Duration::from_mins(2)));
    assert!(first.is_err(), "it was to hang up in the middle");
    second.unwrap();
    assert_eq!((world.requests("POST", UPDATE), world.luns("node-a").len()), (1, 2));
}
