//! A controller on an Azure of its own. The trial stands between the two: it sees each exchange, and may do something
//! to Azure at the moment at which a request arrives.
//!
//! Owned here: the ledger of exchanges. Calls are made and repeated as the sidecar does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure::{AnswerLost, Arm, ArmSettings, FirstWay, Tokens};
use azure_emulator::{CONNECTION_LOST, Emulator, Options, SUBSCRIPTION};
use bytes::Bytes;
use controller::cluster::ClusterView;
use controller::{Controller, Counters, Settings};
use csi::v1::controller_server::Controller as _;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use csi::v1::{
    CapacityRange, ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest, CreateVolumeRequest,
    VolumeCapability,
};
use http::Method;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::{Request, Status};

/// How long a sidecar waits for an answer, unless it is told otherwise.
const PATIENCE: Duration = Duration::from_mins(1);
/// Its pause after a refusal: at first, and at most; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// One request of the controller, and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
    pub(crate) method: Method,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) has_if_match: bool,
    pub(crate) status: u16,
    /// Of a 429: `Retry-After` in seconds, and the body.
    pub(crate) refusal: Option<(u64, Value)>,
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) azure: Emulator,
    controller: Controller,
    patience: Duration,
    ledger: Arc<Mutex<Vec<Exchange>>>,
    /// Code and message of what callers were refused.
    refused: Arc<Mutex<Vec<Status>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An Azure that refuses what the real one would not know.
pub(crate) fn azure() -> Emulator {
    Emulator::new(Options { strict: true, ..Options::default() }).unwrap()
}

/// How many: as the environment says, or as few as are quick enough for every day.
#[expect(clippy::disallowed_methods, reason = "a trial is made longer from outside")]
pub(crate) fn count(name: &str, every_day: usize) -> usize {
    std::env::var(name).map_or(every_day, |text| text.parse().expect("a number"))
}

impl World {
    /// A new controller on `azure`; `before` hears of each of its requests just before Azure does.
    pub(crate) fn on(
        azure: &Emulator,
        first_way: FirstWay,
        before: impl Fn(&Emulator, &http::Request<Bytes>) + Send + Sync + 'static,
    ) -> World {
        let ledger = Arc::<Mutex<Vec<Exchange>>>::default();
        let (door, seen, before) = (azure.clone(), Arc::clone(&ledger), Arc::new(before));
        let transport = move |request: http::Request<Bytes>| {
            let (door, seen, before) = (door.clone(), Arc::clone(&seen), Arc::clone(&before));
            async move {
                let (sent, method) = (Instant::now(), request.method().clone());
                let path = request.uri().path().to_owned();
                let has_if_match = request.headers().contains_key("if-match");
                before(&door, &request);
                let mut response = door.handle(request).await;
                if response.headers().contains_key(CONNECTION_LOST) {
                    response.extensions_mut().insert(AnswerLost);
                }
                let status = response.status().as_u16();
                let seconds = response.headers().get("retry-after").filter(|_| status == 429);
                let refusal = seconds.map(|seconds| {
                    let seconds = seconds.to_str().unwrap().parse().unwrap();
                    (seconds, serde_json::from_slice(response.body()).unwrap())
                });
                let answered = Instant::now();
                lock(&seen).push(Exchange { sent, answered, method, path, has_if_match, status, refusal });
                response
            }
        };
        let settings = ArmSettings {
            endpoint: "https://management.azure.com/".parse().unwrap(),
            tokens: Tokens::fixed("token"),
            observer: Arc::new(|_| ()),
            seed: 7,
            user_agent: "test".into(),
        };
        let arm = Arm::new(settings, Arc::new(transport));
        let settings = Settings {
            driver: "disk.csi.azure.com".into(),
            subscription: SUBSCRIPTION.into(),
            resource_group: "rg".into(),
            location: "East US 2".into(),
            first_way,
            counters: Arc::<Counters>::default(),
        };
        let (_, cluster) = watch::channel(ClusterView::absent());
        let controller = Controller::new(arm, settings, cluster, TaskTracker::new());
        World { azure: azure.clone(), controller, patience: PATIENCE, ledger, refused: Arc::default() }
    }

    /// The same, for a sidecar that waits so long for an answer.
    pub(crate) fn patient(self, patience: Duration) -> World {
        World { patience, ..self }
    }

    /// Every exchange since the last reset, in the order of the answers.
    pub(crate) fn ledger(&self) -> Vec<Exchange> {
        lock(&self.ledger).clone()
    }

    pub(crate) fn reset(&self) {
        lock(&self.ledger).clear();
        lock(&self.refused).clear();
    }

    /// How often callers were refused with which code, and one of the messages.
    pub(crate) fn refusals(&self) -> BTreeMap<String, (usize, String)> {
        let mut found = BTreeMap::new();
        for status in lock(&self.refused).iter() {
            let entry = found.entry(format!("{:?}", status.code())).or_insert((0, String::new()));
            *entry = (entry.0 + 1, status.message().to_owned());
        }
        found
    }

    /// The id of a new volume of one GiB.
    pub(crate) async fn volume(&self, name: &str) -> String {
        let request = CreateVolumeRequest {
            name: name.into(),
            capacity_range: Some(CapacityRange { required_bytes: 1 << 30, limit_bytes: 0 }),
            volume_capabilities: vec![capability()],
            ..Default::default()
        };
        let answer = self.controller.create_volume(self.timed(request)).await.unwrap();
        answer.into_inner().volume.unwrap().volume_id
    }

    /// One call; the LUN.
    pub(crate) async fn publish(&self, volume_id: &str, node_id: &str) -> Result<String, Status> {
        let request = ControllerPublishVolumeRequest {
            volume_id: volume_id.into(),
            node_id: node_id.into(),
            volume_capability: Some(capability()),
            volume_context: [("requestedsizegib".to_owned(), "1".to_owned())].into(),
            ..Default::default()
        };
        let answer = self.controller.controller_publish_volume(self.timed(request)).await;
        let mut context = self.noted(answer)?.into_inner().publish_context;
        Ok(context.remove("LUN").unwrap())
    }

    /// One call.
    pub(crate) async fn unpublish(&self, volume_id: &str, node_id: &str) -> Result<(), Status> {
        let (volume_id, node_id) = (volume_id.into(), node_id.into());
        let request = ControllerUnpublishVolumeRequest { volume_id, node_id, ..Default::default() };
        let answer = self.controller.controller_unpublish_volume(self.timed(request)).await;
        self.noted(answer).map(|_| ())
    }

    fn timed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.patience);
        request
    }

    fn noted<T>(&self, answer: Result<T, Status>) -> Result<T, Status> {
        answer.inspect_err(|status| lock(&self.refused).push(status.clone()))
    }
}

/// The answer to a call that is repeated until it is done, as the sidecar does.
pub(crate) async fn until_ok<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> T {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Ok(answer) = call().await {
            return answer;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn capability() -> VolumeCapability {
    VolumeCapability {
        access_type: Some(AccessType::Mount(MountVolume::default())),
        access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
    }
}
