//! The rolling move, in virtual time: every node of a cluster hands all its disks to the next, at one moment, while
//! Azure throttles as it does.
//!
//! The driver's own services, the emulator and the callers run in one thread on a paused clock, so that hours pass
//! in seconds. A caller is as patient as the external-attacher with its default time-out: per disk it unpublishes
//! until that is answered OK, and then publishes at the next node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_emulator::{Emulator, Latency, Options, Throttling};
use azuredisk_csi::config::Config;
use azuredisk_csi::environment::Environment;
use azuredisk_csi::flags::Flags;
use azuredisk_csi::metrics::Metrics;
use azuredisk_csi::wiring::{self, Seams};
use csi::v1;
use e2e::Failure;
use futures::future::join_all;
use serde_json::Map;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::attacher::{self, Client, Patience};
use crate::azure::{Azure, cloud_config};
use crate::cases::{Pace, Verb};
use crate::row::Sample;
use crate::traffic::Traffic;
use crate::{floor, volumes};

/// Takes 64 data disks: what comes has room beside what has not left yet.
const SIZE: &str = "Standard_M128s";

/// The attacher's default `--timeout`; it goes on for ever.
const PATIENCE: Patience = Patience { timeout: Duration::from_secs(15), most_failures: usize::MAX };

/// Between the preparation and the move, so that nothing of it is left in a bucket or a gate.
const REST: Duration = Duration::from_hours(1);

/// What is not done by then is given up.
const LONGEST: Duration = Duration::from_hours(6);

/// So many requests are taken out of the emulator's log at once; it holds ten thousand.
const DRAINED: u32 = 1000;

/// How much is moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) vms: usize,
    /// Disks on each VM.
    pub(crate) each: usize,
}

/// What a rolling move showed.
#[derive(Clone, Debug)]
pub(crate) struct Rolled {
    /// Virtual time from the first call to the last answer.
    pub(crate) time: Duration,
    pub(crate) traffic: Traffic,
    /// How often calls failed, by their code.
    pub(crate) failed: BTreeMap<String, usize>,
    /// Disks that are not where they belong at the end, whatever the driver said.
    pub(crate) misplaced: usize,
}

impl Rolled {
    /// For the table.
    pub(crate) fn sample(&self, shape: Shape) -> Sample {
        let operation = floor::median(self.traffic.taken().flatten().copied().collect());
        // All of its disks leave in one update and all that come to it arrive in one.
        let needed = std::iter::repeat_n(2, shape.vms);
        Sample {
            time: self.time,
            floor: floor::of_rolling_move(needed, operation.unwrap_or_default()),
            traffic: self.traffic.clone(),
            again: self.failed.values().sum(),
        }
    }

    /// What the table has no column for.
    pub(crate) fn story(&self) -> String {
        let of_vm = || self.traffic.taken().map(<[Duration]>::len);
        let (most, vms) = (of_vm().max().unwrap_or_default(), of_vm().count().max(1));
        let tenths = of_vm().sum::<usize>() * 10 / vms;
        let mut story =
            vec![format!("updates per VM: {most} at most, {}.{} in the mean", tenths / 10, tenths % 10)];
        story.extend(self.failed.iter().map(|(code, count)| format!("{count} calls {code}")));
        if self.misplaced > 0 {
            story.push(format!("{} disks NOT WHERE THEY BELONG", self.misplaced));
        }
        story.join(", ")
    }
}

/// Runs it on a clock of its own; blocks this thread.
pub(crate) fn run(shape: Shape, pace: Pace, seed: u64) -> Result<Rolled, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(Cluster::prepared(shape, seed)?.roll(shape, pace))
}

/// One driver and its Azure, in this process.
struct Cluster {
    azure: Emulator,
    client: Client,
    counted: Counted,
    _folder: tempfile::TempDir,
}

/// The requests so far. Only what is counted stays; the emulator's log is emptied as it fills.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<(u32, Traffic)>>);

impl Counted {
    /// One more request was answered.
    fn one(&self, azure: &Emulator) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.0 += 1;
        if counted.0 == DRAINED {
            drain(&mut counted, azure);
        }
    }

    /// What was counted since the last time.
    fn take(&self, azure: &Emulator) -> Traffic {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drain(&mut counted, azure);
        std::mem::take(&mut counted.1)
    }
}

fn drain((waiting, traffic): &mut (u32, Traffic), azure: &Emulator) {
    traffic.add(&azure.requests());
    azure.reset_requests();
    *waiting = 0;
}

impl Cluster {
    /// VMs, and a driver; the callers come later.
    fn prepared(shape: Shape, seed: u64) -> Result<Cluster, Failure> {
        let azure = Emulator::new(Options { strict: true, ..Options::default() })?;
        for vm in 0..shape.vms {
            azure.add_vm(&Azure::node(vm), SIZE, "")?;
        }
        let folder = tempfile::tempdir()?;
        let credentials = folder.path().join("azure.json");
        std::fs::write(&credentials, cloud_config("https://management.azure.com"))?;
        let environment = Environment::read(|name| match name {
            "AZURE_CREDENTIAL_FILE" => Some(credentials.display().to_string()),
            "IDENTITY_ENDPOINT" => Some("http://127.0.0.1/msi/token".to_owned()),
            "IDENTITY_HEADER" => Some("bench".to_owned()),
            _ => None,
        });
        let flags = Flags::parse(["--mode=controller".to_owned()]);
        let config = Config::new(&flags, environment).map_err(|errors| errors.join("; "))?;
        let (door, counted) = (azure.clone(), Counted::default());
        let counting = counted.clone();
        let transport = move |request: http::Request<bytes::Bytes>| {
            let (door, counting) = (door.clone(), counting.clone());
            async move {
                let response = door.handle(request).await;
                counting.one(&door);
                response
            }
        };
        let seams = Seams { transport: Arc::new(transport), seed, ..Seams::real(&config) };
        let server = wiring::server(&config, &seams, &Metrics::new(config.mode));
        let client = attacher::client(server.routes.prepare());
        Ok(Cluster { azure, client, counted, _folder: folder })
    }

