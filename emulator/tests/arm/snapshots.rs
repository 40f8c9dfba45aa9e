//! Snapshots and what is made of them.

use std::time::Duration;

use azure_emulator::{Latency, Options};
use serde_json::{Value, json};

use crate::client::{Client, id};

fn of(source: &str, incremental: bool) -> Value {
    json!({ "location": "eastus2", "properties": {
        "creationData": { "createOption": "Copy", "sourceResourceId": source }, "incremental": incremental } })
}

fn copy_of(source: &str, sku: &str, gib: Option<u64>) -> Value {
    json!({ "sku": { "name": sku }, "properties": {
        "creationData": { "createOption": "Copy", "sourceResourceId": source }, "diskSizeGB": gib } })
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_a_premium_disk_is_usable_at_once() {
    let client = Client::new();
    let disk = client.disk("a", "Premium_LRS", 64).await;
    let created = client.send("PUT", "snapshots/s", of(&disk, true)).await;
    assert_eq!((created.status, &created.body["properties"]["provisioningState"]), (202, &json!("Updating")));
    client.end(&created).await;
    let snapshot = client.get("snapshots/s").await;
    let properties = &snapshot["properties"];
    assert_eq!(properties["diskSizeGB"], 64);
    assert_eq!(properties["snapshotAccessState"], "Available");
    assert_eq!(
        properties["creationData"]["sourceUniqueId"],
        client.get("disks/a").await["properties"]["uniqueId"]
    );
    assert!(properties["incrementalSnapshotFamilyId"].is_string());
    assert!(properties["completionPercent"].is_null());

    assert_eq!(client.send("PUT", "snapshots/s", of(&disk, true)).await.status, 202, "the same again");
    let other = client.disk("b", "Premium_LRS", 64).await;
    assert_eq!(client.send("PUT", "snapshots/s", of(&other, true)).await.status, 409);
    assert_eq!(client.get("snapshots").await["value"].as_array().unwrap().len(), 1);
    assert_eq!(client.send("DELETE", "snapshots/s", Value::Null).await.status, 202);
    assert_eq!(client.send("GET", "snapshots/s", Value::Null).await.code(), "ResourceNotFound");
    assert_eq!(client.send("DELETE", "snapshots/s", Value::Null).await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_by_background_copy_is_no_source_before_it_is_complete() {
    let latency = Latency { copy: Duration::from_secs(100), ..Latency::default() };
    let client = Client::with(Options { latency, ..Options::default() });
    let disk = client.disk("a", "PremiumV2_LRS", 64).await;
    assert_eq!(client.send("PUT", "snapshots/full", of(&disk, false)).await.code(), "InvalidParameter");
    let created = client.send("PUT", "snapshots/s", of(&disk, true)).await;
    client.end(&created).await;
    let body = copy_of(&id("snapshots/s"), "PremiumV2_LRS", None);
    for (more_seconds, percent, state, status) in
        [(0, 0, "Pending", 409), (25, 25, "Pending", 409), (75, 100, "Available", 202)]
    {
        tokio::time::advance(Duration::from_secs(more_seconds)).await;
        let snapshot = client.get("snapshots/s").await;
        assert_eq!(snapshot["properties"]["completionPercent"], percent);
        assert_eq!(snapshot["properties"]["snapshotAccessState"], state);
        assert_eq!(client.send("PUT", "disks/b", body.clone()).await.status, status, "at {percent} %");
    }
}

#[tokio::test(start_paused = true)]
async fn growing_a_disk_ends_the_copies_of_it_that_run() {
    let latency = Latency { copy: Duration::from_secs(100), ..Latency::default() };
    let client = Client::with(Options { latency, ..Options::default() });
    let disk = client.disk("a", "PremiumV2_LRS", 64).await;
    for name in ["s0", "s1", "s2"] {
        assert_eq!(client.send("PUT", &format!("snapshots/{name}"), of(&disk, true)).await.status, 202);
    }
    assert_eq!(client.send("PUT", "snapshots/s3", of(&disk, true)).await.status, 409, "three at a time");
    let grown = client.send("PATCH", "disks/a", json!({ "properties": { "diskSizeGB": 65 } })).await;
    client.end(&grown).await;
    assert_eq!(client.get("snapshots/s0").await["properties"]["provisioningState"], "Failed");
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_at_least_as_large_as_its_source_and_of_a_sku_that_can_hold_it() {
    let client = Client::new();
    let disk = client.disk("a", "Premium_LRS", 64).await;
    let by_number = client.disk("v2", "PremiumV2_LRS", 64).await;
    for (name, source, incremental) in
        [("inc", &disk, true), ("full", &disk, false), ("v2", &by_number, true)]
    {
        let created = client.send("PUT", &format!("snapshots/{name}"), of(source, incremental)).await;
        client.end(&created).await;
    }
    let rows = [
        ("inc", "Premium_LRS", Some(63), 400, 0),
        ("inc", "Premium_LRS", None, 202, 64),
        ("inc", "StandardSSD_LRS", Some(128), 202, 128),
        ("inc", "PremiumV2_LRS", None, 202, 64),
        ("full", "PremiumV2_LRS", None, 400, 0),
        ("full", "Premium_LRS", None, 202, 64),
        ("v2", "Premium_LRS", None, 400, 0),
    ];
    for (number, (snapshot, sku, gib, status, size)) in rows.into_iter().enumerate() {
        let path = format!("disks/copy{number}");
        let reply = client.send("PUT", &path, copy_of(&id(&format!("snapshots/{snapshot}")), sku, gib)).await;
        assert_eq!(reply.status, status, "{number}: {}", reply.body);
        if status == 202 {
            assert_eq!(client.get(&path).await["properties"]["diskSizeGB"], size, "{number}");
        }
    }
    let clone = client.send("PUT", "disks/clone", copy_of(&disk, "Premium_LRS", None)).await;
    client.end(&clone).await;
    assert_eq!(client.get("disks/clone").await["properties"]["creationData"]["sourceResourceId"], disk);
}
