//! Disk encryption sets and disk accesses, and the disks and attaches that name them.

use azure_emulator::Rights;
use serde_json::{Value, json};

use crate::client::{Client, id};

fn disk(set: &str) -> Value {
    json!({ "location": "eastus2", "sku": { "name": "Premium_LRS" }, "properties": {
        "creationData": { "createOption": "Empty" }, "diskSizeGB": 8,
        "encryption": { "type": "EncryptionAtRestWithCustomerKey", "diskEncryptionSetId": set },
    }})
}

fn private(access: &str) -> Value {
    json!({ "location": "eastus2", "sku": { "name": "Premium_LRS" }, "properties": {
        "creationData": { "createOption": "Empty" }, "diskSizeGB": 8,
        "networkAccessPolicy": "AllowPrivate", "diskAccessId": access,
    }})
}

#[tokio::test(start_paused = true)]
async fn they_are_made_read_listed_and_removed() {
    let client = Client::new();
    let key = json!({ "activeKey": { "keyUrl": "https://v.vault.azure.net/keys/k/1" } });
    for (kind, properties) in [("diskEncryptionSets", key), ("diskAccesses", json!({}))] {
        let path = format!("{kind}/one");
        assert_eq!(client.send("GET", &path, Value::Null).await.code(), "ResourceNotFound");
        assert_eq!(client.send("DELETE", &path, Value::Null).await.status, 204);
        let body = json!({ "location": "East US 2", "identity": { "type": "SystemAssigned" },
            "tags": { "a": "b" }, "properties": properties });
        let reply = client.send("PUT", &path, body).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        let ended = client.end(&reply).await;
        assert_eq!(ended["properties"]["output"]["id"], id(&path));
        let one = client.get(&path).await;
        assert_eq!(
            (&one["type"], &one["location"], &one["tags"]["a"], &one["properties"]["provisioningState"]),
            (
                &json!(format!("Microsoft.Compute/{kind}")),
                &json!("eastus2"),
                &json!("b"),
                &json!("Succeeded")
            )
        );
        let listed = client.get(kind).await;
        assert_eq!(listed["value"], json!([one]), "the other kind is another list");
        let deleted = client.send("DELETE", &path, Value::Null).await;
        client.end(&deleted).await;
        assert_eq!(client.send("GET", &path, Value::Null).await.status, 404);
    }
    let keyless = client.send("PUT", "diskEncryptionSets/two", json!({ "properties": {} })).await;
    assert_eq!((keyless.status, keyless.code()), (400, "InvalidParameter"));
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_refused_what_it_can_not_name() {
    let client = Client::new();
    let set = client.emulator.add_encryption_set("set", "").unwrap();
    let access = client.emulator.add_disk_access("access", "").unwrap();
    let far_set = client.emulator.add_encryption_set("far", "westus").unwrap();
    let far_access = client.emulator.add_disk_access("far", "westus").unwrap();
    for (body, status, code) in [
        (disk(&set), 202, ""),
        (disk(&set.to_uppercase()), 202, ""),
        (disk(&id("diskEncryptionSets/none")), 404, "NotFound"),
        (disk(&access), 404, "NotFound"),
        (disk(&far_set), 400, "BadRequest"),
        (private(&access), 202, ""),
        (private(&id("diskAccesses/none")), 404, "NotFound"),
        (private(&far_access), 400, "BadRequest"),
    ] {
        let reply = client.send("PUT", "disks/a", body.clone()).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{body}");
        assert_eq!(client.emulator.disks().len(), usize::from(status == 202), "a refusal leaves no disk");
        if status == 202 {
            client.end(&reply).await;
            let gone = client.send("DELETE", "disks/a", Value::Null).await;
            client.end(&gone).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_disk_names_stays_as_long_as_the_disk() {
    let client = Client::new();
    let set = client.emulator.add_encryption_set("set", "").unwrap();
    let access = client.emulator.add_disk_access("access", "").unwrap();
    for (body, path) in [(disk(&set), "diskEncryptionSets/set"), (private(&access), "diskAccesses/access")] {
        client.create("a", body).await;
        let refused = client.send("DELETE", path, Value::Null).await;
        assert_eq!((refused.status, refused.code()), (409, "OperationNotAllowed"), "{path}");
        for path in ["disks/a", path] {
            let gone = client.send("DELETE", path, Value::Null).await;
            assert_eq!(client.end(&gone).await["status"], "Succeeded", "{path}");
            assert_eq!(client.send("GET", path, Value::Null).await.status, 404, "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_rights_nothing_is_named_and_without_the_key_nothing_is_encrypted() {
    let client = Client::new();
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
    let set = client.emulator.add_encryption_set("set", "").unwrap();
    let plain = client.disk("plain", "Premium_LRS", 8).await;
    let before = client.create("before", disk(&set)).await;
    let named = |disk: &str| json!([{ "diskId": disk, "lun": 0, "diskEncryptionSet": { "id": set } }]);

    let rights = json!({ "id": set, "rights": "no_read" });
    assert_eq!(client.send("PUT", "http://emulator/_emulator/rights", rights).await.status, 204);
    let unread = client.send("GET", "diskEncryptionSets/set", Value::Null).await;
    assert_eq!((unread.status, unread.code()), (403, "AuthorizationFailed"));
    assert_eq!(client.get("diskEncryptionSets").await["value"], json!([]));
    for refused in
        [client.send("PUT", "disks/after", disk(&set)).await, client.attach("node-a", named(&plain)).await]
    {
        assert_eq!((refused.status, refused.code()), (403, "LinkedAuthorizationFailed"));
        assert!(refused.body["error"]["message"].as_str().unwrap().contains(&set));
    }

    assert!(client.emulator.set_rights(&set, Rights::NoKey));
    let reply = client.send("PUT", "disks/after", disk(&set)).await;
    let ended = client.end(&reply).await;
    assert_eq!((reply.status, &ended["error"]["code"]), (202, &json!("KeyVaultAccessForbidden")));
    assert_eq!(client.get("disks/after").await["properties"]["provisioningState"], "Failed");
    for disk in [&before, &plain] {
        let reply = client.attach("node-a", named(disk)).await;
        assert_eq!(client.end(&reply).await["error"]["code"], "KeyVaultAccessForbidden", "{disk}");
        assert_eq!(client.get("virtualMachines/node-a").await["properties"]["provisioningState"], "Failed");
        let back = client.detach("node-a", disk).await;
        client.end(&back).await;
    }
    assert!(client.emulator.set_rights(&set, Rights::Full));
    let reply = client.attach("node-a", named(&before)).await;
    assert_eq!(client.end(&reply).await["status"], "Succeeded");
    assert!(!client.emulator.set_rights(&id("diskEncryptionSets/none"), Rights::Full));
}

#[tokio::test(start_paused = true)]
async fn an_attach_is_refused_a_set_that_is_not_there_or_elsewhere() {
    let client = Client::new();
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
    let plain = client.disk("plain", "Premium_LRS", 8).await;
    let far = client.emulator.add_encryption_set("far", "westus").unwrap();
    for (set, status, code) in [(id("diskEncryptionSets/none"), 404, "NotFound"), (far, 400, "BadRequest")] {
        let delta = json!([{ "diskId": plain, "lun": 0, "diskEncryptionSet": { "id": set } }]);
        let list = json!({ "properties": { "storageProfile": { "dataDisks": [{
            "lun": 0, "createOption": "Attach", "managedDisk": { "id": plain, "diskEncryptionSet": { "id": set } },
        }]}}});
        for reply in
            [client.attach("node-a", delta).await, client.send("PUT", "virtualMachines/node-a", list).await]
        {
            assert_eq!((reply.status, reply.code()), (status, code), "{set}");
        }
    }
}
