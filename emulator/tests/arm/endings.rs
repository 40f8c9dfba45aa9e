//! Operations that go wrong after they were accepted: how they end, when, and what they leave behind.

use std::time::Duration;

use azure_emulator::{Action, Ending, Fault, Latency, Leaves, Races};
use serde_json::{Value, json};

use crate::client::{Client, id};

const SIZE: &str = "Standard_D2s_v5";
const ATTACH: &str = "/attachDetachDataDisks";

fn ends(ending: Ending, leaves: Leaves, settled: bool) -> Action {
    Action::EndOperation { ending, leaves, settled }
}

/// A VM that has `a` at LUN 0, and `b` beside it.
async fn world() -> (Client, [String; 2]) {
    let client = Client::new();
    client.emulator.add_vm("node-a", SIZE, "").unwrap();
    let disks = [client.disk("a", "Premium_LRS", 8).await, client.disk("b", "Premium_LRS", 8).await];
    let reply = client.attach("node-a", json!([{ "diskId": disks[0], "lun": 0 }])).await;
    client.end(&reply).await;
    (client, disks)
}

/// Detaches `a` and attaches `b` at LUN 1.
async fn exchange(client: &Client, disks: &[String; 2]) -> crate::client::Reply {
    let body = json!({
        "dataDisksToDetach": [{ "diskId": disks[0] }],
        "dataDisksToAttach": [{ "diskId": disks[1], "lun": 1 }],
    });
    client.send("POST", &format!("virtualMachines/node-a{ATTACH}"), body).await
}

