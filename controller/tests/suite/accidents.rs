//! Lost answers, hang-ups and restarts: whatever is cut, the repeated call converges and nothing is left.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::world::*;
use azure_emulator::{Action, Ending, Fault, Latency, Leaves, SUBSCRIPTION};
use csi::v1::CreateVolumeRequest;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tonic::Code;

fn id(kind: &str, name: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/{kind}/{name}")
}

const STEPS: usize = 11;

/// A step in the life of some volumes and a snapshot.
async fn step(world: &World, number: usize) -> Answer<()> {
    let (disk, copy, restored) = (id("disks", "pvc-1"), id("disks", "pvc-2"), id("disks", "pvc-3"));
    let snapshot = id("snapshots", "snap-1");
    match number {
        0 => world.create(wanted("pvc-1")).await.map(|_| ()),
        1 => world.publish(&disk, "node-a").await.map(|lun| assert_eq!(lun, "0")),
        2 => world.snapshot(&disk, "snap-1").await.map(|_| ()),
        3 => world.expand(&disk, 2 * GIB, 0).await.map(|bytes| assert_eq!(bytes, 2 * GIB)),
        4 => world.unpublish(&disk, "node-a").await,
        5 => world.modify(&disk, [("skuName", "Premium_LRS")]).await,
        6 => {
            let request =
                CreateVolumeRequest { volume_content_source: Some(from_volume(&disk)), ..sized("pvc-2", 2) };
            world.create(request).await.map(|_| ())
        }
        7 => {
            let source = Some(from_snapshot(&snapshot));
            let request = CreateVolumeRequest { volume_content_source: source, ..sized("pvc-3", 3) };
            world.create(request).await.map(|_| ())
        }
        8 => world.delete_snapshot(&snapshot).await,
        9 => world.delete(&disk).await,
        _ => {
            world.delete(&copy).await?;
            world.delete(&restored).await
        }
    }
}

/// What the step is for must be so after it answered OK.
fn check(world: &World, number: usize) {
    let sku = || world.azure.disk(&id("disks", "pvc-1")).unwrap()["sku"]["name"].clone();
    match number {
        1..=3 => assert_eq!(world.luns("node-a"), ["0"], "after step {number}"),
        4 => assert!(world.luns("node-a").is_empty()),
        5 => assert_eq!(sku(), json!("Premium_LRS")),
        8 => assert!(world.azure.snapshots().is_empty()),
        10 => assert!(world.azure.disks().is_empty()),
        _ => {}
    }
}

/// The whole life, each step repeated until it is done, each time by a restarted controller or always by
/// the same. A refusal on the way must be one on which a sidecar tries again and forgets nothing.
async fn live(world: &World, restarts: bool) {
    let mut world = world.clone();
    for number in 0..STEPS {
        let mut tries = 0;
        while let Err(error) = step(&world, number).await {
            let goes_on = matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Aborted);
            assert!(goes_on, "step {number}: {error}");
            tries += 1;
            assert!(tries < 10, "step {number} does not converge: {error}");
            if restarts {
                world = world.restarted();
            }
        }
        check(&world, number);
    }
}

/// How many requests an undisturbed life takes.
async fn undisturbed(latency: Duration) -> u64 {
    let world = World::slow(latency);
    live(&world, false).await;
    u64::try_from(world.azure.requests().len()).unwrap()
}

async fn every_request_once(action: Action, restarts: bool) {
    let latency = Duration::from_secs(2);
    for nth in 1..=undisturbed(latency).await {
        let world = World::slow(latency);
        world.azure.script(Fault::on("", "", action.clone()).nth(nth));
        live(&world, restarts).await;
    }
}

