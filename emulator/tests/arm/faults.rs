//! Scripted faults in process, the request log, strict mode.

use std::time::Duration;

use azure_emulator::{Action, CONNECTION_LOST, Fault, Options};
use serde_json::{Value, json};

use crate::client::{Client, id};

fn fail(canceled: bool, code: &str) -> Action {
    Action::FailOperation { canceled, code: code.to_owned(), message: "no".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn an_operation_fails_and_leaves_what_azure_leaves() {
    let client = Client::new();
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
    let disk = client.disk("a", "Premium_LRS", 8).await;
    client.emulator.script(Fault::on("POST", "/attachDetachDataDisks", fail(false, "DiskProcessingError")));
    let reply = client.attach("node-a", json!([{ "diskId": disk, "lun": 0 }])).await;
    assert_eq!(reply.status, 200);
    let ended = client.end(&reply).await;
    assert_eq!(
        (&ended["status"], &ended["error"]["code"]),
        (&json!("Failed"), &json!("DiskProcessingError"))
    );
    let vm = client.get("virtualMachines/node-a").await;
    assert_eq!(vm["properties"]["provisioningState"], "Failed");
    assert_eq!(vm["properties"]["storageProfile"]["dataDisks"][0]["lun"], 0);
    assert!(client.get("disks/a").await["managedBy"].is_null());
    let repaired = client.send("PUT", "virtualMachines/node-a", json!({})).await;
    assert_eq!(client.end(&repaired).await["status"], "Succeeded");
    assert_eq!(
        client.get("disks/a").await["managedBy"],
        id("virtualMachines/node-a"),
        "an empty update repairs"
    );

    client.emulator.script(Fault::on("POST", "", fail(true, "OperationPreempted")));
    let reply = client.detach("node-a", &disk).await;
    assert_eq!(client.end(&reply).await["status"], "Canceled");
    let vm = client.get("virtualMachines/node-a").await;
    assert_eq!(vm["properties"]["storageProfile"]["dataDisks"][0]["toBeDetached"], true);
    let again = client.attach("node-a", json!([{ "diskId": disk, "lun": 0 }])).await;
    assert_eq!((again.status, again.code()), (409, "AttachDiskWhileBeingDetached"));
    let detached = client.detach("node-a", &disk).await;
    assert_eq!(client.end(&detached).await["status"], "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_fault_meets_the_nth_match_and_so_many_after_it() {
    let client = Client::new();
    let busy = Action::Answer {
        status: 429,
        body: json!({ "code": "OperationNotAllowed" }),
        headers: vec![("retry-after".to_owned(), "17".to_owned())],
    };
    client.emulator.script(Fault::on("get", "/DISKS", busy).nth(2).times(2));
    let mut seen = Vec::new();
    for _ in 0..5 {
        let reply = client.send("GET", "disks", Value::Null).await;
        seen.push((reply.status, reply.header("retry-after").to_owned()));
        client.send("GET", "snapshots", Value::Null).await;
    }
    let (well, busy) = ((200, String::new()), (429, "17".to_owned()));
    assert_eq!(seen, [well.clone(), busy.clone(), busy, well.clone(), well]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_the_page_of_a_proxy() {
    let client = Client::new();
    let page = Action::Answer { status: 502, body: json!("<html>bad gateway</html>"), headers: Vec::new() };
    client.emulator.script(Fault::on("", "", page));
    let uri = format!("http://emulator{}?api-version=2025-01-02", id("disks"));
    let request = http::Request::get(uri).header("authorization", "Bearer t").body(bytes::Bytes::new());
    let answer = client.emulator.handle(request.unwrap()).await;
    assert_eq!(
        (answer.status().as_u16(), answer.body().as_ref()),
        (502, b"<html>bad gateway</html>".as_slice())
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_marked_and_logged_and_a_vm_goes_when_the_script_says() {
    let client = Client::new();
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
    client.emulator.script(Fault::on("PUT", "", Action::LoseAnswer));
    let body = json!({ "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 8 } });
    let lost = client.send("PUT", "disks/a", body).await;
    assert_eq!(lost.header(CONNECTION_LOST), "true");
    assert_eq!(client.emulator.disks().len(), 1);
    client.emulator.script(Fault::on("GET", "virtualMachines", Action::DeleteVm { vm: "NODE-A".to_owned() }));
    assert_eq!(client.send("GET", "virtualMachines/node-a", Value::Null).await.status, 404);
    let log = client.emulator.requests();
    let seen: Vec<_> =
        log.iter().map(|request| (request.n, request.method.as_str(), request.status)).collect();
    assert_eq!(seen, [(1, "PUT", 0), (2, "GET", 404)]);
    assert!(log[0].operation.is_some());
    client.emulator.reset_requests();
    client.send("GET", "disks", Value::Null).await;
    assert_eq!(client.emulator.requests()[0].n, 1);
}

#[tokio::test(start_paused = true)]
async fn durations_can_be_changed_while_it_runs() {
    let client = Client::new();
    let durations = json!({ "accept_ms": 200, "operation_ms": 5000 });
    assert_eq!(client.send("PUT", "http://emulator/_emulator/latency", durations).await.status, 200);
    let begun = tokio::time::Instant::now();
    client.disk("a", "Premium_LRS", 8).await;
    assert!(begun.elapsed() >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn strict_mode_refuses_what_azure_does_not_know() {
    let empty = json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 8 });
    let rows = [
        ("PUT", "disks/a", json!({ "location": "eastus2", "properties": empty }), 202, 202),
        ("PUT", "disks/b", json!({ "diskSizeGB": 8, "properties": empty }), 202, 400),
        ("PATCH", "disks/a", json!({ "properties": { "diskSizeGiB": 9 } }), 202, 400),
        ("PATCH", "disks/a", json!({ "location": "eastus2", "properties": {} }), 202, 400),
        ("PUT", "virtualMachines/node-a", json!({ "dataDisks": [] }), 200, 400),
        (
            "PUT",
            "virtualMachines/node-a",
            json!({ "properties": { "storageProfile": { "dataDisks": [] } } }),
            200,
            200,
        ),
        (
            "POST",
            "virtualMachines/node-a/attachDetachDataDisks",
            json!({ "dataDisksToAttach": [], "force": true }),
            200,
            400,
        ),
    ];
    for strict in [false, true] {
        let client = Client::with(Options { strict, ..Options::default() });
        client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
        for (method, path, body, lax_status, strict_status) in &rows {
            let reply = client.send(method, path, body.clone()).await;
            let wanted = if strict { strict_status } else { lax_status };
            assert_eq!(reply.status, *wanted, "{method} {path} {body}: {}", reply.body);
        }
    }
}
