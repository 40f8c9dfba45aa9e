//! One VM takes no updates for minutes: the others do not feel it.

use std::time::Duration;

use azure::FirstWay;
use azure_emulator::{Latency, Throttling};
use fastrand::Rng;
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::world::{World, azure, until_ok};

const VMS: usize = 40;
const DISKS: usize = 8;
/// Publishes begin within this time.
const SPAN: Duration = Duration::from_mins(3);
/// The bucket of a VM's updates.
const UPDATES: &str = "AttachDetachVMDisksResource";
/// What the others may feel, in hundredths.
const FELT: u32 = 10;

/// How long each publish took on the VMs other than the first, whose bucket somebody keeps empty if it `is_hot`; and
/// how often the first was refused.
async fn run(seed: u64, is_hot: bool) -> (Vec<Duration>, usize) {
    let azure = azure();
    let world = World::on(&azure, FirstWay::Delta, |_, _| ());
    let mut hot = String::new();
    let nodes: Vec<String> = (0..VMS).map(|number| format!("node-{number:02}")).collect();
    for node in nodes.iter().rev() {
        hot = azure.add_vm(node, "Standard_D4s_v5", "").unwrap();
    }
    let volumes = join_all((0..VMS * DISKS).map(async |number| {
        let name = format!("pvc-{number}");
        world.volume(&name).await
    }))
    .await;
    azure.set_throttling(Throttling::Real { speed: 1 });
    azure.set_latency(Latency::realistic(seed));
    let mut random = Rng::with_seed(seed);
    let span = u64::try_from(SPAN.as_millis()).unwrap();
    let calls: Vec<(usize, u64)> = (0..volumes.len()).map(|index| (index, random.u64(0..span))).collect();
    let publish = async |(index, begin): (usize, u64)| {
        sleep(Duration::from_millis(begin)).await;
        let (begun, volume, node) = (Instant::now(), &volumes[index], &nodes[index % VMS]);
        until_ok(async || world.publish(volume, node).await).await;
        begun.elapsed()
    };
    world.reset();
    let (on_hot, on_others): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(index, _)| index % VMS == 0);
    let drain = async || {
        loop {
            azure.set_bucket(UPDATES, Some(&hot), 0).unwrap();
            sleep(Duration::from_secs(15)).await;
        }
    };
    let mut on_hot = std::pin::pin!(join_all(on_hot.into_iter().map(&publish)));
    let on_others = join_all(on_others.into_iter().map(&publish));
    let on_others = async {
        if is_hot {
            tokio::select! {
                times = on_others => times,
                _ = &mut on_hot => panic!("the VM takes no update"),
                () = drain() => unreachable!(),
            }
        } else {
            tokio::join!(on_others, &mut on_hot).0
        }
    };
    let times = timeout(Duration::from_hours(1), on_others).await.expect("the others converge");
    if is_hot {
        timeout(Duration::from_hours(1), on_hot).await.expect("the hot VM converges when it takes updates");
    }
    let throttled = world.ledger().iter().filter(|one| one.status == 429).count();
    println!("hot: {is_hot}, 429: {throttled}, refused: {:?}", world.refusals());
    (times, throttled)
}

/// The 99th of a hundred.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() * 99).div_ceil(100) - 1]
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_takes_no_updates_slows_no_other() {
    for seed in 0..2 {
        let (calm, _) = run(seed, false).await;
        let (beside, throttled) = run(seed, true).await;
        assert!(throttled > 0, "it was not throttled");
        let (calm, beside) = (p99(calm), p99(beside));
        println!("seed {seed}: p99 {calm:?}, beside a hot VM {beside:?}");
        assert!(beside * 100 <= calm * (100 + FELT), "seed {seed}: {calm:?} became {beside:?}");
    }
}
