//! Managed disks: life, defaults, refusals.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;

fn empty(gib: u64) -> Value {
    json!({ "location": "eastus2", "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": gib } })
}

fn sku(name: &str, gib: u64) -> Value {
    let mut body = empty(gib);
    body["sku"] = json!({ "name": name });
    body
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_made_read_changed_listed_and_deleted() {
    let client = Client::new();
    let created = client.send("PUT", "disks/a", empty(200)).await;
    assert_eq!(created.status, 202);
    assert_eq!(created.body["properties"]["provisioningState"], "Updating");
    assert!(created.header("azure-asyncoperation").contains("/DiskOperations/"));
    assert!(created.header("location").contains("monitor=true"));
    let done = client.poll(&created).await;
    assert_eq!(done["status"], "Succeeded");
    assert_eq!(done["properties"]["output"]["properties"]["diskState"], "Unattached");

    let disk = client.get("disks/A").await;
    assert_eq!(disk["sku"], json!({ "name": "Standard_LRS", "tier": "Standard" }));
    assert_eq!(disk["properties"]["diskIOPSReadWrite"], 500);
    assert_eq!(disk["properties"]["diskSizeBytes"], 200_u64 << 30);

    let patched = client.send("PATCH", "disks/a", json!({ "properties": { "diskSizeGB": 300 } })).await;
    assert_eq!(client.end(&patched).await["status"], "Succeeded");
    let list = client.get("disks").await;
    assert_eq!(list["value"][0]["properties"]["diskSizeGB"], 300);

    let deleted = client.send("DELETE", "disks/a", Value::Null).await;
    assert_eq!((deleted.status, deleted.body.clone()), (202, Value::Null));
    assert_eq!(client.end(&deleted).await["status"], "Succeeded");
    assert_eq!(client.send("GET", "disks/a", Value::Null).await.code(), "ResourceNotFound");
    assert_eq!(client.send("DELETE", "disks/a", Value::Null).await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn a_slow_operation_is_in_progress_until_its_time_is_over() {
    let client = Client::slow(Duration::from_secs(3));
    let created = client.send("PUT", "disks/a", empty(8)).await;
    assert_eq!(created.header("retry-after"), "2");
    tokio::time::advance(Duration::from_millis(2999)).await;
    assert_eq!(client.poll(&created).await["status"], "InProgress");
    assert!(client.get("disks/a").await["properties"]["diskState"].is_null());
    assert_eq!(client.send("GET", created.header("location"), Value::Null).await.status, 202);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(client.poll(&created).await["status"], "Succeeded");
    let by_location = client.send("GET", created.header("location"), Value::Null).await;
    assert_eq!((by_location.status, &by_location.body["name"]), (200, &json!("a")));
}

#[tokio::test(start_paused = true)]
async fn performance_by_number_has_defaults_and_can_be_changed() {
    let client = Client::new();
    client.disk("v2", "PremiumV2_LRS", 100).await;
    let disk = client.get("disks/v2").await;
    assert_eq!(disk["properties"]["diskIOPSReadWrite"], 3000);
    assert_eq!(disk["properties"]["creationData"]["logicalSectorSize"], 4096);
    let body = json!({ "properties": { "diskIOPSReadWrite": 4000, "diskMBpsReadWrite": 200 } });
    let patched = client.send("PATCH", "disks/v2", body).await;
    client.end(&patched).await;
    let disk = client.get("disks/v2").await;
    assert_eq!(
        (&disk["properties"]["diskIOPSReadWrite"], &disk["properties"]["diskMBpsReadWrite"]),
        (&json!(4000), &json!(200))
    );
}

#[tokio::test(start_paused = true)]
async fn what_azure_refuses_is_refused_and_nothing_is_written() {
    let with = |mut body: Value, path: &str, value: Value| {
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let shared = |sku_name: &str, gib: u64, shares: u64| {
        let mut body = sku(sku_name, gib);
        body["properties"]["maxShares"] = json!(shares);
        body
    };
    let rows: &[(&str, Value, u16, &str)] = &[
        ("no size", with(empty(8), "/properties/diskSizeGB", Value::Null), 400, "InvalidParameter"),
        ("too large", empty(32768), 400, "InvalidParameter"),
        ("zero", empty(0), 400, "InvalidParameter"),
        ("ultra too small", sku("UltraSSD_LRS", 3), 400, "InvalidParameter"),
        ("v2 too large", sku("PremiumV2_LRS", 65537), 400, "InvalidParameter"),
        ("v2 beyond all reason", sku("PremiumV2_LRS", u64::MAX), 400, "InvalidParameter"),
        ("unknown sku", sku("Gold_LRS", 8), 400, "InvalidParameter"),
        ("hdd shared", shared("Standard_LRS", 8, 2), 400, "InvalidParameter"),
        ("premium shared too widely", shared("Premium_LRS", 512, 4), 400, "InvalidParameter"),
        (
            "no source",
            with(empty(8), "/properties/creationData/createOption", json!("Copy")),
            404,
            "NotFound",
        ),
        (
            "iops on premium",
            with(
                sku("Premium_LRS", 8),
                "/properties",
                json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 8, "diskIOPSReadWrite": 500 }),
            ),
            400,
            "InvalidParameter",
        ),
    ];
    let client = Client::new();
    for (what, body, status, code) in rows {
        let reply = client.send("PUT", "disks/a", body.clone()).await;
        assert_eq!((reply.status, reply.code()), (*status, *code), "{what}: {}", reply.body);
    }
    assert_eq!(client.get("disks").await["value"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_misshapen_body_is_refused_wherever_it_goes() {
    let client = Client::new();
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
    client.disk("a", "Premium_LRS", 8).await;
    let bodies = [
        json!({ "properties": "text" }),
        json!({ "properties": { "creationData": [] } }),
        json!({ "sku": "Premium_LRS", "properties": {} }),
        json!({ "tags": 1 }),
        json!({ "properties": { "storageProfile": { "osDisk": { "managedDisk": "x" } } } }),
        json!({ "properties": { "virtualMachineProfile": 7 } }),
        json!([]),
    ];
    let targets = [
        ("PUT", "disks/b"),
        ("PUT", "disks/a"),
        ("PATCH", "disks/a"),
        ("PUT", "snapshots/s"),
        ("PUT", "virtualMachines/node-a"),
        ("PUT", "virtualMachines/new"),
        ("PUT", "virtualMachineScaleSets/set"),
    ];
    for body in &bodies {
        for (method, path) in targets {
            let reply = client.send(method, path, body.clone()).await;
            assert_eq!(
                (reply.status, reply.code()),
                (400, "InvalidRequestContent"),
                "{method} {path} {body}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_keeps_what_it_was_made_of_and_never_shrinks() {
    let client = Client::new();
    client.disk("a", "Premium_LRS", 64).await;
    let rows: &[(&str, &str, Value, u16)] = &[
        ("PATCH", "shrink", json!({ "properties": { "diskSizeGB": 63 } }), 400),
        ("PATCH", "same", json!({ "properties": { "diskSizeGB": 64 } }), 202),
        ("PUT", "the same again", sku("Premium_LRS", 64), 202),
        (
            "PUT",
            "another zone",
            json!({ "zones": ["1"], "properties": { "creationData": { "createOption": "Empty" } } }),
            409,
        ),
        (
            "PUT",
            "another origin",
            json!({ "properties": { "creationData": { "createOption": "Copy" } } }),
            409,
        ),
        ("PATCH", "to ultra", json!({ "sku": { "name": "UltraSSD_LRS" } }), 409),
        ("PATCH", "to standard ssd", json!({ "sku": { "name": "StandardSSD_LRS" } }), 202),
    ];
    for (method, what, body, status) in rows {
        let reply = client.send(method, "disks/a", body.clone()).await;
        assert_eq!(reply.status, *status, "{what}: {}", reply.body);
    }
    assert_eq!(client.get("disks/a").await["sku"]["name"], "StandardSSD_LRS");
}

#[tokio::test(start_paused = true)]
async fn every_arm_call_brings_a_token_and_an_api_version_for_a_known_group() {
    let client = Client::new();
    let base = "http://emulator/subscriptions";
    let ours = azure_emulator::SUBSCRIPTION;
    let rows: &[(String, &str, u16)] = &[
        (format!("{base}/{ours}/resourceGroups/rg"), "MissingApiVersionParameter", 400),
        (
            format!("{base}/{ours}/resourceGroups/rg?api-version=2016-01-01"),
            "InvalidApiVersionParameter",
            400,
        ),
        (format!("{base}/other/resourceGroups/rg?api-version=2021-04-01"), "SubscriptionNotFound", 404),
        (
            format!(
                "{base}/{ours}/resourceGroups/no/providers/Microsoft.Compute/disks?api-version=2025-01-02"
            ),
            "ResourceGroupNotFound",
            404,
        ),
    ];
    for (uri, code, status) in rows {
        let reply = client.send("GET", uri, Value::Null).await;
        assert_eq!((reply.status, reply.code()), (*status, *code), "{uri}");
        assert_eq!(reply.header("x-ms-failure-cause"), "gateway");
    }
    let request = http::Request::get(format!("{base}/{ours}/resourceGroups/rg?api-version=2021-04-01"));
    let response = client.emulator.handle(request.body(bytes::Bytes::new()).unwrap()).await;
    assert_eq!(response.status(), 401);
}
