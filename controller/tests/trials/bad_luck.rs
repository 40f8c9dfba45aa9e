//! Most updates of a VM's disks are preempted, or refused because of another change: every caller is served all the
//! same, and each such fault costs a few requests at most.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azure::FirstWay;
use azure_emulator::{Action, Emulator, Ending, Fault, Latency, Leaves};
use bytes::Bytes;
use fastrand::Rng;
use futures::future::join_all;
use http::Request;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::world::{World, azure, count, until_ok};

const VMS: usize = 10;
/// Requests that one fault may cost.
const COST: usize = 3;
/// Of a hundred updates so many are preempted, and as many refused.
const SHARE: u8 = 30;
/// Nobody waits for longer, in virtual time.
const BOUND: Duration = Duration::from_hours(2);

/// Does something bad to some of the updates of VMs' disks, and counts.
#[derive(Clone)]
struct Luck {
    random: Arc<Mutex<Rng>>,
    faults: Arc<AtomicUsize>,
}

impl Luck {
    fn seeded(seed: u64) -> Luck {
        Luck { random: Arc::new(Mutex::new(Rng::with_seed(seed))), faults: Arc::default() }
    }

    fn strike(&self, azure: &Emulator, request: &Request<Bytes>) {
        let path = request.uri().path();
        if !path.ends_with("/attachDetachDataDisks") {
            return;
        }
        let mut random = self.random.lock().unwrap();
        let draw = random.u8(0..100);
        let action = if draw < SHARE {
            preempted(&mut random)
        } else if draw < 2 * SHARE {
            let message = "The request failed due to conflict with a concurrent request. ";
            let body = json!({"error": {"code": "Conflict", "message": message}});
            Action::Answer { status: 409, body, headers: vec![] }
        } else {
            return;
        };
        self.faults.fetch_add(1, Ordering::Relaxed);
        azure.script(Fault::on("POST", path, action));
    }

    fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }
}

/// The newer write took the goal along, or put an old one in its place.
fn preempted(random: &mut Rng) -> Action {
    let ending = if random.bool() { Ending::Preempted } else { Ending::PreemptedAsFailed };
    let leaves = if random.bool() { Leaves::Everything } else { Leaves::Nothing };
    Action::EndOperation { ending, leaves, settled: true }
}

/// Publishes and unpublishes every volume, on each VM one after the other; answers the number of requests.
async fn run(operations: usize, luck: Option<Luck>) -> usize {
    let azure = azure();
    let strikes = luck.clone();
    let world = World::on(&azure, FirstWay::Delta, move |azure, request| {
        if let Some(luck) = &strikes {
            luck.strike(azure, request);
        }
    });
    let nodes: Vec<String> = (0..VMS).map(|number| format!("node-{number}")).collect();
    for node in &nodes {
        azure.add_vm(node, "Standard_D2s_v5", "").unwrap();
    }
    let volumes = join_all((0..operations / 2).map(async |number| {
        let name = format!("pvc-{number}");
        world.volume(&name).await
    }))
    .await;
    azure.set_latency(Latency { accept: Duration::from_millis(100), ..Latency::default() });
    world.reset();
    let begun = Instant::now();
    let lane = async |(node, volumes): (&String, &[String])| {
        for volume in volumes {
            let lun = until_ok(async || world.publish(volume, node).await).await;
            assert_eq!(place(&azure, volume), Some((node.clone(), lun)), "told OK");
            until_ok(async || world.unpublish(volume, node).await).await;
            assert_eq!(place(&azure, volume), None, "told OK");
        }
    };
    let lanes = nodes.iter().zip(volumes.chunks(volumes.len().div_ceil(VMS)));
    timeout(BOUND, join_all(lanes.map(lane))).await.expect("all converge");
    let (requests, faults) = (world.ledger().len(), luck.map_or(0, |luck| luck.faults()));
    println!(
        "{operations} operations, {faults} faults: {requests} requests, {:?}, refused {:?}",
        begun.elapsed(),
        world.refusals()
    );
    requests
}

/// Where a volume is attached.
fn place(azure: &Emulator, volume: &str) -> Option<(String, String)> {
    let attached = azure.attached();
    let all =
        attached.iter().flat_map(|(vm, luns)| luns.as_object().unwrap().iter().map(move |one| (vm, one)));
    let mut found = all.filter(|(_, (_, disk))| disk.as_str().unwrap().eq_ignore_ascii_case(volume));
    let place = found.next().map(|(vm, (lun, _))| (vm.rsplit('/').next().unwrap().to_owned(), lun.clone()));
    assert!(found.next().is_none(), "{volume} is attached twice");
    place
}

/// `TRIAL_OPERATIONS`: how many publish and unpublish calls together. `TRIAL_SEEDS`: how often.
#[tokio::test(start_paused = true)]
async fn each_preempted_or_refused_update_costs_few_requests() {
    let operations = count("TRIAL_OPERATIONS", 200);
    let clean = run(operations, None).await;
    for seed in 0..count("TRIAL_SEEDS", 3) {
        let luck = Luck::seeded(seed as u64);
        let requests = run(operations, Some(luck.clone())).await;
        let faults = luck.faults();
        assert!(faults >= operations * usize::from(SHARE) / 50, "seed {seed}: only {faults} faults");
        assert!(requests <= clean + COST * faults, "seed {seed}: {requests}, clean {clean}, {faults} faults");
    }
}