/// A disk was on the VM and left it, the next attach is cancelled and leaves it listed, and the disk is answered from
/// the time when the VM held it: that is no proof.
#[tokio::test(start_paused = true)]
async fn an_old_answer_of_a_disk_is_no_proof_of_an_attach_that_was_cancelled() {
    for (answers, settled) in [(1, true), (1, false), (3, true), (3, false)] {
        let world = World::slow(Duration::from_secs(2));
        let id = world.volume("pvc-1").await.volume_id;
        world.publish(&id, "node-a").await.unwrap();
        // From here on the past is remembered.
        let old = |changes| Action::StaleRead { ms: 0, changes };
        world.azure.script(Fault::on("GET", "/unrelated", old(0)));
        world.unpublish(&id, "node-a").await.unwrap();
        let (ending, leaves) = (Ending::Preempted, Leaves::Wanted);
        let cancelled = Action::EndOperation { ending, leaves, settled };
        world.azure.script(Fault::on("POST", "/attachDetachDataDisks", cancelled));
        // The first read is the one before the attach.
        world.azure.script(Fault::on("GET", "/disks/pvc-1", old(1)).nth(2).times(answers));
        assert_eq!(world.publish(&id, "node-a").await.unwrap(), "0");
        assert_eq!(world.luns("node-a"), ["0"], "{answers} old answers, settled: {settled}");
    }
}

/// The caller of a detach gave up before Azure's answer, which accepted it, and then the VM is answered from before it.
#[tokio::test(start_paused = true)]
async fn an_answer_of_a_vm_from_before_an_update_of_ours_is_not_believed() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    let (accept, operation) = (Duration::from_secs(1), Duration::from_secs(20));
    world.azure.set_latency(Latency { accept, operation, ..Latency::default() });
    let old = |changes| Action::StaleRead { ms: 0, changes };
    world.azure.script(Fault::on("GET", "/unrelated", old(0)));
    // The VM is read, and the update is sent.
    let given_up = world.unpublish_within(&id, "node-a", Duration::from_millis(1500)).await;
    assert_eq!((code(given_up), world.requests("POST", "Detach")), (Code::DeadlineExceeded, 2));
    world.azure.script(Fault::on("GET", "/virtualMachines/node-a", old(9)).times(3));
    assert_eq!(world.publish(&id, "node-a").await.unwrap(), "0");
    tokio::time::advance(operation).await;
    assert_eq!(world.luns("node-a"), ["0"]);
}

/// A controller sent an attach and died. The next one is answered the VM, and the disk, from before that.
#[tokio::test(start_paused = true)]
async fn what_a_controller_before_this_one_sent_is_waited_for() {
    for answers in [1, 2, 4] {
        let world = World::new();
        let id = world.volume("pvc-1").await.volume_id;
        let (accept, operation) = (Duration::from_millis(10), Duration::from_secs(20));
        world.azure.set_latency(Latency { accept, operation, ..Latency::default() });
        let old = |changes| Action::StaleRead { ms: 0, changes };
        world.azure.script(Fault::on("GET", "/unrelated", old(0)));
        let cut = world.publish_within(&id, "node-a", Duration::from_secs(5)).await;
        assert_eq!((code(cut), world.requests("POST", "Detach")), (Code::DeadlineExceeded, 1));
        let world = world.restarted();
        world.azure.script(Fault::on("GET", "/virtualMachines/node-a", old(9)).times(answers));
        world.azure.script(Fault::on("GET", "/disks/pvc-1", old(9)).times(answers));
        world.unpublish(&id, "node-a").await.unwrap();
        tokio::time::advance(2 * operation).await;
        assert!(world.luns("node-a").is_empty(), "{answers} old answers: it came back after an OK");
    }
}

/// A controller sent a detach and died. The next one is answered the VM from before that; the disk still names it.
#[tokio::test(start_paused = true)]
async fn a_disk_that_a_controller_before_this_one_was_detaching_is_not_told_to_be_there() {
    for answers in [1, 2, 4] {
        let world = World::new();
        let id = world.volume("pvc-1").await.volume_id;
        world.publish(&id, "node-a").await.unwrap();
        let (accept, operation) = (Duration::from_millis(10), Duration::from_secs(20));
        world.azure.set_latency(Latency { accept, operation, ..Latency::default() });
        let old = |changes| Action::StaleRead { ms: 0, changes };
        world.azure.script(Fault::on("GET", "/unrelated", old(0)));
        let cut = world.unpublish_within(&id, "node-a", Duration::from_secs(5)).await;
        assert_eq!((code(cut), world.requests("POST", "Detach")), (Code::DeadlineExceeded, 2));
        let world = world.restarted();
        world.azure.script(Fault::on("GET", "/virtualMachines/node-a", old(9)).times(answers));
        assert_eq!(world.publish(&id, "node-a").await.unwrap(), "0");
        tokio::time::advance(2 * operation).await;
        assert_eq!(world.luns("node-a"), ["0"], "{answers} old answers: it left after an OK");
    }
}

