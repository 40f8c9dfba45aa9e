//! Reads that lag behind, as those from ARM's caches do.

use std::time::Duration;

use azure_emulator::{Action, Fault, Latency};
use serde_json::{Value, json};

use crate::client::{Client, id};

const VM: &str = "virtualMachines/node-a";

fn stale(path: &str, ms: u64, changes: usize) -> Fault {
    Fault::on("GET", path, Action::StaleRead { ms, changes }).times(u64::MAX)
}

async fn status(client: &Client, path: &str) -> u16 {
    client.send("GET", path, Value::Null).await.status
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_missing_after_its_creation_and_there_after_its_end() {
    let client = Client::new();
    client.emulator.script(stale("/disks/a", 5000, 0));
    client.disk("a", "Premium_LRS", 8).await;
    client.disk("b", "Premium_LRS", 8).await;
    assert_eq!((status(&client, "disks/a").await, status(&client, "disks/b").await), (404, 200));
    assert_eq!(client.get("disks").await["value"].as_array().unwrap().len(), 2, "the list is another path");
    tokio::time::advance(Duration::from_millis(4999)).await;
    assert_eq!(status(&client, "disks/a").await, 404);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(status(&client, "disks/a").await, 200);
    let deleted = client.send("DELETE", "disks/a", Value::Null).await;
    assert_eq!(client.end(&deleted).await["status"], "Succeeded", "polls are never stale");
    assert_eq!(status(&client, "disks/a").await, 200);
    assert_eq!(client.send("DELETE", "disks/a", Value::Null).await.status, 204, "nor are writes");
    client.emulator.clear_faults();
    assert_eq!(status(&client, "disks/a").await, 404);
}

#[tokio::test(start_paused = true)]
async fn a_vm_shows_the_disks_that_it_had_so_many_changes_ago() {
    let client = Client::new();
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
    let disk = client.disk("a", "Premium_LRS", 8).await;
    client.emulator.set_latency(Latency::fixed(Duration::from_secs(3)));
    client.emulator.script(stale("/unrelated", 0, 9));
    let reply = client.attach("node-a", json!([{ "diskId": disk, "lun": 0 }])).await;
    client.end(&reply).await;
    // An unrelated change is none of this answer.
    client.disk("b", "Premium_LRS", 8).await;
    for (changes, state, disks) in
        [(0, "Succeeded", 1), (1, "Updating", 1), (2, "Succeeded", 0), (9, "Succeeded", 0)]
    {
        client.emulator.script(Fault::on("GET", VM, Action::StaleRead { ms: 0, changes }));
        let vm = client.get(VM).await;
        let listed = vm["properties"]["storageProfile"]["dataDisks"].as_array().unwrap().len();
        assert_eq!(
            (vm["properties"]["provisioningState"].as_str(), listed),
            (Some(state), disks),
            "{changes}"
        );
    }
    client.emulator.script(Fault::on("GET", "/disks/a", Action::StaleRead { ms: 0, changes: 1 }));
    assert_eq!(client.get("disks/a").await["managedBy"], Value::Null);
    assert_eq!(client.get("disks/a").await["managedBy"], id(VM), "the fault is spent");
    let detached = client.detach("node-a", &disk).await;
    assert_eq!(client.end(&detached).await["status"], "Succeeded", "the present was not touched");
}

#[tokio::test(start_paused = true)]
async fn an_operation_ends_in_the_past_when_it_was_due() {
    let client = Client::slow(Duration::from_secs(3));
    client.emulator.script(stale("/disks/a", 2000, 0));
    let body = json!({ "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 8 } });
    client.send("PUT", "disks/a", body).await;
    // Nobody asks before this moment, and yet it ended two seconds before it.
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(client.get("disks/a").await["properties"]["provisioningState"], "Succeeded");
}
