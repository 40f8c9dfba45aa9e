//! PUBLISH_READONLY: remembered by a tag for each node, written before the attach and removed after the detach; and
//! what crashes, overlaps and other drivers leave of that.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::world::*;
use azure_emulator::{Action, Fault, Latency};
use controller::cluster::{Change, ClusterView, Fact, Kind, Source, Volume, VolumeAttachment};
use csi::v1::CreateVolumeRequest;
use csi::v1::controller_server::Controller as _;
use csi::v1::volume_capability::access_mode::Mode;
use serde_json::json;
use tonic::Code;

const UPDATE: &str = "attachDetachDataDisks";
const TAG: &str = "azuredisk-csi-readonly-on-";
const READ_ONLY: bool = true;
const WRITABLE: bool = false;

impl World {
    /// Publishes; the publish context.
    async fn publish_as(&self, id: &str, node: &str, readonly: bool) -> Answer<BTreeMap<String, String>> {
        let context = strings([("requestedsizegib", "1")]);
        let mut request = to_publish(id, node, context);
        request.readonly = readonly;
        let answer = self.controller.controller_publish_volume(timed(request)).await?;
        Ok(answer.into_inner().publish_context)
    }

    /// The nodes on which the disk's tags say that it is read-only.
    fn tagged(&self, id: &str) -> Vec<String> {
        let disk = self.azure.disk(id).unwrap();
        let keys = disk["tags"].as_object().unwrap().keys();
        keys.filter_map(|key| key.strip_prefix(TAG)).map(str::to_owned).collect()
    }

    /// Writes that Azure has seen, in order.
    fn writes(&self) -> Vec<&'static str> {
        let word = |method: &str| match method {
            "PATCH" => Some("tags"),
            "POST" => Some("update"),
            _ => None,
        };
        self.azure.requests().iter().filter_map(|one| word(&one.method)).collect()
    }

    async fn shared(&self) -> String {
        let class = of_class("pvc-1", [("skuName", "Premium_LRS"), ("maxShares", "2")]);
        let mode = vec![capability(Mode::MultiNodeMultiWriter, true)];
        let request = CreateVolumeRequest { volume_capabilities: mode, ..class };
        self.create(request).await.unwrap().volume_id
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_only_publish_is_noted_before_its_attach_and_forgotten_after_its_detach() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let tags = world.azure.disk(&id).unwrap()["tags"].clone();
    for _ in 0..2 {
        world.azure.reset_requests();
        let context = world.publish_as(&id, "node-a", READ_ONLY).await.unwrap();
        assert_eq!(context, strings([("LUN", "0"), ("azuredisk-csi-readonly", "true")]));
        assert_eq!((world.writes(), world.tagged(&id)), (vec!["tags", "update"], vec!["node-a".to_owned()]));
        world.azure.reset_requests();
        world.unpublish(&id, "node-a").await.unwrap();
        assert_eq!(world.writes(), ["update", "tags"]);
        assert_eq!(world.azure.disk(&id).unwrap()["tags"], tags, "all others are kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_publish_costs_nothing_more() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    world.unpublish(&id, "node-a").await.unwrap();
    world.azure.reset_requests();
    assert_eq!(world.publish_as(&id, "node-a", WRITABLE).await.unwrap(), strings([("LUN", "0")]));
    let count = |part| world.requests("GET", part);
    assert_eq!((count("/disks/"), count("/virtualMachines/"), world.writes()), (1, 2, vec!["update"]));
    world.azure.reset_requests();
    world.unpublish(&id, "node-a").await.unwrap();
    assert_eq!((count("/disks/"), count("/virtualMachines/"), world.writes()), (1, 2, vec!["update"]));
}

#[tokio::test(start_paused = true)]
async fn the_same_mode_again_writes_nothing_and_the_other_is_refused() {
    for (first, second) in [(READ_ONLY, WRITABLE), (WRITABLE, READ_ONLY)] {
        let world = World::new();
        let id = world.volume("pvc-1").await.volume_id;
        let context = world.publish_as(&id, "node-a", first).await.unwrap();
        world.azure.reset_requests();
        for other in [world.clone(), world.restarted()] {
            assert_eq!(other.publish_as(&id, "NODE-A", first).await.unwrap(), context);
            let error = other.publish_as(&id, "node-a", second).await.unwrap_err();
            assert_eq!(error.code(), Code::AlreadyExists, "{error}");
            for word in ["pvc-1", "node-a", "read-only", "read-write"] {
                assert!(error.message().contains(word), "{word}: {error}");
            }
        }
        assert_eq!(world.writes(), Vec::<&str>::new());
        world.unpublish(&id, "node-a").await.unwrap();
        world.publish_as(&id, "node-a", second).await.unwrap();
        assert_eq!(world.tagged(&id).is_empty(), second == WRITABLE);
    }
}

/// The controller dies between the tag and the attach.
#[tokio::test(start_paused = true)]
async fn a_tag_without_its_attach_binds_nobody() {
    for next in [READ_ONLY, WRITABLE] {
        let world = World::new();
        let id = world.volume("pvc-1").await.volume_id;
        world.azure.script(Fault::on("POST", UPDATE, Action::LoseRequest).times(2));
        world.publish_as(&id, "node-a", READ_ONLY).await.unwrap_err();
        world.azure.clear_faults();
        assert_eq!((world.luns("node-a").len(), world.tagged(&id)), (0, vec!["node-a".to_owned()]));
        let world = world.restarted();
        world.azure.reset_requests();
        world.publish_as(&id, "node-a", next).await.unwrap();
        let wanted = if next == READ_ONLY { vec!["update"] } else { vec!["tags", "update"] };
        assert_eq!((world.writes(), world.tagged(&id).len()), (wanted, usize::from(next)));
    }
}

/// Whatever request is lost, the same calls by a restarted controller converge.
#[tokio::test(start_paused = true)]
async fn an_accident_at_any_request_converges() {
    for action in [Action::LoseRequest, Action::LoseAnswer] {
        for nth in 1..40 {
            let mut world = World::slow(Duration::from_secs(2));
            let id = world.volume("pvc-1").await.volume_id;
            world.azure.reset_requests();
            world.azure.script(Fault::on("", "", action.clone()).nth(nth));
            for mode in [READ_ONLY, WRITABLE] {
                while let Err(error) = world.publish_as(&id, "node-a", mode).await {
                    assert!(matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded), "{error}");
                    world = world.restarted();
                }
                assert_eq!((world.luns("node-a").len(), world.tagged(&id).len()), (1, usize::from(mode)));
                while let Err(error) = world.unpublish(&id, "node-a").await {
                    assert!(matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded), "{error}");
                    world = world.restarted();
                }
                // A tag may outlive a call that was cut behind its detach; the next publish looks at it and decides.
                assert_eq!(world.luns("node-a").len(), 0, "{nth}");
            }
        }
    }
}

