//! Disks, from their creation to their end.

use std::sync::Arc;
use std::time::Duration;

use azure::model::disk::{CreationData, DiskPatch, DiskPatchProperties, SkuName};
use azure::{Arm, ArmSettings, DiskSku, DiskState, ErrorKind, GiB, ProvisioningState, Tokens};
use azure_emulator::{Emulator, Options};

use crate::world::{ENDPOINT, TOKEN, World, disk, group, premium, refused, snapshot, within};

#[tokio::test(start_paused = true)]
async fn a_disk_is_made_read_listed_and_deleted() {
    let world = World::slow(Duration::from_secs(3));
    let id = disk("pvc-1");
    let made = world.arm.create_disk(&id, &premium(8), within(60)).await.unwrap();
    assert_eq!((made.bytes(), made.provisioning_state()), (8 << 30, &ProvisioningState::Succeeded));
    assert_eq!(made.properties.disk_state, Some(DiskState::Unattached));
    assert_eq!(world.methods(), "PUT", "the operation's end brought the document: no read is needed");

    let read = world.arm.disk(&id, within(60)).await.unwrap();
    assert_eq!((read.disk_id(), read.properties.unique_id), (Some(id.clone()), made.properties.unique_id));
    assert_eq!(read.sku, Some(SkuName { name: DiskSku::PremiumLrs }));
    world.arm.create_disk(&disk("pvc-2"), &premium(4), within(60)).await.unwrap();
    let names = world.arm.disks(&group(), within(60)).await.unwrap().into_iter().map(|disk| disk.name);
    assert_eq!(names.collect::<Vec<_>>(), ["pvc-1", "pvc-2"]);

    world.arm.delete_disk(&id, within(60)).await.unwrap();
    assert!(world.emulator.disk(id.as_str()).is_none(), "an answer of success before the disk was gone");
    let missing = refused(world.arm.disk(&id, within(60)).await);
    assert_eq!((missing.kind(), missing.code()), (ErrorKind::NotFound, Some("ResourceNotFound")));
}

#[tokio::test(start_paused = true)]
async fn deleting_what_is_not_there_is_done_at_once() {
    let world = World::new();
    world.arm.delete_disk(&disk("never"), within(60)).await.unwrap();
    world.arm.delete_snapshot(&snapshot("never"), within(60)).await.unwrap();
    let elsewhere = azure::DiskId::new(group().subscription.as_str(), "no-such-group", "d").unwrap();
    world.arm.delete_disk(&elsewhere, within(60)).await.unwrap();
    let listed = azure::ResourceGroup::new(group().subscription.as_str(), "no-such-group").unwrap();
    assert_eq!(refused(world.arm.disks(&listed, within(60)).await).kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_disk_grows_and_changes() {
    let world = World::slow(Duration::from_secs(3));
    let id = world.disk("pvc-1").await;
    let size = DiskPatchProperties { size: Some(GiB(12)), ..DiskPatchProperties::default() };
    let patch = DiskPatch { properties: Some(size), ..DiskPatch::default() };
    let grown = world.arm.update_disk(&id, &patch, within(60)).await.unwrap();
    assert_eq!(grown.bytes(), 12 << 30);
    let patch = DiskPatch { sku: Some(SkuName { name: DiskSku::StandardSsdLrs }), ..DiskPatch::default() };
    let changed = world.arm.update_disk(&id, &patch, within(60)).await.unwrap();
    assert_eq!(changed.sku, patch.sku);
    let missing = refused(world.arm.update_disk(&disk("never"), &patch, within(60)).await);
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.is_definite_refusal());
}

#[tokio::test(start_paused = true)]
async fn a_copy_starts_from_its_source() {
    let world = World::new();
    let source = world.disk("source").await;
    let mut body = premium(8);
    body.properties.creation_data = CreationData::copy_of(source.as_str());
    let copy = world.arm.create_disk(&disk("copy"), &body, within(60)).await.unwrap();
    assert_eq!(copy.properties.creation_data.source_resource_id.as_deref(), Some(source.as_str()));
}

#[tokio::test(start_paused = true)]
async fn what_another_call_began_is_waited_for() {
    let world = World::slow(Duration::from_secs(20));
    let id = disk("pvc-1");
    let (maker, body) = (world.arm.clone(), premium(8));
    let hung_up = maker.create_disk(&id, &body, within(5)).await;
    assert_eq!(refused(hung_up).kind(), ErrorKind::Timeout);
    let now = world.arm.disk(&id, within(5)).await.unwrap();
    assert!(!now.provisioning_state().is_terminal());
    assert_eq!(refused(world.arm.settled_disk(&id, within(5)).await).kind(), ErrorKind::Timeout);
    let settled = world.arm.settled_disk(&id, within(60)).await.unwrap();
    assert_eq!(settled.provisioning_state(), &ProvisioningState::Succeeded);
    assert_eq!(refused(world.arm.settled_disk(&disk("never"), within(60)).await).kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_function_is_a_transport() {
    let emulator = Emulator::new(Options::default()).unwrap();
    let settings = ArmSettings {
        endpoint: ENDPOINT.parse().unwrap(),
        tokens: Tokens::fixed(TOKEN),
        observer: Arc::new(|_| {}),
        seed: 1,
        user_agent: "test".to_owned(),
    };
    let door = emulator.clone();
    let transport = move |request| {
        let door = door.clone();
        async move { door.handle(request).await }
    };
    let arm = Arm::new(settings, Arc::new(transport));
    arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await.unwrap();
    assert!(emulator.disk(disk("pvc-1").as_str()).is_some());
}
