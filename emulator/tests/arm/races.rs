//! A shared disk that two VMs want at almost the same time.

use std::time::Duration;

use azure_emulator::{Options, Races};
use serde_json::{Value, json};

use crate::client::Client;

/// VMs `a`, `b`, `c`, a disk that three may have and one that only one may.
async fn world(races: Races) -> (Client, String, String) {
    let client = Client::with(Options { races, ..Options::default() });
    for vm in ["a", "b", "c"] {
        client.emulator.add_vm(vm, "Standard_D2s_v5", "").unwrap();
    }
    let body = json!({ "sku": { "name": "Premium_LRS" }, "properties": {
        "creationData": { "createOption": "Empty" }, "diskSizeGB": 8, "maxShares": 3 } });
    let shared = client.create("shared", body).await;
    let single = client.disk("single", "Premium_LRS", 8).await;
    (client, shared, single)
}

fn at(disk: &str) -> Value {
    json!([{ "diskId": disk, "lun": 0 }])
}

#[tokio::test(start_paused = true)]
async fn a_shared_disk_is_refused_to_the_second_vm_within_the_window() {
    let (client, shared, _) = world(Races::azure()).await;
    assert_eq!(client.attach("a", at(&shared)).await.status, 200);
    tokio::time::advance(Duration::from_millis(199)).await;
    let entry = json!({ "lun": 0, "createOption": "Attach", "managedDisk": { "id": shared } });
    let list = json!({ "location": "eastus2", "properties": {
        "hardwareProfile": { "vmSize": "Standard_D2s_v5" }, "storageProfile": { "dataDisks": [entry] },
    }});
    for refused in [
        client.attach("b", at(&shared)).await,
        client.send("PUT", "virtualMachines/b", list.clone()).await,
        client.send("PUT", "virtualMachines/new", list).await,
    ] {
        assert_eq!((refused.status, refused.code()), (409, "ConflictingUserInput"), "{}", refused.body);
        assert_eq!(refused.body["error"]["target"], shared);
    }
    assert_eq!(client.attach("a", at(&shared)).await.status, 200, "who has it is not refused");
    tokio::time::advance(Duration::from_millis(1)).await;
    let second = client.attach("b", at(&shared)).await;
    assert_eq!(client.end(&second).await["status"], "Succeeded");
    let third = client.attach("c", at(&shared)).await;
    assert_eq!(
        (third.status, third.code()),
        (409, "ConflictingUserInput"),
        "each attach opens the window again"
    );
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!(client.attach("c", at(&shared)).await.status, 200);
    assert_eq!(client.get("disks/shared").await["managedByExtended"].as_array().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_window_is_shut_unless_asked_for_and_is_none_of_other_disks() {
    let (client, shared, single) = world(Races::default()).await;
    for vm in ["a", "b"] {
        assert_eq!(client.attach(vm, at(&shared)).await.status, 200, "{vm}");
    }
    let windows = json!({ "vm_ms": 0, "shared_disk_ms": 200 });
    let answer = client.send("PUT", "http://emulator/_emulator/races", windows.clone()).await;
    assert_eq!(answer.body, windows);
    assert_eq!(client.attach("c", json!([{ "diskId": single, "lun": 1 }])).await.status, 200);
    assert_eq!(client.attach("c", at(&shared)).await.code(), "ConflictingUserInput");
    let moved = client.detach("c", &single).await;
    client.end(&moved).await;
    assert_eq!(client.attach("a", json!([{ "diskId": single, "lun": 1 }])).await.status, 200);
}
