//! Publishing and unpublishing: one task per VM, one update for all, each caller its own result.

use std::time::Duration;

use crate::world::*;
use azure_emulator::{Action, Fault, Latency};
use csi::v1::controller_server::Controller as _;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::{ControllerPublishVolumeRequest, CreateVolumeRequest};
use futures::future::join_all;
use serde_json::json;
use tonic::{Code, Status};

const UPDATE: &str = "attachDetachDataDisks";

async fn volumes(world: &World, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("pvc-{number}")).collect();
    join_all(names.iter().map(async |name| world.volume(name).await.volume_id)).await
}

#[tokio::test(start_paused = true)]
async fn a_disk_gets_the_lowest_free_lun() {
    let world = World::new();
    let ids = volumes(&world, 3).await;
    assert_eq!(world.publish(&ids[0], "node-a").await.unwrap(), "0");
    assert_eq!(world.publish(&ids[1], "node-a").await.unwrap(), "1");
    world.unpublish(&ids[0], "node-a").await.unwrap();
    assert_eq!(world.publish(&ids[2], "node-a").await.unwrap(), "0");
    assert_eq!(world.luns("node-a"), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_becomes_one_update() {
    let world = World::slow(Duration::from_secs(6));
    let ids = volumes(&world, 4).await;
    world.azure.reset_requests();
    let luns = join_all(ids.iter().map(|id| world.publish(id, "node-a"))).await;
    // Each disk is read once; after an update the VM's model is enough.
    assert_eq!(world.requests("GET", "/disks/"), 4);
    let mut luns: Vec<String> = luns.into_iter().map(Result::unwrap).collect();
    luns.sort();
    assert_eq!(luns, ["0", "1", "2", "3"]);
    assert_eq!(world.requests("POST", UPDATE), 1);
    join_all(ids.iter().map(async |id| world.unpublish(id, "node-a").await.unwrap())).await;
    assert_eq!(world.requests("POST", UPDATE), 2);
}

#[tokio::test(start_paused = true)]
async fn attaches_and_detaches_share_an_update() {
    let world = World::slow(Duration::from_secs(6));
    let ids = volumes(&world, 2).await;
    world.publish(&ids[0], "node-a").await.unwrap();
    let (gone, lun) = tokio::join!(world.unpublish(&ids[0], "node-a"), world.publish(&ids[1], "node-a"));
    // The slot of a disk on its way out is not free yet.
    assert_eq!((gone.is_ok(), lun.unwrap()), (true, "1".to_owned()));
    assert_eq!(world.requests("POST", UPDATE), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_call_again_writes_nothing() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let first = world.publish(&id, "node-a").await.unwrap();
    assert_eq!(world.restarted().publish(&id, "node-a").await.unwrap(), first);
    assert_eq!(world.requests("POST", UPDATE), 1);
    world.unpublish(&id, "node-a").await.unwrap();
    world.restarted().unpublish(&id, "node-a").await.unwrap();
    assert_eq!(world.requests("POST", UPDATE), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_call_at_the_same_time_joins() {
    let world = World::slow(Duration::from_secs(6));
    let id = world.volume("pvc-1").await.volume_id;
    let (one, other) = tokio::join!(world.publish(&id, "node-a"), world.publish(&id, "NODE-A"));
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(world.requests("POST", UPDATE), 1);
}

#[tokio::test(start_paused = true)]
async fn the_opposite_waits_for_its_turn() {
    let world = World::slow(Duration::from_secs(6));
    let id = world.volume("pvc-1").await.volume_id;
    let (lun, gone) = tokio::join!(world.publish(&id, "node-a"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.unpublish(&id, "node-a").await
    });
    assert_eq!((lun.unwrap(), gone.is_ok()), ("0".to_owned(), true));
    assert!(world.luns("node-a").is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_missing_is_named() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    assert_eq!(code(world.publish("unknown", "node-a").await), Code::NotFound);
    assert_eq!(code(world.publish(&id.replace("pvc-1", "pvc-9"), "node-a").await), Code::NotFound);
    let error = world.publish(&id, "node-z").await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains("node-z"), "{error}");
    assert_eq!(code(world.publish(&id, "").await), Code::InvalidArgument);
    assert_eq!(code(world.unpublish("", "node-a").await), Code::InvalidArgument);
    world.unpublish("unknown", "node-a").await.unwrap();
    world.unpublish(&id, "node-z").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_on_another_node_is_not_taken_away() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    let error = world.publish(&id, "node-b").await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("pvc-1") && error.message().contains("node-a"), "{error}");
    assert_eq!(world.luns("node-a"), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn too_many_disks_overflow_and_the_rest_attaches() {
    let world = World::new();
    let ids = volumes(&world, 6).await;
    let answers = join_all(ids.iter().map(|id| world.publish(id, "node-a"))).await;
    let refused: Vec<Code> = answers.into_iter().filter_map(Result::err).map(|error| error.code()).collect();
    assert_eq!(refused, [Code::ResourceExhausted, Code::ResourceExhausted]);
    assert_eq!(world.luns("node-a").len(), 4);
    // The table knows the size, so that the overflow costs no update.
    assert_eq!(world.requests("POST", UPDATE), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_vm_with_a_disk_on_its_way_out_will_have_room() {
    let world = World::slow(Duration::from_secs(6));
    let ids = volumes(&world, 5).await;
    join_all(ids[..4].iter().map(async |id| world.publish(id, "node-a").await.unwrap())).await;
    let (gone, lun) = tokio::join!(world.unpublish(&ids[2], "node-a"), world.publish(&ids[4], "node-a"));
    assert!(gone.is_ok() && lun.is_ok(), "{lun:?}");
    assert_eq!(world.luns("node-a").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_bad_disk_does_not_fail_its_neighbours() {
    let world = World::new();
    let mut ids = volumes(&world, 3).await;
    let zonal =
        CreateVolumeRequest { accessibility_requirements: Some(in_zone("eastus2-1")), ..wanted("pvc-bad") };
    ids.insert(1, world.create(zonal).await.unwrap().volume_id);
    let answers = join_all(ids.iter().map(|id| world.publish(id, "node-a"))).await;
    let good: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true, true]);
    let error = answers[1].as_ref().unwrap_err();
    assert!(matches!(error.code(), Code::FailedPrecondition | Code::InvalidArgument), "{error}");
}

#[tokio::test(start_paused = true)]
async fn bad_disks_are_found_among_many_with_few_updates() {
    let world = World::new();
    world.azure.add_vm("large", "Standard_D16s_v5", "").unwrap();
    let mut ids = volumes(&world, 14).await;
    for at in [3, 9] {
        let zonal = CreateVolumeRequest {
            accessibility_requirements: Some(in_zone("eastus2-1")),
            ..wanted(&format!("bad-{at}"))
        };
        ids.insert(at, world.create(zonal).await.unwrap().volume_id);
    }
    let answers = join_all(ids.iter().map(|id| world.publish(id, "large"))).await;
    let bad: Vec<usize> = (0..answers.len()).filter(|at| answers[*at].is_err()).collect();
    assert_eq!((bad, world.luns("large").len()), (vec![3, 9], 14));
    assert!(world.requests("POST", UPDATE) < ids.len(), "{}", world.requests("POST", UPDATE));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_azure_names_is_refused_at_once_and_alone() {
    let world = World::new();
    let ids = volumes(&world, 4).await;
    let taken = json!({"error": {
        "code": "ConflictingUserInput",
        "target": ids[2],
        "message": "Cannot attach the disk because it is already attached to another VM.",
    }});
    world.azure.script(Fault::on(
        "POST",
        UPDATE,
        Action::Answer { status: 409, body: taken, headers: vec![] },
    ));
    let answers = join_all(ids.iter().map(|id| world.publish(id, "node-a"))).await;
    let codes: Vec<Option<Code>> =
        answers.iter().map(|answer| answer.as_ref().err().map(Status::code)).collect();
    assert_eq!(codes, [None, None, Some(Code::FailedPrecondition), None]);
    assert_eq!(world.requests("POST", UPDATE), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_found_out_within_the_call() {
    let world = World::slow(Duration::from_secs(6));
    let id = world.volume("pvc-1").await.volume_id;
    world.azure.script(Fault::on("POST", UPDATE, Action::LoseAnswer));
    assert_eq!(world.publish(&id, "node-a").await.unwrap(), "0");
    assert_eq!(world.requests("POST", UPDATE), 1);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_is_always_in_the_way_is_not_sent_for_ever() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let body = json!({"error": {"code": "Conflict", "message": "a concurrent request"}});
    world
        .azure
        .script(Fault::on("POST", UPDATE, Action::Answer { status: 409, body, headers: vec![] }).times(1000));
    assert_eq!(code(world.publish(&id, "node-a").await), Code::Unavailable);
    assert!(world.requests("POST", UPDATE) <= 30, "{}", world.requests("POST", UPDATE));
}

#[tokio::test(start_paused = true)]
async fn an_unpublish_without_a_node_means_every_node() {
    let world = World::new();
    let shared = of_class("pvc-1", [("skuName", "Premium_LRS"), ("maxShares", "2")]);
    let mode = vec![capability(Mode::MultiNodeMultiWriter, true)];
    let id =
        world.create(CreateVolumeRequest { volume_capabilities: mode, ..shared }).await.unwrap().volume_id;
    for node in ["node-a", "node-b"] {
        world.publish(&id, node).await.unwrap();
    }
    world.unpublish(&id, "").await.unwrap();
    assert!(world.luns("node-a").is_empty() && world.luns("node-b").is_empty());
    world.unpublish(&id, "").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_is_gone_holds_nothing() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    world.azure.delete_vm("node-a");
    world.unpublish(&id, "node-a").await.unwrap();
    assert_eq!(code(world.publish(&id, "node-a").await), Code::NotFound);
    world.publish(&id, "node-b").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn scale_set_vms_are_nodes_by_their_computer_name() {
    let world = World::new();
    world.azure.add_scale_set("pool", "pool", "Standard_D2s_v5", &["1"], 1).unwrap();
    let zonal =
        CreateVolumeRequest { accessibility_requirements: Some(in_zone("eastus2-1")), ..wanted("pvc-1") };
    let id = world.create(zonal).await.unwrap().volume_id;
    assert_eq!(world.publish(&id, "pool000000").await.unwrap(), "0");
    world.unpublish(&id, "pool000000").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn how_a_disk_is_attached_follows_the_disk() {
    let world = World::new();
    let caching = async |name: &str, gib: i64, class: [(&str, &str); 1], context: &str| {
        let request = CreateVolumeRequest { parameters: strings(class), ..sized(name, gib) };
        let id = world.create(request).await.unwrap().volume_id;
        let context = [("requestedsizegib", "1"), ("CachingMode", context)];
        world.published(&id, "node-a", context).await.unwrap();
        let vm = world.azure.vm(&vm_id("node-a")).unwrap();
        let entry = vm["properties"]["storageProfile"]["dataDisks"][0].clone();
        world.unpublish(&id, "node-a").await.unwrap();
        entry["caching"].clone()
    };
    let plain = [("skuName", "Premium_LRS")];
    assert_eq!(caching("pvc-1", 1, plain, "").await, json!("ReadOnly"));
    assert_eq!(caching("pvc-2", 1, plain, "readwrite").await, json!("ReadWrite"));
    assert_eq!(caching("pvc-3", 1, plain, "None").await, json!("None"));
    assert_eq!(caching("pvc-4", 4096, plain, "ReadOnly").await, json!("None"));
    assert_eq!(caching("pvc-5", 1, [("maxShares", "2")], "ReadOnly").await, json!("None"));
}

#[tokio::test(start_paused = true)]
async fn a_volume_nobody_provisioned_tells_the_node_what_its_class_would() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let context = world.published(&id, "node-a", [("unknown key", "of another driver")]).await.unwrap();
    assert_eq!((context["LUN"].as_str(), context["skuname"].as_str()), ("0", "StandardSSD_LRS"));
    assert_eq!(context["maxshares"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_call_out_of_time_says_so_and_the_next_one_finds_it_done() {
    let world = World::slow(Duration::from_secs(30));
    let id = world.volume("pvc-1").await.volume_id;
    let request = ControllerPublishVolumeRequest {
        volume_id: id.clone(),
        node_id: "node-a".into(),
        volume_capability: Some(capability(Mode::SingleNodeWriter, false)),
        ..Default::default()
    };
    let late = world.controller.controller_publish_volume(within(request, Duration::from_secs(10))).await;
    assert!(matches!(code(late), Code::Unavailable | Code::DeadlineExceeded));
    assert_eq!(world.publish(&id, "node-a").await.unwrap(), "0");
    assert_eq!(world.requests("POST", UPDATE), 1);
}

#[tokio::test(start_paused = true)]
async fn a_disk_being_attached_is_not_deleted() {
    let world = World::slow(Duration::from_secs(30));
    let id = world.volume("pvc-1").await.volume_id;
    let (lun, deleted) = tokio::join!(world.publish(&id, "node-a"), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.delete(&id).await
    });
    assert_eq!((lun.unwrap(), code(deleted)), ("0".to_owned(), Code::Aborted));
}

#[tokio::test(start_paused = true)]
async fn a_write_of_somebody_else_is_waited_for() {
    let world = World::slow(Duration::from_secs(20));
    let ids = volumes(&world, 2).await;
    let other = world.restarted();
    let (one, two) = tokio::join!(world.publish(&ids[0], "node-a"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        other.publish(&ids[1], "node-a").await
    });
    assert_eq!((one.unwrap(), two.unwrap()), ("0".to_owned(), "1".to_owned()));
    // A second update while the first goes on would end the first.
    let log = world.azure.requests();
    let sent: Vec<_> = log.iter().filter(|one| one.method == "POST").map(|one| one.at).collect();
    assert_eq!(sent.len(), 2);
    assert!(sent[1] - sent[0] >= 20_000, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_preempted_update_is_made_again() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let preempted = Action::FailOperation {
        canceled: false,
        code: "OperationPreempted".into(),
        message: "preempted by a more recent operation".into(),
    };
    world.azure.script(Fault::on("POST", UPDATE, preempted));
    assert_eq!(world.publish(&id, "node-a").await.unwrap(), "0");
    assert_eq!(world.luns("node-a"), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn an_unpublish_after_a_lost_attach_waits_until_that_cannot_land() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.azure.script(Fault::on("POST", UPDATE, Action::LoseRequest));
    let error = world.publish(&id, "node-a").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("pvc-1") && error.message().contains("node-a"), "{error}");
    assert_eq!(code(world.delete(&id).await), Code::Aborted);
    assert_eq!(code(world.unpublish(&id, "").await), Code::Aborted);
    let before = tokio::time::Instant::now();
    world.unpublish(&id, "node-a").await.unwrap();
    assert!(before.elapsed() > Duration::from_secs(10));
    world.delete(&id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_still_names_its_vm_is_not_called_unpublished() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    let still_held = world.azure.disk(&id).unwrap();
    let lingering = Action::Answer { status: 200, body: still_held, headers: vec![] };
    world.azure.script(Fault::on("GET", "/disks/pvc-1", lingering.clone()).times(3));
    world.azure.reset_requests();
    world.unpublish(&id, "node-a").await.unwrap();
    assert_eq!(world.requests("GET", "/disks/pvc-1"), 4);
    world.publish(&id, "node-a").await.unwrap();
    world.azure.script(Fault::on("GET", "/disks/pvc-1", lingering).times(1000));
    assert_eq!(code(world.unpublish(&id, "node-a").await), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn throttling_is_no_exhaustion() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let throttled = Action::Answer {
        status: 429,
        body: json!({"error": {"code": "OperationNotAllowed", "message": "too many requests"}}),
        headers: vec![("retry-after".into(), "1200".into())],
    };
    world.azure.script(Fault::on("POST", UPDATE, throttled));
    assert_eq!(code(world.publish(&id, "node-a").await), Code::Unavailable);
    world.azure.reset_requests();
    let again = world.publish(&id, "node-a").await.unwrap_err();
    assert_eq!((again.code(), world.requests("POST", UPDATE)), (Code::Unavailable, 0), "asked too early");
    assert!(again.message().contains("1200 s"), "{again}");
    tokio::time::advance(Duration::from_mins(20)).await;
    assert_eq!(world.publish(&id, "node-a").await.unwrap(), "0");
}

#[tokio::test(start_paused = true)]
async fn an_identity_without_the_right_to_the_delta_call_attaches_and_detaches() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let body = json!({"error": {"code": "AuthorizationFailed", "message": "no"}});
    let refused = Action::Answer { status: 403, body, headers: vec![] };
    world.azure.script(Fault::on("POST", UPDATE, refused).times(1000));
    assert_eq!(world.publish(&id, "node-a").await.unwrap(), "0");
    world.unpublish(&id, "node-a").await.unwrap();
    assert_eq!(world.requests("POST", UPDATE), 1, "found out once");
    assert!(world.azure.attached().values().all(|luns| luns == &json!({})));
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_when_nothing_is_queued() {
    let world = World::new();
    world.azure.set_latency(Latency::fixed(Duration::from_secs(5)));
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    world.tasks.close();
    world.tasks.wait().await;
}

fn vm_id(name: &str) -> String {
    format!(
        "/subscriptions/{}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/{name}",
        azure_emulator::SUBSCRIPTION
    )
}