/// State of the VM, its entries as (LUN, `toBeDetached`), and the names of the disks it holds.
async fn seen(client: &Client) -> (String, Vec<(u64, bool)>, Vec<&'static str>) {
    let vm = client.get("virtualMachines/node-a").await;
    let entries = vm["properties"]["storageProfile"]["dataDisks"].as_array().unwrap().clone();
    let entry = |entry: &Value| (entry["lun"].as_u64().unwrap(), entry["toBeDetached"] == true);
    let mut held = Vec::new();
    for name in ["a", "b"] {
        if client.get(&format!("disks/{name}")).await["managedBy"] == id("virtualMachines/node-a") {
            held.push(name);
        }
    }
    let state = vm["properties"]["provisioningState"].as_str().unwrap().to_owned();
    (state, entries.iter().map(entry).collect(), held)
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_meant_for_a_refused_request_is_nobody_elses() {
    let (client, disks) = world().await;
    let nothing = ends(Ending::Succeeded, Leaves::Nothing, true);
    client.emulator.script(Fault::on("POST", ATTACH, nothing));
    let refusal = Action::Answer { status: 409, body: json!({}), headers: vec![] };
    client.emulator.script(Fault::on("POST", ATTACH, refusal));
    assert_eq!(exchange(&client, &disks).await.status, 409);
    let deleted = client.send("DELETE", "disks/b", Value::Null).await;
    client.end(&deleted).await;
    assert_eq!(client.send("GET", "disks/b", Value::Null).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_bad_end_leaves_what_the_script_says() {
    let rows = [
        (Leaves::Wanted, false, "Failed", vec![(0, true), (1, false)], vec!["a"]),
        (Leaves::Wanted, true, "Succeeded", vec![(0, true), (1, false)], vec!["a"]),
        (Leaves::Part(0), false, "Failed", vec![(0, true), (1, false)], vec!["a"]),
        (Leaves::Part(1), false, "Failed", vec![(1, false)], vec![]),
        (Leaves::Part(2), true, "Succeeded", vec![(1, false)], vec!["b"]),
        (Leaves::Everything, false, "Failed", vec![(1, false)], vec!["b"]),
        (Leaves::Nothing, true, "Succeeded", vec![(0, false)], vec!["a"]),
    ];
    for (leaves, settled, state, entries, held) in rows {
        let (client, disks) = world().await;
        client.emulator.script(Fault::on("POST", ATTACH, ends(Ending::Preempted, leaves, settled)));
        let reply = exchange(&client, &disks).await;
        assert_eq!(reply.status, 200);
        let ended = client.end(&reply).await;
        assert_eq!(
            (&ended["status"], &ended["error"]["code"]),
            (&json!("Canceled"), &json!("OperationPreempted"))
        );
        assert_eq!(seen(&client).await, (state.to_owned(), entries, held), "{leaves:?}");
        // An empty update brings about what is listed.
        let repaired = client.send("PUT", "virtualMachines/node-a", json!({})).await;
        assert_eq!(repaired.status, 200);
        if !repaired.header("azure-asyncoperation").is_empty() {
            assert_eq!(client.end(&repaired).await["status"], "Succeeded");
        }
        let (state, entries, held) = seen(&client).await;
        assert_eq!((state.as_str(), entries.len(), held.len()), ("Succeeded", 1, 1), "{leaves:?}");
    }
}

/// What an earlier update left half done is not the next one's to take back.
#[tokio::test(start_paused = true)]
async fn an_end_takes_back_only_what_its_own_request_changed() {
    let (client, disks) = world().await;
    client.emulator.script(Fault::on("POST", ATTACH, ends(Ending::Canceled, Leaves::Wanted, true)));
    let half_done = exchange(&client, &disks).await;
    assert_eq!(client.end(&half_done).await["status"], "Canceled");
    let left = seen(&client).await;
    assert_eq!(left, ("Succeeded".to_owned(), vec![(0, true), (1, false)], vec!["a"]));

    let other = client.disk("c", "Premium_LRS", 8).await;
    client.emulator.script(Fault::on("POST", ATTACH, ends(Ending::Canceled, Leaves::Nothing, true)));
    let taken_back = client.attach("node-a", json!([{ "diskId": other, "lun": 2 }])).await;
    assert_eq!(client.end(&taken_back).await["status"], "Canceled");
    assert_eq!(seen(&client).await, left);
}

#[tokio::test(start_paused = true)]
async fn the_poll_of_a_bad_end_is_an_answer_of_200() {
    let failed = Ending::Failed { code: "InternalOperationError".to_owned(), message: "no".to_owned() };
    for (ending, status, error) in [
        (Ending::Preempted, "Canceled", json!("OperationPreempted")),
        (Ending::PreemptedAsFailed, "Failed", json!("OperationPreempted")),
        (Ending::Canceled, "Canceled", Value::Null),
        (failed, "Failed", json!("InternalOperationError")),
    ] {
        let (client, disks) = world().await;
        client.emulator.script(Fault::on("POST", ATTACH, ends(ending, Leaves::Wanted, false)));
        let accepted = exchange(&client, &disks).await;
        let poll = client.send("GET", accepted.header("azure-asyncoperation"), Value::Null).await;
        assert_eq!(
            (poll.status, &poll.body["status"], &poll.body["error"]["code"]),
            (200, &json!(status), &error)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_may_end_well_and_have_done_nothing() {
    for (leaves, entries, held) in [
        (Leaves::Nothing, vec![(0, false)], vec!["a"]),
        (Leaves::Part(1), vec![(1, false)], vec![]),
        (Leaves::Wanted, vec![(1, false)], vec!["b"]),
    ] {
        let (client, disks) = world().await;
        client.emulator.script(Fault::on("POST", ATTACH, ends(Ending::Succeeded, leaves, true)));
        let reply = exchange(&client, &disks).await;
        assert_eq!(client.end(&reply).await["status"], "Succeeded");
        assert_eq!(seen(&client).await, ("Succeeded".to_owned(), entries, held), "{leaves:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_may_be_there_although_its_creation_was_cancelled() {
    for (leaves, state) in [(Leaves::Wanted, "Failed"), (Leaves::Everything, "Succeeded")] {
        let client = Client::new();
        client.emulator.script(Fault::on("PUT", "/disks/", ends(Ending::Canceled, leaves, false)));
        let body = json!({ "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 8 } });
        let reply = client.send("PUT", "disks/new", body).await;
        assert_eq!(client.end(&reply).await["status"], "Canceled");
        assert_eq!(client.get("disks/new").await["properties"]["provisioningState"], state);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_hangs_for_a_time_or_for_ever() {
    let (client, disks) = world().await;
    client.emulator.set_latency(Latency::fixed(Duration::from_secs(3)));
    for (action, seconds) in [
        (Action::DelayOperation { ms: 4000 }, 7),
        (Action::HangOperation { ms: Some(60_000) }, 60),
        (Action::HangOperation { ms: None }, 1_000_000),
    ] {
        client.emulator.script(Fault::on("POST", ATTACH, action));
        let reply = client.detach("node-a", &disks[0]).await;
        tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
        assert_eq!(client.poll(&reply).await["status"], "InProgress", "{seconds}");
        if seconds < 1000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(client.poll(&reply).await["status"], "Succeeded", "{seconds}");
            let back = client.attach("node-a", json!([{ "diskId": disks[0], "lun": 0 }])).await;
            client.end(&back).await;
        } else {
            let newer = client.send("POST", "virtualMachines/node-a/reapply", Value::Null).await;
            assert_eq!(client.poll(&reply).await["error"]["code"], "OperationPreempted");
            assert_eq!(client.end(&newer).await["status"], "Succeeded");
            assert_eq!(client.emulator.attached()[&id("virtualMachines/node-a")], json!({}));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_writes_at_once_conflict_and_a_later_one_preempts() {
    let (client, disks) = world().await;
    client.emulator.set_latency(Latency::fixed(Duration::from_secs(3)));
    client.emulator.set_races(Races::azure());
    let first = client.attach("node-a", json!([{ "diskId": disks[1], "lun": 1 }])).await;
    tokio::time::advance(Duration::from_millis(199)).await;
    for (method, path) in [
        ("PUT", "virtualMachines/node-a".to_owned()),
        ("PATCH", "virtualMachines/node-a".to_owned()),
        ("POST", format!("virtualMachines/node-a{ATTACH}")),
        ("POST", "virtualMachines/node-a/deallocate".to_owned()),
    ] {
        let refused = client.send(method, &path, json!({})).await;
        assert_eq!((refused.status, refused.code()), (409, "Conflict"), "{method} {path}");
        assert_eq!(client.poll(&first).await["status"], "InProgress");
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    let second = client.detach("node-a", &disks[0]).await;
    assert_eq!(second.status, 200);
    assert_eq!(client.poll(&first).await["error"]["code"], "OperationPreempted");
    let again = client.attach("node-a", json!([{ "diskId": disks[0], "lun": 0 }])).await;
    assert_eq!((again.status, again.code()), (409, "AttachDiskWhileBeingDetached"));
    client.end(&second).await;
    assert_eq!(client.emulator.attached()[&id("virtualMachines/node-a")], json!({ "1": disks[1] }));

    let windows = client.send("PUT", "http://emulator/_emulator/races", json!({ "vm_ms": 0 })).await;
    assert_eq!(windows.body["vm_ms"], 0);
    client.attach("node-a", json!([{ "diskId": disks[0], "lun": 0 }])).await;
    assert_eq!(client.detach("node-a", &disks[0]).await.status, 200);
}

#[test]
fn endings_are_scripted_as_json() {
    for (json, action) in [
        (
            json!({ "kind": "end_operation", "ending": "preempted" }),
            ends(Ending::Preempted, Leaves::Wanted, false),
        ),
        (
            json!({ "kind": "end_operation", "ending": { "failed": { "code": "A" } }, "leaves": { "part": 1 }, "settled": true }),
            ends(Ending::Failed { code: "A".to_owned(), message: String::new() }, Leaves::Part(1), true),
        ),
        (json!({ "kind": "hang_operation" }), Action::HangOperation { ms: None }),
        (json!({ "kind": "delay_operation", "ms": 5 }), Action::DelayOperation { ms: 5 }),
    ] {
        assert_eq!(serde_json::from_value::<Action>(json).unwrap(), action);
    }
}