/// The first controller's write of the tag is still going on when the caller turns to another, in the other mode.
#[tokio::test(start_paused = true)]
async fn a_tag_on_its_way_is_waited_for() {
    let world = World::slow(Duration::from_secs(6));
    let id = world.volume("pvc-1").await.volume_id;
    let mut request = to_publish(&id, "node-a", BTreeMap::new());
    request.readonly = true;
    let late = world.controller.controller_publish_volume(within(request, Duration::from_secs(2))).await;
    assert!(matches!(code(late), Code::Unavailable | Code::DeadlineExceeded));
    let other = world.restarted();
    other.publish_as(&id, "node-a", WRITABLE).await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.tagged(&id), Vec::<String>::new());
    other.publish_as(&id, "node-a", WRITABLE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_two_modes_at_once_one_wins() {
    for (first, second) in [(READ_ONLY, WRITABLE), (WRITABLE, READ_ONLY)] {
        let world = World::slow(Duration::from_secs(6));
        let id = world.volume("pvc-1").await.volume_id;
        let calls = (world.publish_as(&id, "node-a", first), world.publish_as(&id, "NODE-A", second));
        let (won, lost) = tokio::join!(calls.0, calls.1);
        assert_eq!((won.is_ok(), code(lost)), (true, Code::Aborted));
        assert_eq!(code(world.publish_as(&id, "node-a", second).await), Code::AlreadyExists);
        assert_eq!(world.tagged(&id).len(), usize::from(first));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_disk_is_read_only_on_one_node_and_writable_on_the_other() {
    let world = World::new();
    let id = world.shared().await;
    world.publish_as(&id, "node-a", READ_ONLY).await.unwrap();
    world.publish_as(&id, "node-b", WRITABLE).await.unwrap();
    assert_eq!(world.tagged(&id), ["node-a"]);
    assert_eq!(code(world.publish_as(&id, "node-a", WRITABLE).await), Code::AlreadyExists);
    assert_eq!(code(world.publish_as(&id, "node-b", READ_ONLY).await), Code::AlreadyExists);
    world.unpublish(&id, "node-b").await.unwrap();
    assert_eq!(world.tagged(&id), ["node-a"]);
    world.unpublish(&id, "node-a").await.unwrap();
    assert_eq!(world.tagged(&id), Vec::<String>::new());
}

/// A write of tags replaces them all, so one that read before the other wrote would undo it.
#[tokio::test(start_paused = true)]
async fn writes_at_the_same_time_lose_no_tag() {
    let world = World::new();
    world.azure.set_latency(Latency { accept: Duration::from_millis(100), ..Latency::default() });
    let id = world.shared().await;
    let both = async |mode: bool| {
        let (a, b) =
            tokio::join!(world.publish_as(&id, "node-a", mode), world.publish_as(&id, "node-b", mode));
        assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
    };
    both(READ_ONLY).await;
    assert_eq!(world.tagged(&id), ["node-a", "node-b"]);
    let (a, b) = tokio::join!(world.unpublish(&id, "node-a"), world.unpublish(&id, "node-b"));
    assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
    assert_eq!(world.tagged(&id), Vec::<String>::new());
    both(READ_ONLY).await;
    world.unpublish(&id, "").await.unwrap();
    assert_eq!(world.tagged(&id), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_leaves_no_tag() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish_as(&id, "node-a", READ_ONLY).await.unwrap();
    world.azure.delete_vm("node-a");
    // The new controller knows no VM of that name.
    world.restarted().unpublish(&id, "node-a").await.unwrap();
    assert_eq!(world.tagged(&id), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_cannot_be_removed_holds_up_no_unpublish() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish_as(&id, "node-a", READ_ONLY).await.unwrap();
    let body = json!({"error": {"code": "ScopeLocked", "message": "a lock"}});
    world.azure.script(Fault::on("PATCH", "/disks/", Action::Answer { status: 409, body, headers: vec![] }));
    world.unpublish(&id, "node-a").await.unwrap();
    assert_eq!(world.tagged(&id), ["node-a"]);
    world.publish_as(&id, "node-a", WRITABLE).await.unwrap();
    assert_eq!(world.tagged(&id), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_attached_read_only_that_cannot_be_noted() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let body = json!({"error": {"code": "AuthorizationFailed", "message": "no"}});
    world.azure.script(Fault::on("PATCH", "/disks/", Action::Answer { status: 403, body, headers: vec![] }));
    let error = world.publish_as(&id, "node-a", READ_ONLY).await.unwrap_err();
    assert!(error.code() == Code::PermissionDenied && error.message().contains("pvc-1"), "{error}");
    assert_eq!(world.requests("POST", UPDATE), 0);
}

/// A view in which a PersistentVolume of this disk is wanted on a node.
fn wanted_on(node: &str, id: &str, is_read_only: bool) -> ClusterView {
    let attachment = VolumeAttachment {
        name: "csi-1".into(),
        source: Source::Volume("pv-1".into()),
        node: node.into(),
        is_attached: true,
        is_detach_wanted: false,
        metadata: Box::new([("LUN".into(), "0".into())]),
    };
    let mut view = ClusterView::not_yet();
    for kind in Kind::ALL {
        view.change(Change::All(kind, Vec::new()));
    }
    view.change(Change::Is(Fact::Volume(Volume::new("pv-1", id, is_read_only))));
    view.change(Change::Is(Fact::VolumeAttachment(attachment)));
    view
}

/// The Go driver attaches for a read-only PersistentVolume, and notes nothing.
#[tokio::test(start_paused = true)]
async fn what_another_driver_attached_for_a_read_only_volume_is_taken_over() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    for view in [ClusterView::absent(), wanted_on("node-a", &id, false), wanted_on("node-b", &id, true)] {
        let blind = World::seeing(world.azure.clone(), view);
        assert_eq!(code(blind.publish_as(&id, "node-a", READ_ONLY).await), Code::AlreadyExists);
    }
    let world = World::seeing(world.azure.clone(), wanted_on("node-a", &id, true));
    world.azure.reset_requests();
    let context = world.publish_as(&id, "node-a", READ_ONLY).await.unwrap();
    assert_eq!(context["azuredisk-csi-readonly"], "true");
    assert_eq!((world.writes(), world.tagged(&id)), (vec!["tags"], vec!["node-a".to_owned()]));
    assert_eq!(code(world.publish_as(&id, "node-a", WRITABLE).await), Code::AlreadyExists);
    world.unpublish(&id, "node-a").await.unwrap();
    assert_eq!(world.tagged(&id), Vec::<String>::new());
}
