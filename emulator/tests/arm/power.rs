//! VMs that are switched off and on: what Azure's model says, and what may be done meanwhile.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, Reply};

async fn switch(client: &Client, vm: &str, action: &str) -> Reply {
    client.send("POST", &format!("{vm}/{action}"), Value::Null).await
}

async fn power(client: &Client, vm: &str) -> Value {
    let statuses = client.get(&format!("{vm}/instanceView")).await["statuses"].clone();
    statuses
        .as_array()
        .unwrap()
        .iter()
        .find_map(|one| one["code"].as_str()?.strip_prefix("PowerState/"))
        .into()
}

async fn disk_state(client: &Client, disk: &str) -> Value {
    client.get(&format!("disks/{disk}")).await["properties"]["diskState"].clone()
}

#[tokio::test(start_paused = true)]
async fn each_action_is_accepted_and_shows_when_it_has_ended() {
    let client = Client::slow(Duration::from_secs(5));
    client.emulator.add_vm("node-a", "Standard_D4s_v5", "").unwrap();
    client.emulator.add_scale_set("pool", "p", "Standard_D4s_v5", &[], 1).unwrap();
    for vm in ["virtualMachines/node-a", "virtualMachineScaleSets/pool/virtualMachines/0"] {
        let mut before = "running";
        for (action, after) in [
            ("powerOff", "stopped"),
            ("deallocate", "deallocated"),
            ("start", "running"),
            ("deallocate", "deallocated"),
            ("powerOff", "deallocated"),
            ("start", "running"),
            ("restart", "running"),
        ] {
            let accepted = switch(&client, vm, action).await;
            assert_eq!(accepted.status, 202, "{action}: {}", accepted.body);
            assert!(accepted.header("location").contains("/operations/"));
            assert_eq!(power(&client, vm).await, before, "{action} has not ended");
            assert_eq!(client.end(&accepted).await["status"], "Succeeded", "{action}");
            assert_eq!(power(&client, vm).await, after, "{vm} {action}");
            before = after;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_is_off_keeps_its_disks_and_takes_and_gives_others() {
    let client = Client::new();
    client.emulator.add_vm("node-a", "Standard_D4s_v5", "").unwrap();
    let mut ids = Vec::new();
    for name in ["kept", "given", "taken"] {
        ids.push(client.disk(name, "Premium_LRS", 8).await);
    }
    let disks = json!([{ "diskId": ids[0], "lun": 0 }, { "diskId": ids[1], "lun": 1 }]);
    assert_eq!(client.attach("node-a", disks).await.status, 200);
    for (action, state) in [("powerOff", "Attached"), ("deallocate", "Reserved")] {
        switch(&client, "virtualMachines/node-a", action).await;
        assert_eq!(disk_state(&client, "kept").await, state, "{action}");
    }
    assert_eq!(client.detach("node-a", &ids[1]).await.status, 200);
    assert_eq!(client.attach("node-a", json!([{ "diskId": ids[2], "lun": 5 }])).await.status, 200);
    assert_eq!(disk_state(&client, "given").await, "Unattached");
    assert_eq!(disk_state(&client, "taken").await, "Reserved");
    switch(&client, "virtualMachines/node-a", "start").await;
    assert_eq!(disk_state(&client, "taken").await, "Attached");
    let attached = client.emulator.attached();
    let vm = attached.values().next().unwrap();
    assert_eq!(*vm, json!({ "0": ids[0], "5": ids[2] }));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_vm_frees_its_disks_whether_it_runs_or_not() {
    let client = Client::new();
    for (vm, action) in [("node-a", "start"), ("node-b", "powerOff"), ("node-c", "deallocate")] {
        client.emulator.add_vm(vm, "Standard_D4s_v5", "").unwrap();
        let disk = client.disk(&format!("of-{vm}"), "Premium_LRS", 8).await;
        client.attach(vm, json!([{ "diskId": disk, "lun": 0 }])).await;
        switch(&client, &format!("virtualMachines/{vm}"), action).await;
        let deleted = client.send("DELETE", &format!("virtualMachines/{vm}"), Value::Null).await;
        assert_eq!(client.end(&deleted).await["status"], "Succeeded");
        assert_eq!(disk_state(&client, &format!("of-{vm}")).await, "Unattached", "{vm}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_a_vm_that_is_nowhere_is_refused() {
    let client = Client::new();
    client.emulator.add_vm("node-a", "Standard_D4s_v5", "").unwrap();
    switch(&client, "virtualMachines/node-a", "deallocate").await;
    let refused = switch(&client, "virtualMachines/node-a", "restart").await;
    assert_eq!((refused.status, refused.code()), (409, "OperationNotAllowed"));
    let view = client.get("virtualMachines/node-a/instanceView").await;
    assert_eq!(view["vmAgent"], Value::Null, "a machine that is off tells nothing");
}
