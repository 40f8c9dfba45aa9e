//! Attach and detach: the delta call, the full list, preemption, limits, zones, caching.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, id};

const SIZE: &str = "Standard_D2s_v5";

fn at(disk: &str, lun: u64) -> Value {
    json!({ "diskId": disk, "lun": lun, "caching": "ReadOnly" })
}

#[tokio::test(start_paused = true)]
async fn an_attach_is_wanted_at_once_and_real_at_the_end() {
    let client = Client::slow(Duration::from_secs(5));
    client.emulator.add_vm("node-a", SIZE, "").unwrap();
    let disk = client.disk("a", "Premium_LRS", 8).await;
    let reply = client.attach("node-a", json!([at(&disk, 0)])).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("location"), "");
    assert_eq!(reply.header("etag"), "\"2\"");
    assert_eq!(reply.body["dataDisks"][0]["lun"], 0);
    let waiting = client.get("disks/a").await;
    assert_eq!(
        (&waiting["properties"]["diskState"], &waiting["managedBy"]),
        (&json!("Unattached"), &Value::Null)
    );
    assert_eq!(client.get("virtualMachines/node-a").await["properties"]["provisioningState"], "Updating");

    assert_eq!(client.end(&reply).await["status"], "Succeeded");
    let attached = client.get("disks/a").await;
    assert_eq!(attached["properties"]["diskState"], "Attached");
    assert_eq!(attached["managedBy"], id("virtualMachines/node-a"));
    let refused = client.send("DELETE", "disks/a", Value::Null).await;
    assert_eq!((refused.status, refused.code()), (409, "OperationNotAllowed"));

    let reply = client.detach("node-a", &disk).await;
    assert_eq!(reply.body["dataDisks"][0]["toBeDetached"], true);
    assert_eq!(client.get("disks/a").await["properties"]["diskState"], "Attached");
    client.end(&reply).await;
    assert_eq!(client.get("disks/a").await["properties"]["diskState"], "Unattached");
    let vm = client.get("virtualMachines/node-a").await;
    assert_eq!(
        (&vm["properties"]["storageProfile"]["dataDisks"], &vm["etag"]),
        (&json!([]), &json!("\"4\""))
    );
}

#[tokio::test(start_paused = true)]
async fn a_newer_write_preempts_the_older_one_and_carries_its_goal() {
    let client = Client::slow(Duration::from_secs(5));
    client.emulator.add_vm("node-a", SIZE, "").unwrap();
    let (a, b) = (client.disk("a", "Premium_LRS", 8).await, client.disk("b", "Premium_LRS", 8).await);
    let first = client.attach("node-a", json!([at(&a, 0)])).await;
    let second = client.attach("node-a", json!([at(&b, 1)])).await;
    let poll = client.poll(&first).await;
    assert_eq!((&poll["status"], &poll["error"]["code"]), (&json!("Canceled"), &json!("OperationPreempted")));
    client.end(&second).await;
    let vm = id("virtualMachines/node-a");
    assert_eq!(client.emulator.attached()[&vm], json!({ "0": a, "1": b }));
}

