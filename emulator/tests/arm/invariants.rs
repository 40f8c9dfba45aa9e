//! What holds after any sequence of writes, whatever is in flight: who has a disk is told alike by disk and VM, LUNs are
//! unique, and no disk is on more VMs than it allows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::client::{Client, id};

const VMS: [&str; 3] = ["a", "b", "c"];
/// The last one may be on two VMs.
const DISKS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Attach(usize, usize, Option<u64>),
    Detach(usize, usize),
    /// The full list of a VM: disk and LUN.
    List(usize, Vec<(usize, u64)>),
    Wait(u64),
    DeleteDisk(usize),
    DeleteVm(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (vm, disk) = (0..VMS.len(), 0..DISKS);
    prop_oneof![
        4 => (vm.clone(), disk.clone(), proptest::option::of(0_u64..3)).prop_map(|(vm, disk, lun)| Step::Attach(vm, disk, lun)),
        3 => (vm.clone(), disk.clone()).prop_map(|(vm, disk)| Step::Detach(vm, disk)),
        1 => (vm.clone(), proptest::collection::vec((disk.clone(), 0_u64..3), 0..3)).prop_map(|(vm, list)| Step::List(vm, list)),
        4 => (0_u64..8).prop_map(Step::Wait),
        1 => disk.prop_map(Step::DeleteDisk),
        1 => vm.prop_map(Step::DeleteVm),
    ]
}

fn disk_id(disk: usize) -> String {
    id(&format!("disks/d{disk}"))
}

async fn take(client: &Client, step: &Step) {
    match step {
        Step::Attach(vm, disk, lun) => {
            client.attach(VMS[*vm], json!([{ "diskId": disk_id(*disk), "lun": lun }])).await;
        }
        Step::Detach(vm, disk) => {
            client.detach(VMS[*vm], &disk_id(*disk)).await;
        }
        Step::List(vm, list) => {
            let entry = |(disk, lun): &(usize, u64)| json!({ "lun": lun, "createOption": "Attach", "managedDisk": { "id": disk_id(*disk) } });
            let list: Vec<Value> = list.iter().map(entry).collect();
            let body = json!({ "properties": { "storageProfile": { "dataDisks": list } } });
            client.send("PATCH", &format!("virtualMachines/{}", VMS[*vm]), body).await;
        }
        Step::Wait(seconds) => tokio::time::advance(Duration::from_secs(*seconds)).await,
        Step::DeleteDisk(disk) => {
            client.send("DELETE", &format!("disks/d{disk}"), Value::Null).await;
        }
        Step::DeleteVm(vm) => {
            client.emulator.delete_vm(VMS[*vm]);
        }
    }
}

/// Disk → VMs, as the VMs tell it.
fn on_vms(client: &Client) -> BTreeMap<String, BTreeSet<String>> {
    let mut on = BTreeMap::<String, BTreeSet<String>>::new();
    for (vm, luns) in client.emulator.attached() {
        for disk in luns.as_object().unwrap().values() {
            on.entry(disk.as_str().unwrap().to_owned()).or_default().insert(vm.clone());
        }
    }
    on
}

fn check(client: &Client) {
    let on = on_vms(client);
    for disk in client.emulator.disks() {
        let most = disk["properties"]["maxShares"].as_u64().unwrap_or(1);
        let told: BTreeSet<String> = match disk["managedByExtended"].as_array() {
            Some(owners) => owners.iter().map(|owner| owner.as_str().unwrap().to_owned()).collect(),
            None => disk["managedBy"].as_str().map(str::to_owned).into_iter().collect(),
        };
        let seen = on.get(disk["id"].as_str().unwrap()).cloned().unwrap_or_default();
        assert_eq!(told, seen, "{}", disk["name"]);
        assert!(seen.len() as u64 <= most, "{} is on {seen:?}", disk["name"]);
        assert_eq!(disk["properties"]["diskState"] == "Attached", !seen.is_empty());
    }
    for vm in VMS.iter().filter_map(|vm| client.emulator.vm(&id(&format!("virtualMachines/{vm}")))) {
        let entries = vm["properties"]["storageProfile"]["dataDisks"].as_array().unwrap();
        let luns: BTreeSet<u64> = entries.iter().map(|entry| entry["lun"].as_u64().unwrap()).collect();
        assert_eq!(luns.len(), entries.len(), "LUNs of {}", vm["name"]);
    }
}

async fn live(steps: Vec<Step>) {
    let client = Client::new();
    for vm in VMS {
        client.emulator.add_vm(vm, "Standard_D2s_v5", "").unwrap();
    }
    for disk in 0..DISKS {
        let shares = if disk + 1 == DISKS { 2 } else { 1 };
        let properties =
            json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 8, "maxShares": shares });
        client
            .create(
                &format!("d{disk}"),
                json!({ "sku": { "name": "Premium_LRS" }, "properties": properties }),
            )
            .await;
    }
    client.emulator.set_latency(azure_emulator::Latency::fixed(Duration::from_secs(5)));
    for step in &steps {
        take(&client, step).await;
        check(&client);
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    check(&client);
    for vm in VMS.iter().filter_map(|vm| client.emulator.vm(&id(&format!("virtualMachines/{vm}")))) {
        let state = vm["properties"]["provisioningState"].as_str().unwrap();
        assert!(["Succeeded", "Failed"].contains(&state), "{} is still {state}", vm["name"]);
        for entry in vm["properties"]["storageProfile"]["dataDisks"].as_array().unwrap() {
            assert_eq!(entry["toBeDetached"], false, "nothing leaves for ever");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn disks_and_vms_tell_the_same_after_any_sequence(steps in proptest::collection::vec(step(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(live(steps));
    }
}
