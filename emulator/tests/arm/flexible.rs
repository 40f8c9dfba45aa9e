//! Flexible scale sets: VMs of their own that name the set.

use azure_emulator::{Emulator, SUBSCRIPTION};
use serde_json::{Value, json};

use crate::client::{Client, id};

const SET: &str = "virtualMachineScaleSets/flex";

/// The VMs that a filter on `set` lists.
async fn members(client: &Client, set: &str) -> Vec<Value> {
    let filter = format!("%27virtualMachineScaleSet%2Fid%27%20eq%20%27{set}%27");
    let uri = format!("http://emulator{}?api-version=2025-04-01&%24filter={filter}", id("virtualMachines"));
    client.get(&uri).await["value"].as_array().unwrap().clone()
}

fn names(emulator: &Emulator, vms: &[String]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let vms = vms.iter().map(|vm| emulator.vm(vm).unwrap());
    vms.map(|vm| (text(&vm["name"]), text(&vm["properties"]["osProfile"]["computerName"]))).collect()
}

#[tokio::test(start_paused = true)]
async fn members_are_vms_of_their_own_with_two_names() {
    let client = Client::new();
    let vms =
        client.emulator.add_flexible_scale_set("flex", "pool", "Standard_D2s_v5", &["1", "2"], 3).unwrap();
    client.emulator.add_vm("alone", "Standard_D2s_v5", "").unwrap();
    client.emulator.add_scale_set("uniform", "u", "Standard_D2s_v5", &[], 1).unwrap();
    for ((name, computer), vm) in names(&client.emulator, &vms).iter().zip(&vms) {
        let suffix = name.strip_prefix("flex_").unwrap();
        assert!(suffix.len() == 8 && suffix.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
        assert!(computer.len() == 10 && computer.starts_with("pool"), "{computer}");
        assert_eq!(*vm, id(&format!("virtualMachines/{name}")));
        assert!(client.emulator.has_vm(computer), "a machine is known by its computer's name");
        let metadata = format!("http://emulator/vms/{computer}/metadata/instance?api-version=2021-02-01");
        let metadata = client.send_with("GET", &metadata, Value::Null, &[("metadata", "true")]).await;
        let compute = &metadata.body["compute"];
        assert_eq!((&compute["name"], &compute["vmScaleSetName"]), (&json!(name), &json!("flex")));
        assert_eq!(client.get(&format!("virtualMachines/{name}")).await["id"], *vm);
    }
    assert_eq!(client.get(SET).await["properties"]["orchestrationMode"], "Flexible");
    assert_eq!(client.get("virtualMachines").await["value"].as_array().unwrap().len(), 4);
    assert_eq!(members(&client, &id(SET)).await.len(), 3);
    assert_eq!(members(&client, &id(SET).to_uppercase()).await.len(), 3);
    for other in [id("virtualMachineScaleSets/uniform"), "notexists".to_owned()] {
        assert_eq!(members(&client, &other).await, Vec::<Value>::new(), "{other}");
    }
    let zones: Vec<Value> =
        members(&client, &id(SET)).await.iter().map(|vm| vm["zones"][0].clone()).collect();
    assert_eq!(zones.iter().filter(|zone| **zone == "1").count(), 2, "{zones:?}");
}

#[tokio::test(start_paused = true)]
async fn a_member_takes_disks_as_a_vm_and_not_as_an_instance() {
    let client = Client::new();
    let vms = client.emulator.add_flexible_scale_set("flex", "pool", "Standard_D2s_v5", &[], 1).unwrap();
    let disk = client.disk("a", "Premium_LRS", 8).await;
    let name = vms[0].rsplit('/').next().unwrap();
    let reply = client.attach(name, json!([{ "diskId": disk, "lun": 0 }])).await;
    client.end(&reply).await;
    assert_eq!(client.get("disks/a").await["managedBy"], vms[0]);
    let listed = client.get(&format!("{SET}/virtualMachines")).await;
    assert_eq!(listed["value"][0]["id"], vms[0]);
    for (method, path) in [("GET", ""), ("PUT", ""), ("POST", "/attachDetachDataDisks")] {
        let path = format!("{SET}/virtualMachines/0{path}");
        let refused = client.send(method, &path, json!({})).await;
        assert_eq!((refused.status, refused.code()), (409, "OperationNotAllowed"), "{method} {path}");
    }
    let deleted = client.send("DELETE", &format!("virtualMachines/{name}"), Value::Null).await;
    client.end(&deleted).await;
    assert_eq!(client.get(SET).await["sku"]["capacity"], 0);
    assert_eq!(client.get("disks/a").await["properties"]["diskState"], "Unattached");
}

#[tokio::test(start_paused = true)]
async fn a_set_is_made_with_or_without_a_profile_and_vms_join_it() {
    let client = Client::new();
    let bare = json!({ "location": "eastus2", "properties": { "orchestrationMode": "Flexible" } });
    let reply = client.send("PUT", SET, bare).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    client.end(&reply).await;
    let refused = client.send("PATCH", SET, json!({ "sku": { "capacity": 2 } })).await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, "InvalidParameter"),
        "there is nothing to make it from"
    );
    for (set, status) in [("flex", 201), ("nowhere", 400)] {
        let set = id(&format!("virtualMachineScaleSets/{set}"));
        let body = json!({ "location": "eastus2", "properties": {
            "hardwareProfile": { "vmSize": "Standard_D2s_v5" }, "virtualMachineScaleSet": { "id": set },
        }});
        let reply = client.send("PUT", &format!("virtualMachines/joins-{status}"), body).await;
        assert_eq!(reply.status, status, "{}", reply.body);
    }
    assert_eq!(members(&client, &id(SET)).await.len(), 1);

    let profile = json!({ "osProfile": { "computerNamePrefix": "p" }, "storageProfile": {
        "osDisk": { "createOption": "FromImage", "diffDiskSettings": { "option": "Local" } } } });
    let body = json!({ "location": "eastus2", "sku": { "name": "Standard_D2s_v5", "capacity": 2 },
        "properties": { "orchestrationMode": "Flexible", "virtualMachineProfile": profile } });
    let other = "virtualMachineScaleSets/other";
    let reply = client.send("PUT", other, body).await;
    client.end(&reply).await;
    assert_eq!(members(&client, &id(other)).await.len(), 2);
    for capacity in [3, 1] {
        let reply = client.send("PATCH", other, json!({ "sku": { "capacity": capacity } })).await;
        client.end(&reply).await;
        assert_eq!(members(&client, &id(other)).await.len(), capacity);
    }
    let deleted = client.send("DELETE", other, Value::Null).await;
    client.end(&deleted).await;
    assert_eq!(members(&client, &id(other)).await, Vec::<Value>::new());
    let vms = client.get("virtualMachines").await;
    assert_eq!(
        vms["value"].as_array().unwrap().len(),
        1,
        "of {SUBSCRIPTION}: the one that joined the first set"
    );
}

#[tokio::test(start_paused = true)]
async fn the_control_endpoint_makes_flexible_sets() {
    let client = Client::new();
    let body =
        json!({ "name": "flex", "prefix": "p", "size": "Standard_D2s_v5", "capacity": 2, "flexible": true });
    let reply = client.send("POST", "http://emulator/_emulator/scale-sets", body).await;
    assert_eq!((reply.status, &reply.body["id"]), (200, &json!(id(SET))));
    assert_eq!(reply.body["vms"].as_array().unwrap().len(), 2);
    assert_eq!(members(&client, &id(SET)).await.len(), 2);
}
