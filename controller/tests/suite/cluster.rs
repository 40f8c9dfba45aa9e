//! What Kubernetes knows of a disk and of a node decides where the disk may go, and where it stays.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azure_emulator::{Action, Emulator, Fault, Options, Throttling};
use controller::cluster::{Change, ClusterView, Fact, Kind, Node, Source, Taint, Volume, VolumeAttachment};
use futures::future::join_all;
use serde_json::json;
use tonic::Code;

use crate::world::*;

const UPDATE: &str = "attachDetachDataDisks";
const DOWN: &str = "node.kubernetes.io/out-of-service";

/// `pvc-1@node-a` wanted there, `pvc-1@node-a-` being deleted, `pvc-1@node-a#0` promised LUN 0. Every disk is a
/// volume of Kubernetes, every node a VM of its name; those in `down` are out of service and not heard.
fn view(ids: &[String], attachments: &[&str], down: &[&str]) -> ClusterView {
    let name = |id: &String| id.rsplit('/').next().unwrap().to_owned();
    let volumes = ids.iter().map(|id| Fact::Volume(Volume::new(name(id), id.as_str(), false)));
    let node = |name: &str| {
        let taint = Taint { key: DOWN.into(), value: "".into(), effect: "NoExecute".into() };
        let is_ready = !down.contains(&name);
        Fact::Node(Node {
            name: name.into(),
            provider_id: format!("azure://{}", vm_id(name)).into(),
            is_ready,
            taints: if is_ready { [].into() } else { [taint].into() },
        })
    };
    let attachment = |text: &&str| {
        let (volume, place) = text.split_once('@').unwrap();
        let (place, lun) = place.split_once('#').map_or((place, None), |(place, lun)| (place, Some(lun)));
        let metadata: Vec<_> = lun.map(|lun| ("LUN".into(), lun.into())).into_iter().collect();
        Fact::VolumeAttachment(VolumeAttachment {
            name: (*text).into(),
            source: Source::Volume(volume.into()),
            node: place.trim_end_matches('-').into(),
            is_attached: true,
            is_detach_wanted: place.ends_with('-'),
            metadata: metadata.into(),
        })
    };
    let mut view = ClusterView::not_yet();
    view.change(Change::All(Kind::Volumes, volumes.collect()));
    view.change(Change::All(Kind::Nodes, ["node-a", "node-b"].map(node).into()));
    view.change(Change::All(Kind::CsiNodes, vec![]));
    view.change(Change::All(Kind::VolumeAttachments, attachments.iter().map(attachment).collect()));
    view
}

fn vm_id(name: &str) -> String {
    let subscription = azure_emulator::SUBSCRIPTION;
    format!(
        "/subscriptions/{subscription}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/{name}"
    )
}

