//! Creating, expanding, modifying, validating and deleting volumes.

use crate::world::*;
use csi::v1::controller_server::Controller as _;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::{
    CapacityRange, ControllerGetCapabilitiesRequest, ControllerGetVolumeRequest, CreateVolumeRequest,
    ValidateVolumeCapabilitiesRequest,
};
use serde_json::json;
use tonic::Code;

#[tokio::test(start_paused = true)]
async fn a_volume_is_a_disk_with_the_go_drivers_marks() {
    let world = World::new();
    let request = CreateVolumeRequest {
        accessibility_requirements: Some(in_zone("eastus2-2")),
        parameters: strings([("skuName", "Premium_LRS"), ("csi.storage.k8s.io/pvc/name", "web")]),
        ..sized("pvc-1", 10)
    };
    let volume = world.create(request).await.unwrap();
    assert!(volume.volume_id.ends_with("/resourceGroups/rg/providers/Microsoft.Compute/disks/pvc-1"));
    assert_eq!(volume.capacity_bytes, 10 * GIB);
    assert_eq!(volume.volume_context["requestedsizegib"], "10");
    assert_eq!(volume.volume_context["skuName"], "Premium_LRS");
    assert_eq!(volume.accessible_topology[0].segments["topology.disk.csi.azure.com/zone"], "eastus2-2");
    let disk = world.azure.disk(&volume.volume_id).unwrap();
    assert_eq!(disk["zones"], json!(["2"]));
    assert_eq!(disk["sku"]["name"], "Premium_LRS");
    assert_eq!(disk["properties"]["networkAccessPolicy"], "DenyAll");
    assert_eq!(disk["tags"]["k8s-azure-created-by"], "kubernetes-azure-dd");
    assert_eq!(disk["tags"]["kubernetes.io-created-for-pvc-name"], "web");
}

#[tokio::test(start_paused = true)]
async fn the_same_call_again_gets_the_same_answer_and_writes_nothing() {
    let world = World::new();
    let first = world.volume("pvc-1").await;
    let again = world.restarted().volume("pvc-1").await;
    assert_eq!(first, again);
    assert_eq!(world.requests("PUT", "/disks/"), 1);
}

