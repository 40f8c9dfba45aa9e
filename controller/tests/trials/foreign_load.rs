//! Others use up nine tenths of what Azure takes: a hundred VMs get their disks all the same, and nothing is sent to a
//! bucket before the time at which Azure wants to be asked again.

use std::collections::BTreeMap;
use std::time::Duration;

use azure::FirstWay;
use azure_emulator::{Latency, Throttling};
use futures::future::join_all;
use http::Method;
use tokio::time::{Instant, timeout};

use crate::world::{Exchange, World, azure, count, until_ok};

const DISKS: usize = 16;
const SHARE: f64 = 0.9;
/// The buckets that others draw from as well, with what they leave in each at the begin. Polls of our own operations
/// are ours alone.
const SHARED: [(&str, u64); 10] = [
    ("subscription-reads", 25),
    ("subscription-writes", 20),
    ("subscription-global-reads", 375),
    ("subscription-global-writes", 300),
    ("AttachDetachVMDisksSubscriptionMaximum", 150),
    ("AttachDetachVMDisksResource", 2),
    ("LowCostGetSubscriptionMaximum", 2400),
    ("LowCostGetResource", 4),
    ("LowCostGet3Min", 1500),
    ("LowCostGet30Min", 12_000),
];
/// Reads that Azure then takes in a second.
const READS: f64 = 2.5;
/// As long as the chart lets the attacher wait.
const PATIENCE: Duration = Duration::from_mins(10);
/// All is done within so many times the time that the reads of one call for each disk take.
const SLACK: f64 = 3.0;

/// The buckets that a request draws from, by names of our own: of its verb, of its kind, of its kind and resource.
fn buckets(method: &Method, path: &str) -> [String; 3] {
    let path = path.to_lowercase();
    let kind = ["/diskoperations/", "/operations/", "/disks/", "/attachdetachdatadisks", "/virtualmachines/"];
    let kind = kind.into_iter().find(|part| path.contains(part)).unwrap_or("other");
    let verb = if *method == Method::GET { "read" } else { "write" };
    [verb.to_owned(), format!("{verb} {kind}"), format!("{verb} {kind} {path}")]
}

/// The bucket that was empty when an exchange was refused, and until when.
fn closed(exchange: &Exchange) -> Option<(String, Instant)> {
    let (seconds, body) = exchange.refusal.as_ref()?;
    let [verb, kind, resource] = buckets(&exchange.method, &exchange.path);
    let is_by_arm = body.pointer("/error/code").is_some_and(|code| code == "SubscriptionRequestsThrottled");
    // A provider wraps its refusal when it is about one resource.
    let bucket = match body.get("error") {
        Some(_) if is_by_arm => verb,
        Some(_) => resource,
        None => kind,
    };
    Some((bucket, exchange.answered + Duration::from_secs(*seconds)))
}

/// What was sent to a bucket after Azure had refused to take anything from it, and before the time that it named.
fn too_early(exchanges: &[Exchange]) -> Vec<String> {
    let mut closings: BTreeMap<String, Vec<(Instant, Instant)>> = BTreeMap::new();
    for exchange in exchanges {
        if let Some((bucket, until)) = closed(exchange) {
            closings.entry(bucket).or_default().push((exchange.answered, until));
        }
    }
    let is_early = |exchange: &&Exchange| {
        let mut drawn = buckets(&exchange.method, &exchange.path).into_iter();
        drawn.any(|bucket| {
            let mut times = closings.get(&bucket).into_iter().flatten();
            times.any(|(from, until)| *from < exchange.sent && exchange.sent < *until)
        })
    };
    exchanges.iter().filter(is_early).map(|one| format!("{} {}", one.method, one.path)).collect()
}

/// `TRIAL_VMS`: how many VMs.
#[tokio::test(start_paused = true)]
async fn a_tenth_of_the_budget_is_enough_and_no_refusal_is_ignored() {
    let vms = count("TRIAL_VMS", 100);
    let azure = azure();
    let nodes: Vec<String> = (0..vms).map(|number| format!("node-{number}")).collect();
    for node in &nodes {
        azure.add_vm(node, "Standard_D8s_v5", "").unwrap();
    }
    let maker = World::on(&azure, FirstWay::Delta, |_, _| ());
    let mut volumes = Vec::new();
    for number in 0..vms * DISKS {
        volumes.push(maker.volume(&format!("pvc-{number}")).await);
    }
    let world = World::on(&azure, FirstWay::Delta, |_, _| ()).patient(PATIENCE);
    azure.set_latency(Latency::realistic(1));
    azure.set_throttling(Throttling::Real { speed: 1 });
    for (bucket, left) in SHARED {
        azure.share_bucket(bucket, SHARE).unwrap();
        azure.set_bucket(bucket, None, left).unwrap();
    }
    let begun = Instant::now();
    let publish = async |(index, volume): (usize, &String)| {
        until_ok(async || world.publish(volume, &nodes[index % vms]).await).await;
    };
    let bound = Duration::from_secs((vms * DISKS) as u64).mul_f64(SLACK / READS);
    let done = timeout(bound, join_all(volumes.iter().enumerate().map(publish))).await;
    let ledger = world.ledger();
    let throttled = ledger.iter().filter(|one| one.status == 429).count();
    println!(
        "{vms} VMs: {:?} of {bound:?}, {} requests, {throttled} answered 429, refused {:?}",
        begun.elapsed(),
        ledger.len(),
        world.refusals()
    );
    let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for one in &ledger {
        let entry = kinds.entry(buckets(&one.method, &one.path)[1].clone()).or_default();
        *entry = (entry.0 + 1, entry.1 + usize::from(one.status == 429));
    }
    println!("requests and 429s by kind: {kinds:?}");
    let placed: usize = azure.attached().values().map(|luns| luns.as_object().unwrap().len()).sum();
    assert_eq!(too_early(&ledger), Vec::<String>::new());
    assert!(done.is_ok(), "{placed} of {} disks after {bound:?}", volumes.len());
    assert_eq!(placed, volumes.len());
    assert!(throttled > 0, "nothing was refused: the trial shows nothing");
}
