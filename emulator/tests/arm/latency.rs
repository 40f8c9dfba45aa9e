//! Durations with the spread of the real service: drawn once, kept, and told afterwards.

use std::time::Duration;

use azure_emulator::{Latency, LoggedRequest, Options};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Client, Reply};

fn realistic(seed: u64) -> Client {
    let client = Client::with(Options { latency: Latency::realistic(seed), ..Options::default() });
    client.emulator.add_vm("node-a", "Standard_D8s_v5", "").unwrap();
    client
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

/// Sends, then steps through the operation's end; answers the request's entry in the log.
async fn followed(client: &Client, method: &str, path: &str, body: Value) -> (Reply, LoggedRequest) {
    let begun = Instant::now();
    let reply = client.send(method, path, body).await;
    let entry = client.emulator.requests().pop().unwrap();
    assert_eq!(ms(begun.elapsed()), entry.accept_ms, "{method} {path}: the answer comes when it was drawn");
    if let Some(drawn) = entry.operation_ms {
        let guid = entry.operation.clone().unwrap();
        let status = || async {
            let whole = client.get("http://emulator/_emulator").await;
            let operations = whole["operations"].as_array().unwrap().clone();
            operations.into_iter().find(|operation| operation["name"] == guid.as_str()).unwrap()["status"]
                .clone()
        };
        if drawn > entry.accept_ms {
            tokio::time::sleep_until(begun + Duration::from_millis(drawn - 1)).await;
            client.emulator.attached();
            assert_eq!(status().await, "InProgress", "{method} {path}");
        }
        tokio::time::sleep_until(begun + Duration::from_millis(drawn)).await;
        client.emulator.attached();
        assert_eq!(status().await, "Succeeded", "{method} {path}");
    }
    (reply, entry)
}

/// The life of two disks; every request's method, and what was drawn for it.
async fn life(client: &Client) -> Vec<(String, u64, Option<u64>)> {
    let empty = json!({ "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 8 } });
    let delta = "virtualMachines/node-a/attachDetachDataDisks";
    let mut ids = Vec::new();
    let mut drawn = Vec::new();
    let mut add = |(reply, entry): (Reply, LoggedRequest)| {
        drawn.push((entry.method, entry.accept_ms, entry.operation_ms));
        reply
    };
    for name in ["a", "b"] {
        let reply = add(followed(client, "PUT", &format!("disks/{name}"), empty.clone()).await);
        ids.push(reply.body["id"].clone());
    }
    let both = json!({ "dataDisksToAttach": [{ "diskId": ids[0] }, { "diskId": ids[1] }] });
    add(followed(client, "POST", delta, both).await);
    let one = json!({ "dataDisksToDetach": [{ "diskId": ids[0] }] });
    add(followed(client, "POST", delta, one).await);
    let forced = json!({ "dataDisksToDetach": [{ "diskId": ids[1], "detachOption": "ForceDetach" }] });
    add(followed(client, "POST", delta, forced).await);
    let copy = json!({ "properties": {
        "creationData": { "createOption": "Copy", "sourceResourceId": ids[0] }, "incremental": true } });
    add(followed(client, "PUT", "snapshots/s", copy).await);
    add(followed(client, "GET", "disks/a", Value::Null).await);
    add(followed(client, "DELETE", "disks/b", Value::Null).await);
    drawn
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_work_takes_its_own_time_and_tells_it() {
    for seed in 0..20 {
        let drawn = life(&realistic(seed)).await;
        let operation = |index: usize| drawn[index].2.unwrap();
        for (method, accept, _) in &drawn {
            let bounds = if method == "GET" { 50..=150 } else { 150..=400 };
            assert!(bounds.contains(accept), "{method}: {accept}");
        }
        for (index, bounds) in [
            (0, 100..=1000),
            (2, 2600..=180_000),
            (3, 600..=180_000),
            (4, 600..=600),
            (5, 500..=2000),
            (7, 100..=1000),
        ] {
            assert!(bounds.contains(&operation(index)), "{index}: {drawn:?}");
        }
        assert_eq!(drawn[6].2, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_gives_the_same_durations_again_and_another_one_others() {
    let first = life(&realistic(3)).await;
    assert_eq!(first, life(&realistic(3)).await);
    assert_ne!(first, life(&realistic(4)).await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_more_or_elsewhere_first_meets_the_same_durations() {
    let delta = |vm: &str| format!("virtualMachines/{vm}/attachDetachDataDisks");
    let drawn = |asks: bool| async move {
        let client = realistic(9);
        client.emulator.add_vm("node-b", "Standard_D8s_v5", "").unwrap();
        let vms = if asks { ["node-b", "node-a"] } else { ["node-a", "node-b"] };
        let mut drawn = std::collections::BTreeMap::new();
        for vm in vms {
            for _ in 0..2 {
                client.send("POST", &delta(vm), json!({})).await;
                let entry = client.emulator.requests().pop().unwrap();
                drawn.entry(vm).or_insert_with(Vec::new).push(entry.operation_ms.unwrap());
                for _ in 0..usize::from(asks) * 3 {
                    client.send("GET", "disks", Value::Null).await;
                }
            }
        }
        drawn
    };
    let durations = drawn(false).await;
    assert_eq!(durations, drawn(true).await);
    let all: std::collections::BTreeSet<_> = durations.values().flatten().collect();
    assert_eq!(all.len(), 4, "{durations:?}");
}

#[tokio::test(start_paused = true)]
async fn the_control_endpoint_turns_the_spread_on_and_off() {
    let client = Client::new();
    let path = "http://emulator/_emulator/latency";
    let on = client.send("PUT", path, json!({ "realistic": 5 })).await;
    assert_eq!((on.status, &on.body["realistic"]), (200, &json!(5)));
    let begun = Instant::now();
    client.send("GET", "disks", Value::Null).await;
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let entry = &client.get("http://emulator/_emulator/requests").await[0];
    assert_eq!(entry["accept_ms"], ms(begun.elapsed()));
    assert_eq!(client.send("PUT", path, json!({ "operation_ms": 5 })).await.body["realistic"], Value::Null);
    let begun = Instant::now();
    client.send("GET", "disks", Value::Null).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
