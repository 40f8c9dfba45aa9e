//! VMs, the disks on them, and the way from a node's name to its VM; and what is sold.

use std::time::Duration;

use azure::{AttachDisk, Caching, DetachDisk, DiskChanges, DiskId, ErrorKind, Lun, ProvisioningState, VmId};
use azure_emulator::SUBSCRIPTION;
use serde_json::json;

use crate::world::{SIZE, World, answer, disk, group, refused, within};

pub(crate) fn at(disk: &DiskId, lun: u8) -> AttachDisk {
    AttachDisk {
        disk: disk.clone(),
        lun: Lun::new(lun).unwrap(),
        caching: Caching::ReadOnly,
        disk_encryption_set: None,
        write_accelerator: false,
    }
}

pub(crate) fn attach(disk: &DiskId, lun: u8) -> DiskChanges {
    DiskChanges { attach: vec![at(disk, lun)], detach: Vec::new() }
}

fn off(disk: &DiskId) -> DetachDisk {
    DetachDisk { disk: disk.clone(), force: false }
}

async fn disks_come_and_go_in_one_update(world: &World, vm: &VmId) {
    let (a, b) = (world.disk("a").await, world.disk("b").await);
    world.arm.change_disks(vm, &attach(&a, 0), within(60)).await.unwrap();
    let swap = DiskChanges { attach: vec![at(&b, 1)], detach: vec![off(&a)] };
    world.seen();
    world.arm.change_disks(vm, &swap, within(60)).await.unwrap();
    assert_eq!(world.methods(), "POST");
    assert_eq!(world.emulator.attached()[vm.as_str()], json!({ "1": b.as_str() }));

    let read = world.arm.vm(vm, within(60)).await.unwrap();
    let [entry] = read.data_disks() else { panic!("{:?}", read.data_disks()) };
    assert_eq!((entry.lun, entry.disk_id(), entry.is_leaving()), (1, Some(b.clone()), false));
    assert_eq!(entry.caching, Some(Caching::ReadOnly));
    assert_eq!(read.provisioning_state(), Some(&ProvisioningState::Succeeded));
    let held = world.arm.disk(&b, within(60)).await.unwrap();
    assert!(held.is_held_by(vm) && held.holders().len() == 1);
    assert!(world.arm.disk(&a, within(60)).await.unwrap().holders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn disks_come_and_go_on_a_vm() {
    let world = World::slow(Duration::from_secs(5));
    let vm = world.vm("node-a");
    disks_come_and_go_in_one_update(&world, &vm).await;
}

#[tokio::test(start_paused = true)]
async fn disks_come_and_go_on_a_vm_of_a_scale_set() {
    let world = World::slow(Duration::from_secs(5));
    let vms = world.emulator.add_scale_set("pool", "aks-pool-", SIZE, &[], 2).unwrap();
    let vm: VmId = vms[1].parse().unwrap();
    assert!(matches!(vm, VmId::ScaleSet(_)));
    disks_come_and_go_in_one_update(&world, &vm).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_is_found_by_its_name() {
    let world = World::new();
    world.vm("node-a");
    let vms = world.emulator.add_scale_set("pool", "aks-pool-", SIZE, &["1", "2"], 2).unwrap();
    let rows = [
        ("node-a", Ok(format!("{}/virtualMachines/node-a", provider()))),
        ("NODE-A", Ok(format!("{}/virtualMachines/node-a", provider()))),
        ("aks-pool-000001", Ok(vms[1].clone())),
        ("aks-pool-000009", Err(ErrorKind::NotFound)),
        ("aks-other-000001", Err(ErrorKind::NotFound)),
        ("../node-a", Err(ErrorKind::NotFound)),
        ("", Err(ErrorKind::NotFound)),
    ];
    for (name, expected) in rows {
        let found = world.arm.find_vm(&group(), name, within(60)).await;
        let found = found.map(|vm| vm.vm_id().unwrap()).map_err(|error| error.kind());
        assert_eq!(found, expected.map(|id| id.parse().unwrap()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_search_is_not_a_node_that_does_not_exist() {
    for path in
        ["virtualMachines/aks-pool-000001", "virtualMachineScaleSets?", "virtualMachineScaleSets/pool/"]
    {
        let world = World::new();
        world.emulator.add_scale_set("pool", "aks-pool-", SIZE, &[], 2).unwrap();
        world.script_many("GET", path, 100, answer(503, json!({}), &[]));
        let error = refused(world.arm.find_vm(&group(), "aks-pool-000001", within(60)).await);
        assert_eq!(error.kind(), ErrorKind::Transient, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_change_says_why() {
    let world = World::new();
    let (one, other) = (world.vm("node-a"), world.vm("node-b"));
    let id = world.disk("a").await;
    world.arm.change_disks(&one, &attach(&id, 0), within(60)).await.unwrap();
    let mut full = DiskChanges::default();
    for number in 1..=4 {
        let next = world.disk(&format!("disk-{number}")).await;
        full.attach.push(at(&next, number));
    }
    let gone: VmId = format!("{}/virtualMachines/gone", provider()).parse().unwrap();
    let rows = [
        (&other, attach(&id, 0), ErrorKind::AttachedElsewhere),
        (&one, full, ErrorKind::AttachLimit),
        (&gone, attach(&disk("disk-1"), 0), ErrorKind::NotFound),
    ];
    for (vm, changes, kind) in rows {
        let error = refused(world.arm.change_disks(vm, &changes, within(60)).await);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.is_definite_refusal(), "{error}");
        assert_eq!(error.resource(), vm.as_str(), "an error names the VM, not the action on it");
    }
    assert_eq!(refused(world.arm.vm(&gone, within(60)).await).kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn what_is_sold_in_a_region_is_told() {
    let world = World::new();
    let skus = world.arm.skus(SUBSCRIPTION, "eastus2", within(60)).await.unwrap();
    let size = skus.iter().find(|sku| sku.name.as_deref() == Some(SIZE)).unwrap();
    assert_eq!(size.capability("MaxDataDiskCount"), Some("4"));
    assert!(skus.iter().any(|sku| sku.resource_type.as_deref() == Some("disks")));
    assert!(!world.seen()[0].url.contains('+'), "a plus sign is no space in a query");
    assert!(world.arm.skus(SUBSCRIPTION, "elsewhere", within(60)).await.unwrap().is_empty());
}

fn provider() -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute")
}
