//! Azure's buckets: what each answer tells of them, what happens when one is empty, who else draws from them.

use std::time::Duration;

use azure_emulator::{BucketError, Options, Throttling};
use serde_json::{Value, json};

use crate::client::{Client, Reply, id};

const RESOURCE: &str = "x-ms-ratelimit-remaining-resource";

fn throttled(speed: u32) -> Client {
    let options = Options { throttling: Throttling::Real { speed }, ..Options::default() };
    let client = Client::with(options);
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
    client
}

/// The subscription's two headers and the resources', as far as they are there.
fn left(reply: &Reply) -> [&str; 3] {
    let named = |part: &str| {
        let found = reply.headers.iter().find(|(name, _)| {
            let rest = name.as_str().strip_prefix("x-ms-ratelimit-remaining-subscription-");
            rest.is_some_and(|rest| rest.starts_with("global-") == (part == "global"))
        });
        found.map_or("", |(_, value)| value.to_str().unwrap())
    };
    [named("own"), named("global"), reply.header(RESOURCE)]
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

async fn empty_update(client: &Client, vm: &str) -> Reply {
    client.send("PUT", &format!("virtualMachines/{vm}"), json!({})).await
}

#[tokio::test(start_paused = true)]
async fn each_answer_tells_what_is_left_where_azure_tells_it() {
    let empty = json!({ "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 8 } });
    let attach = json!({ "dataDisksToAttach": [{ "diskId": id("disks/a"), "lun": 0 }] });
    let delta = "virtualMachines/node-a/attachDetachDataDisks";
    // Whatever is asked, with the answer's status and the pairs of the one line.
    let rows = [
        ("PUT", "disks/a", empty, 202, "CreateUpdateDisks3Min;999 CreateUpdateDisks30Min;7999"),
        ("GET", "disks/a", Value::Null, 200, "LowCostGet3Min;14999 LowCostGet30Min;119999"),
        ("GET", "disks", Value::Null, 200, "HighCostGet3Min;239 HighCostGet30Min;1919"),
        (
            "POST",
            delta,
            attach,
            200,
            "AttachDetachVMDisksSubscriptionMaximum;1499 AttachDetachVMDisksResource;11",
        ),
        (
            "GET",
            "virtualMachines/node-a",
            Value::Null,
            200,
            "LowCostGetResource;35 LowCostGetSubscriptionMaximum;23999",
        ),
        ("PUT", "virtualMachines/node-a", json!({}), 200, "PutVMSubscriptionMaximum;1499 PutVMResource;11"),
        ("GET", "virtualMachines", Value::Null, 200, "HighCostGetSubscriptionMaximum;899"),
        // The gateway answers these itself.
        ("GET", "disks/none", Value::Null, 404, ""),
        ("DELETE", "disks/none", Value::Null, 204, ""),
    ];
    for mode in [Throttling::Off, Throttling::Real { speed: 1 }] {
        let client = throttled(1);
        client.emulator.set_throttling(mode);
        for (method, path, body, status, pairs) in &rows {
            let reply = client.send(method, path, body.clone()).await;
            let pairs: Vec<_> =
                pairs.split_whitespace().map(|pair| format!("Microsoft.Compute/{pair}")).collect();
            assert_eq!((reply.status, reply.header(RESOURCE)), (*status, pairs.join(",").as_str()), "{path}");
            assert_eq!(left(&reply)[0].is_empty(), *status == 404, "{mode} {method} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_falls_with_each_call_and_a_refused_vm_does_not_stop_another() {
    let client = throttled(1);
    client.emulator.add_vm("node-b", "Standard_D2s_v5", "").unwrap();
    for left_of_vm in (0..12).rev() {
        let reply = empty_update(&client, "node-a").await;
        assert_eq!(reply.status, 200);
        assert!(
            reply.header(RESOURCE).ends_with(&format!("PutVMResource;{left_of_vm}")),
            "{:?}",
            reply.headers
        );
    }
    seconds(45).await;
    let refused = empty_update(&client, "node-a").await;
    assert_eq!(
        (refused.status, refused.code(), refused.header("retry-after")),
        (429, "OperationNotAllowed", "15")
    );
    assert_eq!(
        left(&refused),
        ["199", "2999", "Microsoft.Compute/PutVMSubscriptionMaximum;1488,Microsoft.Compute/PutVMResource;0"],
        "the resource manager let it pass"
    );
    assert_eq!(refused.body["error"]["innererror"]["internalErrorCode"], "TooManyRequestsReceived");
    let detail = &refused.body["error"]["details"][0];
    assert_eq!((&detail["code"], &detail["target"]), (&json!("TooManyRequests"), &json!("PutVM")));
    let facts: Value = serde_json::from_str(detail["message"].as_str().unwrap()).unwrap();
    assert_eq!((&facts["allowedRequestCount"], &facts["measuredRequestCount"]), (&json!(12), &json!(13)));
    assert_ne!(facts["startTime"], facts["endTime"]);

    assert_eq!(empty_update(&client, "node-b").await.status, 200);
    // The delta call has buckets of its own.
    let delta = client.attach("node-a", json!([])).await;
    assert!(delta.header(RESOURCE).ends_with("AttachDetachVMDisksResource;11"));
    seconds(15).await;
    let again = empty_update(&client, "node-a").await;
    assert_eq!(again.status, 200);
    assert!(again.header(RESOURCE).ends_with("PutVMResource;3"));
}

#[tokio::test(start_paused = true)]
async fn each_operation_has_a_bucket_for_its_polls() {
    let client = throttled(1);
    for _ in 0..2 {
        let accepted = empty_update(&client, "node-a").await;
        // An update that changes nothing starts no operation.
        assert_eq!(accepted.header("azure-asyncoperation"), "");
        let accepted = client.send("POST", "virtualMachines/node-a/start", Value::Null).await;
        let url = accepted.header("azure-asyncoperation").to_owned();
        for left_of_operation in (0..45).rev() {
            let poll = client.send("GET", &url, Value::Null).await;
            assert_eq!(poll.status, 200);
            let wanted = format!("Microsoft.Compute/GetOperationResource;{left_of_operation},");
            assert!(poll.header(RESOURCE).starts_with(&wanted), "{:?}", poll.headers);
        }
        let refused = client.send("GET", &url, Value::Null).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, "60"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_resource_manager_refuses_in_its_own_words_and_forgives_within_a_second() {
    let client = throttled(1);
    client.emulator.set_bucket("subscription-reads", None, 2).unwrap();
    for status in [200, 404] {
        let path = if status == 200 { "virtualMachines/node-a" } else { "disks/none" };
        assert_eq!(
            client.send("GET", path, Value::Null).await.status,
            status,
            "a missing disk costs as much"
        );
    }
    let refused = client.send("GET", "virtualMachines/node-a", Value::Null).await;
    assert_eq!(
        (refused.status, refused.code(), refused.header("retry-after")),
        (429, "SubscriptionRequestsThrottled", "1")
    );
    assert_eq!((left(&refused), refused.header("x-ms-failure-cause")), (["", "", ""], "gateway"));
    let words = refused.body["error"]["message"].as_str().unwrap();
    assert!(words.starts_with("Number of 'read' requests for subscription '"), "{words}");
    assert!(!words.contains("Bearer") && words.contains("actor 'token-"), "{words}");
    assert_eq!(empty_update(&client, "node-a").await.status, 200, "writes are counted apart");
    seconds(1).await;
    let reply = client.send("GET", "virtualMachines/node-a", Value::Null).await;
    assert_eq!(left(&reply)[..2], ["24", "3749"], "a second's tokens came back");
}

#[tokio::test(start_paused = true)]
async fn principals_have_buckets_of_their_own_below_the_subscriptions() {
    let client = throttled(1);
    let mut tokens = Vec::new();
    for principal in ["one", "one", "two"] {
        let uri = format!("http://emulator/metadata/identity/oauth2/token?resource=r&client_id={principal}");
        let reply = client.send_with("GET", &uri, Value::Null, &[("metadata", "true")]).await;
        tokens.push(format!("Bearer {}", reply.body["access_token"].as_str().unwrap()));
    }
    let mut seen = Vec::new();
    for token in &tokens {
        let uri = format!("http://emulator{}?api-version=2025-01-02", id("disks"));
        let request = http::Request::get(uri).header("authorization", token).body(bytes::Bytes::new());
        let (head, _) = client.emulator.handle(request.unwrap()).await.into_parts();
        let value = |name: &str| head.headers[name].to_str().unwrap().to_owned();
        seen.push((
            value("x-ms-ratelimit-remaining-subscription-reads"),
            value("x-ms-ratelimit-remaining-subscription-global-reads"),
        ));
    }
    let pair = |own: &str, all: &str| (own.to_owned(), all.to_owned());
    assert_eq!(seen, [pair("249", "3749"), pair("248", "3748"), pair("249", "3747")]);
    client.emulator.set_bucket("subscription-global-reads", None, 0).unwrap();
    let refused = client.send("GET", "disks", Value::Null).await;
    assert_eq!((refused.status, refused.code()), (429, "SubscriptionRequestsThrottled"));
}

#[tokio::test(start_paused = true)]
async fn a_subscriptions_empty_bucket_has_the_body_without_a_wrapper() {
    let client = throttled(1);
    client.emulator.set_bucket("highcostget3min", None, 0).unwrap();
    let refused = client.send("GET", "disks", Value::Null).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "180"));
    assert_eq!(refused.body["code"], "OperationNotAllowed");
    assert_eq!(refused.body["details"][0]["target"], "HighCostGet3Min");
    assert_eq!(client.send("GET", "disks/none", Value::Null).await.status, 404);
    seconds(180).await;
    assert_eq!(client.send("GET", "disks", Value::Null).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn time_can_run_faster_for_the_buckets_alone() {
    let client = throttled(60);
    client.emulator.set_bucket("PutVMResource", Some(&id("virtualMachines/NODE-A")), 0).unwrap();
    let refused = empty_update(&client, "node-a").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    seconds(1).await;
    assert_eq!(empty_update(&client, "node-a").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_others_take_does_not_come_back_to_us() {
    let client = throttled(1);
    let path = "http://emulator/_emulator/throttle/PutVMResource";
    let change = json!({ "remaining": 0, "others": 0.9 });
    assert_eq!(client.send("PUT", path, change).await.status, 204);
    let refused = empty_update(&client, "node-a").await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, "180"),
        "4 a minute, a tenth of it ours"
    );
    seconds(179).await;
    assert_eq!(empty_update(&client, "node-a").await.status, 429);
    seconds(1).await;
    assert_eq!(empty_update(&client, "node-a").await.status, 200);
    client.emulator.share_bucket("PutVMResource", 0.0).unwrap();
    seconds(60).await;
    let reply = empty_update(&client, "node-a").await;
    assert!(reply.header(RESOURCE).ends_with("PutVMResource;3"), "{:?}", reply.headers);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_changes_nothing() {
    let client = throttled(1);
    let disk = client.disk("a", "Premium_LRS", 8).await;
    client.emulator.set_bucket("AttachDetachVMDisksResource", None, 0).unwrap();
    let before = client.get("virtualMachines/node-a").await;
    let refused = client.attach("node-a", json!([{ "diskId": disk, "lun": 0 }])).await;
    assert_eq!(refused.status, 429);
    assert_eq!(client.get("virtualMachines/node-a").await, before);
    let log = client.emulator.requests();
    assert!(log.iter().any(|request| request.status == 429 && request.operation.is_none()));
}

#[tokio::test(start_paused = true)]
async fn the_control_endpoint_tells_what_is_assumed_and_refuses_nonsense() {
    let client = Client::new();
    let path = "http://emulator/_emulator/throttle";
    let bucket = "http://emulator/_emulator/throttle/PutVMResource";
    assert_eq!(client.emulator.set_bucket("PutVMResource", None, 1), Err(BucketError::Off));
    assert_eq!(client.send("PUT", bucket, json!({ "remaining": 1 })).await.status, 400);
    assert_eq!(client.send("PUT", path, json!({ "mode": "real:60" })).await.status, 204);
    for (path, body) in [
        (path, json!({ "mode": "fast" })),
        ("http://emulator/_emulator/throttle/PutDiskResource", json!({ "remaining": 1 })),
        (bucket, json!({ "others": -0.1 })),
        (bucket, json!({ "left": 1 })),
    ] {
        assert_eq!(client.send("PUT", path, body).await.status, 400, "{path}");
    }
    client.send("GET", "virtualMachines/none", Value::Null).await;
    let whole = client.get("http://emulator/_emulator").await;
    let throttle = &whole["throttle"];
    assert_eq!(throttle["mode"], "real:60");
    for (policy, is_assumed) in [
        ("AttachDetachVMDisksResource", true),
        ("CreateUpdateDisks3Min", true),
        ("PutVMResource", false),
        ("subscription-reads", false),
    ] {
        assert_eq!(throttle["assumed"][policy].is_string(), is_assumed, "{policy}");
    }
    let buckets = client.emulator.buckets();
    assert_eq!(throttle["buckets"], json!(buckets));
    let reads = buckets.iter().find(|bucket| bucket.policy == "subscription-reads").unwrap();
    assert_eq!((reads.remaining, reads.capacity, reads.refill, reads.period_ms), (249, 250, 25, 16));
}

#[tokio::test(start_paused = true)]
async fn buckets_of_operations_that_ended_are_forgotten() {
    let client = throttled(1);
    for _ in 0..1300 {
        let accepted = client.send("POST", "virtualMachines/node-a/start", Value::Null).await;
        if accepted.status == 429 {
            seconds(60).await;
            continue;
        }
        client.poll(&accepted).await;
        seconds(20).await;
    }
    assert!(client.emulator.buckets().len() < 1100, "{}", client.emulator.buckets().len());
}

/// What a client keeps to.
#[derive(Debug, Clone, Copy)]
struct Manners {
    /// Updates of a VM at once, and each minute after the first.
    per_vm: (u64, u64),
    /// Whether it spreads its writes: 200 at once, 10 more each second.
    spreads: bool,
}

/// Ten minutes in which a hundred VMs are updated as often as `manners` allow: how many updates were taken, and the
/// refusals with what they ask for.
async fn rolling(manners: Manners) -> (u64, Vec<(String, String)>) {
    let client = throttled(1);
    let mut vms = Vec::new();
    for number in 0..100 {
        let name = format!("node-{number}");
        client.emulator.add_vm(&name, "Standard_D2s_v5", "").unwrap();
        vms.push((name, manners.per_vm.0, None));
    }
    let (mut taken, mut refused, mut writes) = (0, Vec::new(), 200);
    for second in 0..600 {
        for (name, tokens, first) in &mut vms {
            if first.is_some_and(|first| second > first && (second - first) % 60 == 0) {
                *tokens += manners.per_vm.1;
            }
            while *tokens > 0 && (writes > 0 || !manners.spreads) {
                first.get_or_insert(second);
                *tokens -= 1;
                writes = std::cmp::max(writes - 1, 0);
                let reply = client.attach(name, json!([])).await;
                if reply.status == 429 {
                    refused.push((reply.code().to_owned(), reply.header("retry-after").to_owned()));
                } else {
                    assert_eq!(reply.status, 200, "{}", reply.body);
                    taken += 1;
                }
            }
        }
        seconds(1).await;
        writes = std::cmp::min(writes + 10, 200);
    }
    (taken, refused)
}

#[tokio::test(start_paused = true)]
async fn a_rolling_load_within_the_buckets_is_never_refused_and_one_beyond_them_is() {
    let polite = Manners { per_vm: (12, 4), spreads: true };
    let (taken, refused) = rolling(polite).await;
    assert!(refused.is_empty(), "{refused:?}");
    assert!(taken >= 100 * (12 + 4 * 7), "{taken}");

    for (manners, code) in [
        (Manners { per_vm: (12, 5), ..polite }, "OperationNotAllowed"),
        (Manners { per_vm: (13, 4), ..polite }, "OperationNotAllowed"),
        (Manners { spreads: false, ..polite }, "SubscriptionRequestsThrottled"),
    ] {
        let (_, refused) = rolling(manners).await;
        assert!(!refused.is_empty(), "{manners:?}");
        for (found, wait) in refused {
            let most = if code == "OperationNotAllowed" { 60 } else { 1 };
            assert_eq!(found, code, "{manners:?}");
            assert!((1..=most).contains(&wait.parse().unwrap()), "{manners:?}: {wait} s");
        }
    }
}
