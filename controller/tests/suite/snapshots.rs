//! Cutting, finding, restoring and deleting snapshots.

use std::time::Duration;

use crate::world::*;
use azure_emulator::{Action, Fault};
use csi::v1::controller_server::Controller as _;
use csi::v1::{CreateSnapshotRequest, CreateVolumeRequest, GetSnapshotRequest};
use serde_json::json;
use tonic::Code;

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_found_again_with_the_same_time() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let first = world.snapshot(&id, "snap-1").await.unwrap();
    tokio::time::advance(Duration::from_secs(90)).await;
    assert_eq!(world.restarted().snapshot(&id, "snap-1").await.unwrap(), first);
    assert_eq!((first.source_volume_id.as_str(), first.size_bytes), (id.as_str(), GIB));
    assert!(first.ready_to_use && first.creation_time.is_some());
    assert_eq!(world.requests("PUT", "/snapshots/"), 1);
    let document = &world.azure.snapshots()[0];
    assert_eq!(document["properties"]["incremental"], json!(true));
    assert_eq!(document["tags"]["source_volume_id"], json!(id));
    let request = GetSnapshotRequest { snapshot_id: first.snapshot_id.clone(), ..Default::default() };
    let got = world.controller.get_snapshot(timed(request)).await.unwrap().into_inner().snapshot;
    assert_eq!(got, Some(first));
}

#[tokio::test(start_paused = true)]
async fn a_name_belongs_to_one_source() {
    let world = World::new();
    let ids = [world.volume("pvc-1").await.volume_id, world.volume("pvc-2").await.volume_id];
    world.snapshot(&ids[0], "snap-1").await.unwrap();
    assert_eq!(code(world.snapshot(&ids[1], "snap-1").await), Code::AlreadyExists);
    assert_eq!(world.requests("PUT", "/snapshots/"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_people_made_is_never_taken_for_ours() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let group = id.split("/disks/").next().unwrap().to_owned();
    let snapshot = json!({
        "location": "eastus2",
        "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": id}, "incremental": true},
    });
    let disk = json!({
        "location": "eastus2",
        "sku": {"name": "StandardSSD_LRS"},
        "properties": {
            "creationData": {"createOption": "Empty"},
            "diskSizeGB": 1,
            "networkAccessPolicy": "DenyAll",
            "publicNetworkAccess": "Disabled",
        },
    });
    for (path, body) in [("snapshots/by-hand", snapshot), ("disks/by-hand", disk)] {
        let request = http::Request::put(format!("{group}/{path}?api-version=2025-01-02"))
            .header("authorization", "Bearer token")
            .body(body.to_string().into());
        assert!(world.azure.handle(request.unwrap()).await.status().is_success());
    }
    assert_eq!(code(world.snapshot(&id, "by-hand").await), Code::AlreadyExists);
    assert_eq!(code(world.create(wanted("by-hand")).await), Code::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_told() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    assert_eq!(code(world.snapshot("", "snap-1").await), Code::InvalidArgument);
    assert_eq!(code(world.snapshot(&id, "").await), Code::InvalidArgument);
    assert_eq!(code(world.snapshot("unknown", "snap-1").await), Code::NotFound);
    assert_eq!(code(world.snapshot(&id.replace("pvc-1", "pvc-9"), "snap-1").await), Code::NotFound);
    let class = CreateSnapshotRequest {
        source_volume_id: id,
        name: "snap-1".into(),
        parameters: strings([("location", "westus")]),
        ..Default::default()
    };
    assert_eq!(code(world.controller.create_snapshot(timed(class)).await), Code::InvalidArgument);
    for snapshot_id in
        ["unknown", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/snapshots/x"]
    {
        let request = GetSnapshotRequest { snapshot_id: snapshot_id.into(), ..Default::default() };
        assert_eq!(code(world.controller.get_snapshot(timed(request)).await), Code::NotFound);
        world.delete_snapshot(snapshot_id).await.unwrap();
    }
    assert_eq!(code(world.delete_snapshot("").await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_restored_and_may_be_larger_but_not_smaller() {
    let world = World::new();
    let id = world.create(sized("pvc-1", 4)).await.unwrap().volume_id;
    let snapshot = world.snapshot(&id, "snap-1").await.unwrap().snapshot_id;
    let restore = |name: &str, gib: i64| CreateVolumeRequest {
        volume_content_source: Some(from_snapshot(&snapshot)),
        ..sized(name, gib)
    };
    for (gib, want) in [(4, Ok(4 * GIB)), (6, Ok(6 * GIB)), (2, Err(Code::OutOfRange))] {
        let got = world.create(restore(&format!("restored-{gib}"), gib)).await;
        assert_eq!(got.map(|volume| volume.capacity_bytes).map_err(|error| error.code()), want, "{gib}");
    }
    let open = CreateVolumeRequest { capacity_range: None, ..restore("restored", 0) };
    let volume = world.create(open.clone()).await.unwrap();
    assert_eq!(
        (volume.capacity_bytes, volume.content_source.clone()),
        (4 * GIB, open.volume_content_source.clone())
    );
    assert_eq!(world.create(open).await.unwrap(), volume);
    let unknown = snapshot.replace("snap-1", "snap-9");
    let from_nothing =
        CreateVolumeRequest { volume_content_source: Some(from_snapshot(&unknown)), ..wanted("other") };
    assert_eq!(code(world.create(from_nothing).await), Code::NotFound);
    world.delete_snapshot(&snapshot).await.unwrap();
    assert!(world.azure.snapshots().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_entry_of_a_cut_that_failed_does_not_stay_in_the_way() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let failed = Action::FailOperation {
        canceled: false,
        code: "SnapshotsLimitReached".into(),
        message: "The snapshot count was exceeded for a disk.".into(),
    };
    world.azure.script(Fault::on("PUT", "/snapshots/", failed));
    assert_eq!(code(world.snapshot(&id, "snap-1").await), Code::ResourceExhausted);
    assert!(world.azure.snapshots().is_empty());
    assert!(world.snapshot(&id, "snap-1").await.unwrap().ready_to_use);
    assert_eq!(world.azure.snapshots().len(), 1);
}