/// The VM is answered from before another controller attached a disk at the LUN that is chosen then.
#[tokio::test(start_paused = true)]
async fn a_lun_that_somebody_took_meanwhile_is_no_fault_of_the_call() {
    let world = World::new();
    let (ours, theirs) = (world.volume("pvc-1").await.volume_id, world.volume("pvc-2").await.volume_id);
    let old = |changes| Action::StaleRead { ms: 0, changes };
    world.azure.script(Fault::on("GET", "/unrelated", old(0)));
    assert_eq!(world.restarted().publish(&theirs, "node-a").await.unwrap(), "0");
    world.azure.script(Fault::on("GET", "/virtualMachines/node-a", old(9)).times(2));
    assert_eq!(world.publish(&ours, "node-a").await.unwrap(), "1");
    assert_eq!((world.requests("POST", "Detach"), world.luns("node-a").len()), (3, 2));
}

/// The list of a VM's disks is read before it is written, and Azure throttles that: by the time that it answers, the
/// caller may have been told by another controller that the disk is where it was.
#[tokio::test(start_paused = true)]
async fn a_list_is_not_written_for_who_hung_up_while_it_could_not_be_read() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    let body = json!({"error": {"code": "AuthorizationFailed", "message": "no right to perform the action"}});
    let refused = Action::Answer { status: 403, body: body.clone(), headers: vec![] };
    world.azure.script(Fault::on("POST", "/attachDetachDataDisks", refused).times(u64::MAX));
    let headers = vec![("retry-after".into(), "5".into())];
    let throttled = Action::Answer { status: 429, body, headers };
    // The first read is the look at the VM.
    world.azure.script(Fault::on("GET", "/virtualMachines/node-a", throttled).nth(2));
    let hung_up = timeout(Duration::from_secs(1), world.unpublish(&id, "node-a")).await;
    assert!(hung_up.is_err(), "{hung_up:?}");
    sleep(Duration::from_mins(1)).await;
    assert_eq!((world.requests("PUT", "/virtualMachines"), world.luns("node-a").len()), (0, 1));
    world.unpublish(&id, "node-a").await.unwrap();
}

/// A creation waits for Azure, which throttles; its caller asks another controller meanwhile, which makes the disk and
/// deletes it again. The first must not make it once more.
#[tokio::test(start_paused = true)]
async fn what_waits_to_be_written_is_written_only_for_who_is_still_there() {
    let headers = vec![("retry-after".into(), "20".into())];
    let body = json!({"error": {"code": "TooManyRequests", "message": "later"}});
    let throttled = Action::Answer { status: 429, body, headers };
    for comes_back in [false, true] {
        let world = World::new();
        world.azure.script(Fault::on("PUT", "/disks/pvc-1", throttled.clone()));
        let hung_up = timeout(Duration::from_secs(1), world.create(wanted("pvc-1"))).await;
        assert!(hung_up.is_err(), "{hung_up:?}");
        if comes_back {
            world.create(wanted("pvc-1")).await.unwrap();
        }
        sleep(Duration::from_mins(1)).await;
        assert_eq!(world.azure.disks().len(), usize::from(comes_back));
    }
}