#[tokio::test(start_paused = true)]
async fn a_full_list_is_the_new_truth() {
    let client = Client::new();
    client.emulator.add_vm("node-a", SIZE, "").unwrap();
    let (a, b) = (client.disk("a", "Premium_LRS", 8).await, client.disk("b", "Premium_LRS", 8).await);
    let entry =
        |disk: &str, lun: u64| json!({ "lun": lun, "createOption": "Attach", "managedDisk": { "id": disk } });
    let list = |entries: Value| json!({ "location": "eastus2", "properties": { "storageProfile": { "dataDisks": entries } } });
    let put = async |entries: Value| {
        let reply = client.send("PUT", "virtualMachines/node-a", list(entries)).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply
    };
    let vm = id("virtualMachines/node-a");
    put(json!([entry(&a, 0), entry(&b, 1)])).await;
    assert_eq!(client.emulator.attached()[&vm], json!({ "0": a, "1": b }));
    let same = put(json!([entry(&a, 0), entry(&b, 1)])).await;
    assert_eq!(same.header("azure-asyncoperation"), "", "nothing to do, no operation");
    put(json!([entry(&b, 1)])).await;
    assert_eq!(client.emulator.attached()[&vm], json!({ "1": b }), "what is not listed is detached");
    let mut leaving = entry(&b, 1);
    leaving["toBeDetached"] = json!(true);
    let reply = put(json!([leaving])).await;
    assert_eq!(reply.body["properties"]["storageProfile"]["dataDisks"][0]["toBeDetached"], true);
    assert_eq!(client.emulator.attached()[&vm], json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_stale_etag_is_refused() {
    let client = Client::new();
    client.emulator.add_vm("node-a", SIZE, "").unwrap();
    let rows = [
        ("if-match", "\"1\"", 200),
        ("if-match", "\"1\"", 412),
        ("if-match", "*", 200),
        ("if-none-match", "*", 412),
    ];
    for (name, value, status) in rows {
        let reply = client.send_with("PUT", "virtualMachines/node-a", json!({}), &[(name, value)]).await;
        assert_eq!(reply.status, status, "{name}: {value}: {}", reply.body);
    }
}

#[tokio::test(start_paused = true)]
async fn what_azure_refuses_is_refused_and_the_vm_stays_as_it_was() {
    let client = Client::new();
    for (vm, size, zone) in
        [("plain", SIZE, ""), ("zonal", SIZE, "1"), ("old", "Standard_D2_v3", ""), ("other", SIZE, "")]
    {
        client.emulator.add_vm(vm, size, zone).unwrap();
    }
    let free = client.disk("free", "Premium_LRS", 8).await;
    let held = client.disk("held", "Premium_LRS", 8).await;
    let large = client.disk("large", "Premium_LRS", 4096).await;
    let ultra = client.disk("ultra", "UltraSSD_LRS", 8).await;
    let mine = client.disk("mine", "Premium_LRS", 8).await;
    let zoned = json!({ "zones": ["2"], "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 8 } });
    let zoned = client.create("zoned", zoned).await;
    client.attach("other", json!([at(&held, 0)])).await;
    client.attach("plain", json!([at(&mine, 5)])).await;
    let foreign = free.replace(azure_emulator::SUBSCRIPTION, "0");
    let rows: &[(&str, &str, Value, u16, &str)] = &[
        ("held elsewhere", "plain", at(&held, 0), 409, "ConflictingUserInput"),
        ("LUN out of range", "plain", at(&free, 64), 400, "InvalidParameter"),
        ("LUN taken", "plain", at(&free, 5), 400, "InvalidParameter"),
        ("already there, other LUN", "plain", at(&mine, 6), 409, "ConflictingUserInput"),
        ("cached though large", "plain", at(&large, 0), 400, "InvalidParameter"),
        ("ultra not enabled", "plain", json!({ "diskId": ultra }), 400, "InvalidParameter"),
        ("zone of a disk", "zonal", at(&zoned, 0), 400, "BadRequest"),
        ("regional disk, zonal VM", "zonal", at(&free, 0), 400, "BadRequest"),
        ("no premium", "old", at(&free, 0), 400, "InvalidParameter"),
        ("no such disk", "plain", at(&id("disks/no"), 0), 404, "NotFound"),
        ("another subscription", "plain", at(&foreign, 0), 400, "InvalidParameter"),
        ("no such VM", "gone", at(&free, 0), 404, "ResourceNotFound"),
    ];
    for (what, vm, item, status, code) in rows {
        let reply = client.attach(vm, json!([item])).await;
        assert_eq!((reply.status, reply.code()), (*status, *code), "{what}: {}", reply.body);
    }
    let one_bad = client.attach("plain", json!([at(&free, 0), at(&held, 1)])).await;
    assert_eq!(one_bad.status, 409);
    assert_eq!(client.emulator.attached()[&id("virtualMachines/plain")], json!({ "5": mine }));
}

#[tokio::test(start_paused = true)]
async fn a_vm_takes_as_many_disks_as_its_size_and_picks_luns_itself() {
    let client = Client::new();
    client.emulator.add_vm("node-a", SIZE, "").unwrap();
    for number in 0..4 {
        let disk = client.disk(&format!("d{number}"), "Premium_LRS", 8).await;
        let reply = client.attach("node-a", json!([{ "diskId": disk }])).await;
        assert_eq!(reply.body["dataDisks"][number]["lun"], number, "{}", reply.body);
    }
    let fifth = client.disk("d5", "Premium_LRS", 8).await;
    let reply = client.attach("node-a", json!([{ "diskId": fifth }])).await;
    assert_eq!((reply.status, reply.code()), (409, "OperationNotAllowed"));
    assert!(
        reply.body["error"]["message"].as_str().unwrap().ends_with("attached to a VM of this size is 4.")
    );
}

#[tokio::test(start_paused = true)]
async fn two_vms_that_race_for_a_disk_do_not_both_get_it() {
    let client = Client::slow(Duration::from_secs(5));
    client.emulator.add_vm("a", SIZE, "").unwrap();
    client.emulator.add_vm("b", SIZE, "").unwrap();
    let disk = client.disk("d", "Premium_LRS", 8).await;
    let (first, second) =
        (client.attach("a", json!([at(&disk, 0)])).await, client.attach("b", json!([at(&disk, 0)])).await);
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(client.end(&first).await["status"], "Succeeded");
    let lost = client.end(&second).await;
    assert_eq!((&lost["status"], &lost["error"]["code"]), (&json!("Failed"), &json!("ConflictingUserInput")));
    let vm = client.get("virtualMachines/b").await;
    assert_eq!(vm["properties"]["provisioningState"], "Failed");
    assert_eq!(
        vm["properties"]["storageProfile"]["dataDisks"][0]["name"], "d",
        "the bad disk stays in the model"
    );
}

#[tokio::test(start_paused = true)]
async fn shared_disks_are_held_by_as_many_vms_as_they_allow() {
    let client = Client::new();
    let body = json!({ "sku": { "name": "Premium_LRS" }, "properties": { "maxShares": 2, "creationData": { "createOption": "Empty" }, "diskSizeGB": 256 } });
    let disk = client.create("s", body).await;
    let item = json!([{ "diskId": disk, "lun": 0 }]);
    for vm in ["a", "b", "c"] {
        client.emulator.add_vm(vm, SIZE, "").unwrap();
    }
    assert_eq!(client.attach("a", item.clone()).await.status, 200);
    assert_eq!(client.attach("b", item.clone()).await.status, 200);
    let held = client.get("disks/s").await;
    assert_eq!(held["managedByExtended"], json!([id("virtualMachines/a"), id("virtualMachines/b")]));
    assert_eq!(held["properties"]["shareInfo"][1]["vmUri"], id("virtualMachines/b"));
    assert_eq!(client.attach("c", item).await.code(), "ConflictingUserInput");
    assert!(client.emulator.delete_vm("a"));
    assert_eq!(client.get("disks/s").await["managedBy"], id("virtualMachines/b"));
}

#[tokio::test(start_paused = true)]
async fn a_disk_grows_on_a_running_vm_only_where_azure_can() {
    let client = Client::new();
    client.emulator.add_vm("new", SIZE, "").unwrap();
    client.emulator.add_vm("old", "Standard_D2_v3", "").unwrap();
    let rows = [("a", "new", 64, 128, 202), ("b", "old", 64, 128, 409), ("c", "new", 4095, 4097, 409)];
    for (name, vm, from, to, status) in rows {
        let disk = client.disk(name, "StandardSSD_LRS", from).await;
        assert_eq!(client.attach(vm, json!([{ "diskId": disk }])).await.status, 200);
        let grown = client
            .send("PATCH", &format!("disks/{name}"), json!({ "properties": { "diskSizeGB": to } }))
            .await;
        assert_eq!(grown.status, status, "{name}: {}", grown.body);
    }
    client.send("POST", "virtualMachines/old/deallocate", Value::Null).await;
    assert_eq!(client.get("disks/b").await["properties"]["diskState"], "Reserved");
    assert_eq!(
        client.send("PATCH", "disks/b", json!({ "properties": { "diskSizeGB": 128 } })).await.status,
        202
    );
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_deleted_during_its_attach_leaves_a_vm_with_a_bad_disk() {
    let client = Client::new();
    client.emulator.add_vm("node-a", SIZE, "").unwrap();
    let disk = client.disk("d", "Premium_LRS", 8).await;
    let durations = json!({ "operation_ms": 6000, "disk_ms": 100 });
    client.send("PUT", "http://emulator/_emulator/latency", durations).await;
    let attach = client.attach("node-a", json!([at(&disk, 0)])).await;
    let delete = client.send("DELETE", "disks/d", Value::Null).await;
    assert_eq!(client.end(&delete).await["status"], "Succeeded", "Azure does not see the attach coming");
    assert_eq!(client.end(&attach).await["status"], "Failed");
    let vm = client.get("virtualMachines/node-a").await;
    assert_eq!(vm["properties"]["provisioningState"], "Failed");
    assert_eq!(vm["properties"]["storageProfile"]["dataDisks"][0]["name"], "d");
    let other = client.disk("e", "Premium_LRS", 8).await;
    let repair = json!({ "properties": { "storageProfile": { "dataDisks": [
        { "lun": 1, "createOption": "Attach", "managedDisk": { "id": other } }] } } });
    let repaired = client.send("PATCH", "virtualMachines/node-a", repair).await;
    assert_eq!(client.end(&repaired).await["status"], "Succeeded", "a list without it repairs");
    assert_eq!(client.emulator.attached()[&id("virtualMachines/node-a")], json!({ "1": other }));
}