/// A world in which pvc-1 is attached to node-a, by a controller that is gone.
async fn attached() -> (World, String) {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    world.azure.reset_requests();
    (world, id)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_attached_before_the_promised_luns_are_known() {
    let (world, id) = attached().await;
    let blind = World::seeing(world.azure.clone(), ClusterView::not_yet());
    assert_eq!(code(blind.publish(&id, "node-a").await), Code::Unavailable);
    assert_eq!(world.azure.requests().len(), 0, "Azure is not asked either");
    blind.unpublish(&id, "node-a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_promised_lun_is_given_to_nobody_else_also_after_a_restart() {
    let azure = Emulator::new(Options { strict: true, ..Options::default() }).unwrap();
    azure.add_vm("node-a", "Standard_M128s", "").unwrap();
    let first = World::on(azure.clone());
    let stale = first.volume("stale").await.volume_id;
    let names: Vec<String> = (0..64).map(|number| format!("pvc-{number}")).collect();
    let ids = join_all(names.iter().map(async |name| first.volume(name).await.volume_id)).await;
    let mut all = ids.clone();
    all.push(stale.clone());
    let seen = view(&all, &["stale@node-a#0"], &[]);
    let mut luns = Vec::new();
    for half in ids.chunks(32) {
        let world = World::seeing(azure.clone(), seen.clone());
        let got = join_all(half.iter().map(|id| world.publish(id, "node-a"))).await;
        for answer in got {
            match answer {
                Ok(lun) => luns.push(lun),
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
            }
        }
    }
    assert_eq!(luns.len(), 63, "64 LUNs less the promised one");
    assert!(!luns.contains(&"0".to_owned()), "{luns:?}");
    let world = World::seeing(azure, seen);
    world.unpublish(&ids[0], "node-a").await.unwrap();
    assert_eq!(world.publish(&stale, "node-a").await.unwrap(), "0", "its own promise is kept");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_was_left_behind_moves_in_one_call() {
    let (world, id) = attached().await;
    let ids = [id.clone()];
    let second = World::seeing(world.azure.clone(), view(&ids, &["pvc-1@node-b"], &[]));
    assert_eq!(second.publish(&id, "node-b").await.unwrap(), "0");
    assert_eq!((world.luns("node-a").len(), world.luns("node-b").len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_something_may_want_where_it_is_stays_there() {
    let (world, id) = attached().await;
    let ids = [id.clone()];
    for attachments in
        [&["pvc-1@node-a", "pvc-1@node-b"], &["pvc-1@node-a-", "pvc-1@node-b"], &["?@node-a", "pvc-1@node-b"]]
    {
        let second = World::seeing(world.azure.clone(), view(&ids, attachments, &[]));
        let error = second.publish(&id, "node-b").await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{attachments:?}");
        assert!(error.message().contains("node-a"), "{error}");
    }
    assert_eq!(world.requests("POST", UPDATE), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attach_whose_attachment_is_being_deleted_is_not_sent() {
    let (world, id) = attached().await;
    world.unpublish(&id, "node-a").await.unwrap();
    world.azure.reset_requests();
    let late = World::seeing(world.azure.clone(), view(std::slice::from_ref(&id), &["pvc-1@node-a-"], &[]));
    assert_eq!(code(late.publish(&id, "node-a").await), Code::Aborted);
    assert_eq!(world.requests("POST", UPDATE), 0);
}

#[tokio::test(start_paused = true)]
async fn force_comes_only_after_a_detach_that_could_not_be_carried_out_on_a_node_out_of_service() {
    let fails = Action::FailOperation {
        canceled: false,
        code: "InternalOperationError".into(),
        message: "the VM does not answer".into(),
    };
    let refused = |status: u16, code: &str| Action::Answer {
        status,
        body: json!({"error": {"code": code, "message": "no"}}),
        headers: vec![],
    };
    let rows = [
        (fails.clone(), &["node-a"][..], true),
        (fails, &[], false),
        (refused(409, "OperationNotAllowed"), &["node-a"], false),
        (refused(409, "Conflict"), &["node-a"], false),
        (refused(429, "TooManyRequests"), &["node-a"], false),
        (refused(500, "InternalServerError"), &["node-a"], false),
        (
            Action::FailOperation {
                canceled: true,
                code: "OperationPreempted".into(),
                message: "newer".into(),
            },
            &["node-a"],
            false,
        ),
    ];
    for (action, down, wanted) in rows {
        let (world, id) = attached().await;
        let second =
            World::seeing(world.azure.clone(), view(std::slice::from_ref(&id), &["pvc-1@node-a-"], down));
        world.azure.script(Fault::on("POST", UPDATE, action.clone()));
        let _ = second.unpublish(&id, "node-a").await;
        let forced = second.counters.forced_detaches.load(Ordering::Relaxed);
        assert_eq!(forced > 0, wanted, "{action:?} down: {down:?}");
        tokio::time::advance(Duration::from_mins(3)).await;
        second.unpublish(&id, "node-a").await.unwrap();
        assert!(world.luns("node-a").is_empty(), "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forced_detach_that_azure_takes_only_later_is_sent_and_counted_then() {
    let fails = Action::FailOperation {
        canceled: false,
        code: "InternalOperationError".into(),
        message: "the VM does not answer".into(),
    };
    for (seconds, is_sent) in [(15, false), (300, true)] {
        let (world, id) = attached().await;
        let sent = Arc::<Mutex<Vec<bool>>>::default();
        let hear = {
            let sent = Arc::clone(&sent);
            move |request: &http::Request<bytes::Bytes>| {
                if request.uri().path().ends_with(UPDATE) {
                    let body = String::from_utf8_lossy(request.body());
                    sent.lock().unwrap().push(body.contains("ForceDetach"));
                }
            }
        };
        let view = view(std::slice::from_ref(&id), &["pvc-1@node-a-"], &["node-a"]);
        let second = World::overheard(world.azure.clone(), view, hear);
        world.azure.set_throttling(Throttling::Real { speed: 1 });
        world.azure.set_bucket("AttachDetachVMDisksResource", None, 1).unwrap();
        world.azure.script(Fault::on("POST", UPDATE, fails.clone()));
        let answer = second.unpublish_within(&id, "node-a", Duration::from_secs(seconds)).await;
        assert_eq!(answer.is_ok(), is_sent, "{answer:?}");
        let expected = if is_sent { vec![false, true] } else { vec![false] };
        assert_eq!(*sent.lock().unwrap(), expected, "forced or not, in {seconds} s");
        let counted = second.counters.forced_detaches.load(Ordering::Relaxed);
        assert_eq!(counted, u64::from(is_sent), "in {seconds} s");
    }
}