/// After a detach the VM is answered from before it, again and again: six times in eight seconds.
#[tokio::test(start_paused = true)]
async fn a_detach_that_azure_refuses_as_done_waits_for_a_newer_answer() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    let old = |changes| Action::StaleRead { ms: 0, changes };
    world.azure.script(Fault::on("GET", "/virtualMachines/node-a", old(9)).nth(2).times(6));
    world.unpublish(&id, "node-a").await.unwrap();
    assert_eq!((world.requests("POST", "Detach"), world.luns("node-a").len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_after_any_request_converges() {
    every_request_once(Action::LoseAnswer, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_converges() {
    every_request_once(Action::LoseRequest, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_error_instead_of_any_answer_converges() {
    let body = json!({"error": {"code": "InternalServerError", "message": "an internal error"}});
    every_request_once(Action::Answer { status: 500, body, headers: vec![] }, true).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_writes_leaves_nothing_behind() {
    let body = json!({"error": {"code": "ServiceUnavailable", "message": "try later"}});
    let down = Action::Answer { status: 503, body, headers: vec![] };
    for method in ["PUT", "POST", "PATCH", "DELETE"] {
        let world = World::new();
        world.azure.script(Fault::on(method, "", down.clone()).times(40));
        let mut refused = 0;
        for number in 0..STEPS {
            while let Err(error) = step(&world, number).await {
                assert!(matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded), "{error}");
                refused += 1;
                assert!(refused < 60, "{method} of step {number} does not converge");
            }
            check(&world, number);
        }
        assert!(refused > 0, "{method}");
    }
}

/// Polls `call` so many times and hangs up; true if it was done by then.
async fn hang_up_after<F: Future>(polls: usize, call: F) -> bool {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        call.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_hang_up_at_any_await_and_the_same_call_again_converge() {
    for number in 0..STEPS {
        for polls in 1.. {
            let world = World::slow(Duration::from_secs(2));
            for before in 0..number {
                step(&world, before).await.unwrap();
            }
            let was_done = hang_up_after(polls, step(&world, number)).await;
            step(&world, number).await.unwrap();
            check(&world, number);
            if was_done {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_azure_refuses_for_good_is_final() {
    let rows = [
        (403, "AuthorizationFailed", Code::PermissionDenied),
        (409, "QuotaExceeded", Code::ResourceExhausted),
        (409, "SkuNotAvailable", Code::ResourceExhausted),
        (400, "InvalidParameter", Code::InvalidArgument),
    ];
    for (status, azure_code, want) in rows {
        let world = World::new();
        let body = json!({"error": {"code": azure_code, "message": "no"}});
        world.azure.script(Fault::on("PUT", "/disks/", Action::Answer { status, body, headers: vec![] }));
        let error = world.create(wanted("pvc-1")).await.unwrap_err();
        assert_eq!(error.code(), want, "{error}");
        assert!(error.message().contains("pvc-1") && error.message().contains(azure_code), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_ended_badly_is_made_good_by_the_next_call() {
    let world = World::new();
    let failed =
        Action::FailOperation { canceled: false, code: "Whatever".into(), message: "it failed".into() };
    world.azure.script(Fault::on("PUT", "/disks/", failed));
    assert_eq!(code(world.create(wanted("pvc-1")).await), Code::Unavailable);
    let volume = world.create(wanted("pvc-1")).await.unwrap();
    let disk = world.azure.disk(&volume.volume_id).unwrap();
    assert_eq!(disk["properties"]["provisioningState"], json!("Succeeded"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_lost_attempt_is_not_final() {
    let world = World::new();
    let body = json!({"error": {"code": "AuthorizationFailed", "message": "no"}});
    let refused = Action::Answer { status: 403, body, headers: vec![] };
    world.azure.script(Fault::on("PUT", "/disks/", Action::LoseRequest));
    world.azure.script(Fault::on("PUT", "/disks/", refused).nth(2));
    assert_eq!(code(world.create(wanted("pvc-1")).await), Code::Unavailable);
    assert_eq!(world.requests("PUT", "/disks/"), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_where_looking_failed() {
    let world = World::new();
    let body = json!({"error": {"code": "AuthorizationFailed", "message": "no"}});
    world.azure.script(Fault::on("GET", "/disks/", Action::Answer { status: 403, body, headers: vec![] }));
    assert_eq!(code(world.create(wanted("pvc-1")).await), Code::PermissionDenied);
    assert_eq!(world.requests("PUT", "/disks/"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_azure_could_not_carry_out_leaves_no_disk_in_the_way() {
    let world = World::new();
    let full =
        Action::FailOperation { canceled: false, code: "SkuNotAvailable".into(), message: "full".into() };
    world.azure.script(Fault::on("PUT", "/disks/", full));
    let request =
        |zone| CreateVolumeRequest { accessibility_requirements: Some(in_zone(zone)), ..wanted("pvc-1") };
    assert_eq!(code(world.create(request("eastus2-1")).await), Code::ResourceExhausted);
    assert!(world.azure.disks().is_empty());
    world.create(request("eastus2-2")).await.unwrap();
}
