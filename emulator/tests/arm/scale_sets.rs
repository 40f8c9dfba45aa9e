//! Uniform scale sets and attach to their VMs.

use serde_json::{Value, json};

use crate::client::{Client, id};

const SET: &str = "virtualMachineScaleSets/pool";

#[tokio::test(start_paused = true)]
async fn instances_have_numbers_computer_names_and_zones() {
    let client = Client::new();
    let vms = client.emulator.add_scale_set("pool", "aks-pool-", "Standard_D2s_v5", &["1", "2"], 3).unwrap();
    assert_eq!(vms[2], id(&format!("{SET}/virtualMachines/2")));
    let list = client.get(&format!("{SET}/virtualMachines")).await;
    let seen: Vec<(&str, &str, &str)> = list["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vm| {
            let text = |value: &'_ Value| value.as_str().unwrap().to_owned().leak() as &str;
            (
                text(&vm["instanceId"]),
                text(&vm["properties"]["osProfile"]["computerName"]),
                text(&vm["zones"][0]),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [("0", "aks-pool-000000", "1"), ("1", "aks-pool-000001", "2"), ("2", "aks-pool-000002", "1")]
    );
    assert_eq!(client.get(SET).await["properties"]["orchestrationMode"], "Uniform");
    assert_eq!(client.get("virtualMachines").await["value"], json!([]), "instances are no VMs of their own");
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_attached_to_an_instance_by_either_write() {
    let client = Client::new();
    let vms = client.emulator.add_scale_set("pool", "p", "Standard_D2s_v5", &[], 2).unwrap();
    let (a, b) = (client.disk("a", "Premium_LRS", 8).await, client.disk("b", "Premium_LRS", 8).await);
    let path = format!("{SET}/virtualMachines/1");
    let delta = json!({ "dataDisksToAttach": [{ "diskId": a, "lun": 0 }] });
    let reply = client.send("POST", &format!("{path}/attachDetachDataDisks"), delta).await;
    assert_eq!((reply.status, reply.header("x-ms-request-charge")), (200, "1"));
    client.end(&reply).await;
    let entry =
        |disk: &str, lun: u64| json!({ "lun": lun, "createOption": "Attach", "managedDisk": { "id": disk } });
    let list = json!({ "properties": { "storageProfile": { "dataDisks": [entry(&a, 0), entry(&b, 1)] } } });
    let reply = client.send("PUT", &path, list).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    client.end(&reply).await;
    assert_eq!(client.emulator.attached()[&vms[1]], json!({ "0": a, "1": b }));
    assert_eq!(client.get("disks/b").await["managedBy"], vms[1]);
    assert_eq!(client.send("PATCH", &path, json!({})).await.status, 405, "there is no PATCH");

    let deleted = client.send("DELETE", &path, Value::Null).await;
    client.end(&deleted).await;
    let gone = client.send("GET", &path, Value::Null).await;
    assert_eq!((gone.status, &gone.body["error"]["target"]), (400, &json!("instanceIds")));
    assert_eq!(client.get("disks/a").await["properties"]["diskState"], "Unattached");
    assert_eq!(client.get(SET).await["sku"]["capacity"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_set_is_scaled_by_its_capacity_and_numbers_are_never_used_again() {
    let client = Client::new();
    client.emulator.add_scale_set("pool", "p", "Standard_D2s_v5", &[], 2).unwrap();
    for (capacity, last) in [(1, "0"), (2, "2")] {
        let reply = client.send("PATCH", SET, json!({ "sku": { "capacity": capacity } })).await;
        client.end(&reply).await;
        let list = client.get(&format!("{SET}/virtualMachines")).await;
        let vms = list["value"].as_array().unwrap();
        assert_eq!((vms.len(), vms.last().unwrap()["instanceId"].as_str().unwrap()), (capacity, last));
    }
    let deleted = client.send("DELETE", SET, Value::Null).await;
    client.end(&deleted).await;
    assert_eq!(
        client.send("GET", &format!("{SET}/virtualMachines/0"), Value::Null).await.code(),
        "ParentResourceNotFound"
    );
}
