//! Runs the cases against one driver by the clock on the wall, over its socket, and counts what it asked of Azure.

use std::path::Path;
use std::time::Duration;

use csi::v1;
use e2e::Failure;
use e2e::client;
use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use crate::attacher::{self, Client, Patience};
use crate::azure::Azure;
use crate::cases::{Case, DISKS, Move, Pace, VMS};
use crate::driver::{Driver, Memory};
use crate::row::Sample;
use crate::traffic::Traffic;
use crate::{floor, volumes};

/// As long as the chart lets the attacher wait: the time of an attach shall not depend on who asks again when.
const PATIENCE: Patience = Patience { timeout: Duration::from_mins(10), most_failures: 10 };

/// After this long nothing of a start or of a case is still going on in the driver.
const SETTLED: Duration = Duration::from_secs(2);

/// The Resource Manager gives the reads back that putting the world in place took: 250, at 25 a second. A driver that
/// counts them would begin a case as if it had been busy.
const REFILLED: Duration = Duration::from_secs(10);

/// One driver, and the Azure that it works on.
pub(crate) struct Wall<'a> {
    azure: &'a Azure,
    /// See [`Azure::set_throttle`].
    throttle: &'a str,
    client: Client,
    /// Ours, with the folder that its socket is in; nothing is known of another's process.
    own: Option<(Driver, &'a Path)>,
    volumes: Vec<v1::Volume>,
}

/// What a case showed.
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Sample>,
    pub(crate) weight: Option<Weight>,
}

/// The driver's memory around a case, in bytes.
pub(crate) struct Weight {
    pub(crate) before: u64,
    pub(crate) peak: u64,
    pub(crate) after: u64,
}

impl<'a> Wall<'a> {
    /// Our driver, as a new process with its files in `folder`.
    pub(crate) async fn ours(
        azure: &'a Azure,
        throttle: &'a str,
        folder: &'a Path,
    ) -> Result<Wall<'a>, Failure> {
        let driver = Driver::start(azure, folder).await?;
        let client = attacher::client(driver.channel.clone());
        Wall::prepared(azure, throttle, client, Some((driver, folder))).await
    }

    /// The driver that listens on `endpoint`, a `unix:` URL, and works on `azure`.
    pub(crate) async fn at(endpoint: &str, azure: &'a Azure, throttle: &'a str) -> Result<Wall<'a>, Failure> {
        let path = endpoint.strip_prefix("unix:").ok_or("give the endpoint as unix:///path/of/socket")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        let client = attacher::client(client::channel(Path::new(path)).await?);
        Wall::prepared(azure, throttle, client, None).await
    }

    async fn prepared(
        azure: &'a Azure,
        throttle: &'a str,
        client: Client,
        own: Option<(Driver, &'a Path)>,
    ) -> Result<Wall<'a>, Failure> {
        azure.set_throttle("off").await?;
        azure.set_pace(Pace::Instant).await?;
        azure.add_vms(VMS).await?;
        let volumes = volumes::create(&client, DISKS).await?;
        Ok(Wall { azure, throttle, client, own, volumes })
    }

    /// Runs every round of `case`.
    pub(crate) async fn run(&mut self, case: &Case) -> Result<Outcome, Failure> {
        let before = if case.weighs { self.restarted().await? } else { None };
        let mut samples = Vec::new();
        for round in 0..case.rounds {
            samples.push(self.round(case, round == 0).await?);
        }
        let weight = match (before, &self.own) {
            (Some(before), Some((driver, _))) => {
                sleep(SETTLED).await;
                let Memory { now, peak } = driver.memory()?;
                Some(Weight { before, peak, after: now })
            }
            _ => None,
        };
        Ok(Outcome { samples, weight })
    }

    /// Takes away what was made, and ends the driver if it is ours.
    pub(crate) async fn clean(self) -> Result<(), Failure> {
        volumes::delete(&self.client, &self.volumes).await?;
        self.azure.remove_vms(VMS).await;
        match self.own {
            Some((driver, _)) => driver.stop().await,
            None => Ok(()),
        }
    }

    async fn round(&self, case: &Case, is_first: bool) -> Result<Sample, Failure> {
        self.all(&case.before).await?;
        if is_first {
            sleep(REFILLED).await;
        }
        self.azure.set_throttle(self.throttle).await?;
        self.azure.set_pace(case.pace).await?;
        self.azure.forget_requests().await?;
        let began = Instant::now();
        let again = self.all(&case.measured).await?;
        let time = began.elapsed();
        let mut traffic = Traffic::default();
        traffic.add(&self.azure.requests().await?);
        self.azure.set_throttle("off").await?;
        self.azure.set_pace(Pace::Instant).await?;
        self.all(&case.after).await?;
        let floor = floor::of_updates(traffic.taken(), case.needed);
        Ok(Sample { time, floor, traffic, again })
    }

    /// Makes all calls at the same moment and waits for their answers; tells how often one had to be repeated.
    async fn all(&self, moves: &[Move]) -> Result<usize, Failure> {
        let answers = try_join_all(moves.iter().map(|step| async {
            let (volume, node) = (&self.volumes[step.disk], Azure::node(step.vm));
            let asked = attacher::ask(&self.client, step.verb, volume, &node, PATIENCE).await;
            asked.map_err(|gave_up| {
                let attacher::GaveUp { codes, message } = gave_up;
                let name = &volume.volume_id;
                Failure::from(format!("{:?} of {name}, {node}: {codes:?}, at last: {message}", step.verb))
            })
        }))
        .await?;
        Ok(answers.iter().map(Vec::len).sum())
    }

    /// Our driver as a new process, and what it weighs at rest, in bytes.
    async fn restarted(&mut self) -> Result<Option<u64>, Failure> {
        let Some((old, folder)) = self.own.take() else { return Ok(None) };
        old.stop().await?;
        let driver = Driver::start(self.azure, folder).await?;
        self.client = attacher::client(driver.channel.clone());
        sleep(SETTLED).await;
        driver.forget_peak()?;
        let before = driver.memory()?.now;
        self.own = Some((driver, folder));
        Ok(Some(before))
    }
}