    async fn roll(self, shape: Shape, pace: Pace) -> Result<Rolled, Failure> {
        let volumes = volumes::create(&self.client, shape.vms * shape.each).await?;
        let filled = volumes.iter().enumerate().map(async |(disk, volume)| {
            attacher::ask(&self.client, Verb::Publish, volume, &Azure::node(disk / shape.each), PATIENCE)
                .await
        });
        if let Some(gave_up) = join_all(filled).await.into_iter().find_map(Result::err) {
            return Err(format!("a VM could not be filled: {}", gave_up.message).into());
        }
        sleep(REST).await;
        self.azure.set_latency(latency(pace));
        self.azure.set_throttling(Throttling::Real { speed: 1 });
        self.counted.take(&self.azure);

        let began = Instant::now();
        let moved = volumes.iter().enumerate().map(|(disk, volume)| {
            let vm = disk / shape.each;
            timeout(LONGEST, self.step(volume, vm, (vm + 1) % shape.vms))
        });
        let moved = join_all(moved).await;
        let time = began.elapsed();
        let arrived = |disk: usize, volume: &v1::Volume| {
            self.is_attached(&volume.volume_id, &Azure::node((disk / shape.each + 1) % shape.vms))
        };
        let misplaced = volumes.iter().enumerate().filter(|(disk, volume)| !arrived(*disk, volume)).count();
        let mut failed = BTreeMap::new();
        for code in moved.into_iter().flatten().flatten() {
            *failed.entry(format!("{code:?}")).or_insert(0) += 1;
        }
        Ok(Rolled { time, traffic: self.counted.take(&self.azure), failed, misplaced })
    }

    /// What Azure says of a disk and a VM.
    fn is_attached(&self, volume_id: &str, node: &str) -> bool {
        let attached = self.azure.attached();
        let on_node = attached.iter().filter(|(vm, _)| vm.ends_with(&format!("/{node}")));
        let mut disks = on_node.flat_map(|(_, luns)| luns.as_object().into_iter().flat_map(Map::values));
        disks.any(|disk| disk.as_str().is_some_and(|disk| disk.eq_ignore_ascii_case(volume_id)))
    }

    /// One disk goes from a VM to another; answers how calls failed on the way.
    async fn step(&self, volume: &v1::Volume, from: usize, to: usize) -> Vec<Code> {
        let mut failed = Vec::new();
        for (verb, vm) in [(Verb::Unpublish, from), (Verb::Publish, to)] {
            let asked = attacher::ask(&self.client, verb, volume, &Azure::node(vm), PATIENCE).await;
            failed.extend(asked.unwrap_or_else(|gave_up| gave_up.codes));
        }
        failed
    }
}

fn latency(pace: Pace) -> Latency {
    match pace {
        Pace::Instant => Latency::default(),
        Pace::Fixed(ms) => Latency::fixed(Duration::from_millis(ms)),
        Pace::Realistic(seed) => Latency::realistic(seed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small one ends with every disk one VM further, and is told from another by its time alone.
    #[test]
    fn every_disk_arrives_and_two_updates_do() {
        let shape = Shape { vms: 3, each: 4 };
        let rolled = run(shape, Pace::Fixed(6000), 1).unwrap();
        assert_eq!((rolled.misplaced, rolled.traffic.throttled), (0, 0), "{}", rolled.story());
        let sample = rolled.sample(shape);
        assert_eq!(sample.floor, Duration::from_secs(12));
        assert!(sample.time >= sample.floor, "{sample:?}");
        // A second time in the same process, on another clock and another Azure.
        let again = run(shape, Pace::Fixed(6000), 1).unwrap();
        assert_eq!((again.time, again.traffic), (rolled.time, rolled.traffic));
    }

    #[test]
    fn what_the_table_lacks_is_told() {
        let taken = |updates: &[u64]| updates.iter().copied().map(Duration::from_secs).collect();
        let traffic = Traffic {
            taken: BTreeMap::from([("a".to_owned(), taken(&[6, 6])), ("b".to_owned(), taken(&[6, 6, 9]))]),
            ..Traffic::default()
        };
        let failed = BTreeMap::from([("Unavailable".to_owned(), 4)]);
        let mut rolled = Rolled { time: Duration::from_secs(13), traffic, failed, misplaced: 0 };
        let told = "updates per VM: 3 at most, 2.5 in the mean, 4 calls Unavailable";
        assert_eq!(rolled.story(), told);
        rolled.misplaced = 1;
        assert_eq!(rolled.story(), format!("{told}, 1 disks NOT WHERE THEY BELONG"));
        let sample = rolled.sample(Shape { vms: 2, each: 1 });
        assert_eq!((sample.floor, sample.again), (Duration::from_secs(12), 4));
    }
}
