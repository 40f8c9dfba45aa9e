//! Snapshots, from the cut to their end.

use std::collections::BTreeMap;
use std::time::Duration;

use azure::model::snapshot::{SnapshotCreate, SnapshotCreateProperties};
use azure::{CreationData, DiskId, ErrorKind, ProvisioningState};

use crate::world::{World, group, refused, snapshot, within};

pub(crate) fn cut(source: &DiskId) -> SnapshotCreate {
    SnapshotCreate {
        location: "eastus2".to_owned(),
        sku: None,
        tags: BTreeMap::new(),
        properties: SnapshotCreateProperties {
            creation_data: CreationData::copy_of(source.as_str()),
            incremental: true,
            network_access_policy: None,
            public_network_access: None,
            disk_access_id: None,
            data_access_auth_mode: None,
        },
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_cut_read_listed_and_deleted() {
    let world = World::slow(Duration::from_secs(3));
    let (source, id) = (world.disk("pvc-1").await, snapshot("snap-1"));
    let made = world.arm.create_snapshot(&id, &cut(&source), within(60)).await.unwrap();
    assert_eq!((made.bytes(), made.provisioning_state()), (8 << 30, &ProvisioningState::Succeeded));
    assert_eq!(made.source(), Some(source.as_str()));
    assert_eq!(made.snapshot_id().as_ref(), Some(&id));
    let read = world.arm.snapshot(&id, within(60)).await.unwrap();
    assert_eq!((read.properties.incremental, read.name.as_str()), (Some(true), "snap-1"));
    assert_eq!(world.arm.snapshots(&group(), within(60)).await.unwrap().len(), 1);
    world.arm.delete_snapshot(&id, within(60)).await.unwrap();
    assert!(world.emulator.snapshots().is_empty());
    assert_eq!(refused(world.arm.snapshot(&id, within(60)).await).kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_cut_that_another_call_began_is_waited_for() {
    let world = World::new();
    let (source, id) = (world.disk("pvc-1").await, snapshot("snap-1"));
    world.emulator.set_latency(azure_emulator::Latency::fixed(Duration::from_secs(20)));
    let hung_up = refused(world.arm.create_snapshot(&id, &cut(&source), within(5)).await);
    assert_eq!((hung_up.kind(), hung_up.is_definite_refusal()), (ErrorKind::Timeout, false));
    let settled = world.arm.settled_snapshot(&id, within(60)).await.unwrap();
    assert_eq!(settled.provisioning_state(), &ProvisioningState::Succeeded);
}