#[tokio::test(start_paused = true)]
async fn another_volume_of_the_same_name_is_refused_with_the_difference() {
    let world = World::new();
    world.volume("pvc-1").await;
    let others = [
        sized("pvc-1", 2),
        of_class("pvc-1", [("skuName", "Premium_LRS")]),
        of_class("pvc-1", [("networkAccessPolicy", "AllowAll")]),
        CreateVolumeRequest { accessibility_requirements: Some(in_zone("eastus2-1")), ..wanted("pvc-1") },
        CreateVolumeRequest {
            capacity_range: Some(CapacityRange { required_bytes: 1, limit_bytes: GIB - 1 }),
            ..wanted("pvc-1")
        },
    ];
    for other in others {
        let error = world.create(other.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists, "{other:?}");
        assert!(error.message().contains("disk pvc-1 exists and is another volume"), "{error}");
    }
    assert_eq!(world.requests("PUT", "/disks/"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_disk_name_chosen_by_the_class_is_never_given_to_two_volumes() {
    let world = World::new();
    let class = [("diskName", "shared-name")];
    let first = world.create(of_class("pvc-1", class)).await.unwrap();
    assert_eq!(world.create(of_class("pvc-1", class)).await.unwrap(), first);
    assert_eq!(code(world.create(of_class("pvc-2", class)).await), Code::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn names_of_any_script_find_their_disk_again() {
    let world = World::new();
    for name in ["größe 💾 / x", "PVC-A", "pvc-a", &"ü".repeat(64)] {
        let volume = world.volume(name).await;
        assert_eq!(world.volume(name).await, volume, "{name}");
    }
    assert_eq!(world.azure.disks().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_never_reaches_azure() {
    let world = World::new();
    for request in [
        of_class("pvc-1", [("skuName", "Gold")]),
        of_class("pvc-1", [("colour", "red")]),
        of_class("", []),
        CreateVolumeRequest { volume_capabilities: vec![], ..wanted("pvc-1") },
        CreateVolumeRequest {
            volume_capabilities: vec![capability(Mode::MultiNodeMultiWriter, true)],
            ..wanted("pvc-1")
        },
    ] {
        assert_eq!(code(world.create(request).await), Code::InvalidArgument);
    }
    assert_eq!(world.azure.requests().len(), 0);
    let too_large = sized("pvc-1", 40_000);
    assert_eq!(code(world.create(too_large).await), Code::OutOfRange);
    let elsewhere =
        CreateVolumeRequest { accessibility_requirements: Some(in_zone("westus-1")), ..wanted("pvc-1") };
    assert_eq!(code(world.create(elsewhere).await), Code::ResourceExhausted);
    assert_eq!(world.azure.disks().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_clone_lies_where_its_direct_source_lies() {
    let world = World::new();
    let zonal =
        CreateVolumeRequest { accessibility_requirements: Some(in_zone("eastus2-3")), ..wanted("pvc-1") };
    let source = world.create(zonal).await.unwrap();
    let clone = CreateVolumeRequest {
        volume_content_source: Some(from_volume(&source.volume_id)),
        ..sized("pvc-2", 2)
    };
    let volume = world.create(clone.clone()).await.unwrap();
    assert_eq!(volume.accessible_topology, source.accessible_topology);
    assert_eq!(volume.content_source, clone.volume_content_source);
    assert_eq!(volume.volume_context["resizeRequired"], "true");
    assert_eq!(world.create(clone.clone()).await.unwrap(), volume);
    let other_zone = CreateVolumeRequest {
        name: "pvc-3".into(),
        accessibility_requirements: Some(in_zone("eastus2-1")),
        ..clone.clone()
    };
    assert_eq!(code(world.create(other_zone).await), Code::ResourceExhausted);
    let from_nothing = CreateVolumeRequest {
        volume_content_source: Some(from_volume(&source.volume_id.replace("pvc-1", "pvc-9"))),
        ..wanted("pvc-4")
    };
    assert_eq!(code(world.create(from_nothing).await), Code::NotFound);
    let plain = sized("pvc-2", 2);
    assert_eq!(code(world.create(plain).await), Code::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn an_expansion_answers_the_size_that_is_there() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let rows = [
        (2 * GIB, 0, Ok(2 * GIB)),
        (2 * GIB, 0, Ok(2 * GIB)),
        (GIB, 0, Ok(2 * GIB)),
        (GIB, GIB, Err(Code::OutOfRange)),
        (3 * GIB - 1, 3 * GIB - 1, Err(Code::OutOfRange)),
        (3 * GIB - 1, 0, Ok(3 * GIB)),
        (40_000 * GIB, 0, Err(Code::OutOfRange)),
        (0, 0, Err(Code::InvalidArgument)),
    ];
    for (required, limit, want) in rows {
        let got = world.expand(&id, required, limit).await.map_err(|status| status.code());
        assert_eq!(got, want, "{required} {limit}");
    }
    assert_eq!(world.requests("PATCH", "/disks/"), 2);
    assert_eq!(code(world.expand("unknown", GIB, 0).await), Code::NotFound);
    assert_eq!(code(world.expand(&id.replace("pvc-1", "pvc-9"), GIB, 0).await), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_modification_writes_what_differs_or_nothing() {
    let world = World::new();
    let class = of_class("pvc-1", [("skuName", "PremiumV2_LRS")]);
    let class = CreateVolumeRequest { accessibility_requirements: Some(in_zone("eastus2-1")), ..class };
    let wide = CapacityRange { required_bytes: 100 * GIB, limit_bytes: 0 };
    let id =
        world.create(CreateVolumeRequest { capacity_range: Some(wide), ..class }).await.unwrap().volume_id;
    world.modify(&id, [("DiskIOPSReadWrite", "4000"), ("DiskMBpsReadWrite", "200")]).await.unwrap();
    let disk = world.azure.disk(&id).unwrap();
    assert_eq!(
        (&disk["properties"]["diskIOPSReadWrite"], &disk["properties"]["diskMBpsReadWrite"]),
        (&json!(4000), &json!(200))
    );
    world.modify(&id, [("diskiopsreadwrite", "4000")]).await.unwrap();
    world.modify(&id, []).await.unwrap();
    assert_eq!(world.requests("PATCH", "/disks/"), 1);
    for refused in [("DiskIOPSReadWrite", "90000"), ("cachingMode", "None"), ("skuName", "Gold")] {
        assert_eq!(code(world.modify(&id, [refused]).await), Code::InvalidArgument, "{refused:?}");
    }
    assert_eq!(world.requests("PATCH", "/disks/"), 1);
    assert_eq!(code(world.modify("unknown", [("DiskIOPSReadWrite", "4000")]).await), Code::NotFound);
    let other = world.volume("pvc-2").await.volume_id;
    world.modify(&other, [("skuName", "Premium_LRS")]).await.unwrap();
    assert_eq!(world.azure.disk(&other).unwrap()["sku"]["name"], "Premium_LRS");
}

#[tokio::test(start_paused = true)]
async fn expansion_and_modification_side_by_side_take_turns() {
    let world = World::slow(std::time::Duration::from_secs(2));
    let id = world.volume("pvc-1").await.volume_id;
    let (size, sku) =
        tokio::join!(world.expand(&id, 2 * GIB, 0), world.modify(&id, [("skuName", "Premium_LRS")]),);
    assert_eq!((size.unwrap(), sku.is_ok()), (2 * GIB, true));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_volume_is_gone_and_an_attached_one_stays() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-a").await.unwrap();
    let error = world.delete(&id).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("pvc-1") && error.message().contains("node-a"), "{error}");
    world.unpublish(&id, "node-a").await.unwrap();
    world.delete(&id).await.unwrap();
    world.delete(&id).await.unwrap();
    world.delete("unknown").await.unwrap();
    assert_eq!(code(world.delete("").await), Code::InvalidArgument);
    assert_eq!(world.azure.disks().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn capabilities_are_confirmed_or_objected_to() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    let ask = async |volume_id: &str, mode: Mode, block: bool| {
        let request = ValidateVolumeCapabilitiesRequest {
            volume_id: volume_id.into(),
            volume_capabilities: vec![capability(mode, block)],
            ..Default::default()
        };
        let answer = world.controller.validate_volume_capabilities(timed(request)).await?.into_inner();
        assert_eq!(answer.confirmed.is_none(), !answer.message.is_empty());
        Answer::Ok(answer.confirmed.is_some())
    };
    assert!(ask(&id, Mode::SingleNodeWriter, false).await.unwrap());
    assert!(!ask(&id, Mode::MultiNodeMultiWriter, true).await.unwrap());
    assert_eq!(code(ask("unknown", Mode::SingleNodeWriter, true).await), Code::NotFound);
    assert_eq!(code(ask("", Mode::SingleNodeWriter, true).await), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_volume_can_be_looked_at() {
    let world = World::new();
    let id = world.volume("pvc-1").await.volume_id;
    world.publish(&id, "node-b").await.unwrap();
    let request = ControllerGetVolumeRequest { volume_id: id.clone() };
    let answer = world.controller.controller_get_volume(timed(request)).await.unwrap().into_inner();
    let (volume, status) = (answer.volume.unwrap(), answer.status.unwrap());
    assert_eq!((volume.volume_id, volume.capacity_bytes), (id, GIB));
    assert_eq!(status.published_node_ids, ["node-b"]);
    let unknown = ControllerGetVolumeRequest { volume_id: "unknown".into() };
    assert_eq!(code(world.controller.controller_get_volume(timed(unknown)).await), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn fourteen_capabilities_are_offered() {
    let world = World::new();
    let request = timed(ControllerGetCapabilitiesRequest {});
    let answer = world.controller.controller_get_capabilities(request).await.unwrap().into_inner();
    assert_eq!(answer.capabilities.len(), 14);
}
