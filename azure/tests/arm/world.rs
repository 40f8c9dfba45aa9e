//! A local Azure, a client of it, and the wire between them, which remembers what went over it and can be
//! told to spoil it. The emulator owns all state; the wire owns only its memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use azure::model::disk::{CreationData, DiskCreate, DiskCreateProperties, SkuName};
use azure::transport::BoxFuture;
use azure::{
    AnswerLost, Arm, ArmSettings, Deadline, DiskChanges, DiskId, DiskSku, DiskWriter as _, Error, ErrorKind,
    Exchange, GiB, ResourceGroup, SnapshotId, Tokens, Transport, TransportError, VmId,
};
use azure_emulator::{Action, CONNECTION_LOST, Emulator, Fault, Latency, Options, SUBSCRIPTION};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// The bearer token of every test: nothing may print it.
pub(crate) const TOKEN: &str = "very-secret-token";
/// Where Azure is.
pub(crate) const ENDPOINT: &str = "https://azure.test/";
/// A VM size with four data disks.
pub(crate) const SIZE: &str = "Standard_D2s_v5";

/// One request as it went over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) client_request_id: String,
    pub(crate) authorization: String,
    pub(crate) at: Instant,
}

impl Seen {
    pub(crate) fn is_poll(&self) -> bool {
        self.url.to_lowercase().contains("operations/")
    }
}

/// What happens instead of the exchange; `None`: the exchange.
pub(crate) type Instead = Box<dyn Fn(&Seen) -> Option<Result<Response<Bytes>, TransportError>> + Send + Sync>;
/// What happens to an answer on its way back.
pub(crate) type Spoil = Box<dyn Fn(&Seen, &mut Response<Bytes>) + Send + Sync>;

struct Wire {
    emulator: Emulator,
    seen: Arc<Mutex<Vec<Seen>>>,
    instead: Instead,
    spoil: Spoil,
}

impl Transport for Wire {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let header = |name: &str| {
            request.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let seen = Seen {
            method: request.method().to_string(),
            url: request.uri().to_string(),
            client_request_id: header("x-ms-client-request-id"),
            authorization: header("authorization"),
            at: Instant::now(),
        };
        assert!(!format!("{request:?}").contains(TOKEN), "a printed request shows the token");
        self.seen.lock().unwrap().push(seen.clone());
        Box::pin(async move {
            if let Some(answer) = (self.instead)(&seen) {
                return answer;
            }
            let mut answer = self.emulator.handle(request).await;
            if answer.headers().contains_key(CONNECTION_LOST) {
                answer.extensions_mut().insert(AnswerLost);
            }
            (self.spoil)(&seen, &mut answer);
            Ok(answer)
        })
    }
}

/// An Azure and a client of it.
pub(crate) struct World {
    pub(crate) emulator: Emulator,
    pub(crate) arm: Arm,
    seen: Arc<Mutex<Vec<Seen>>>,
    heard: Arc<Mutex<Vec<Exchange>>>,
}

impl World {
    /// Everything is instant and works.
    pub(crate) fn new() -> World {
        World::spoilt(Box::new(|_| None), Box::new(|_, _| {}))
    }

    /// Operations take `operation`.
    pub(crate) fn slow(operation: Duration) -> World {
        let world = World::new();
        world.emulator.set_latency(Latency::fixed(operation));
        world
    }

    /// The wire does as told.
    pub(crate) fn spoilt(instead: Instead, spoil: Spoil) -> World {
        World::with(Tokens::fixed(TOKEN), instead, spoil)
    }

    /// The tokens come from there, and the wire does as told.
    pub(crate) fn with(tokens: Tokens, instead: Instead, spoil: Spoil) -> World {
        let emulator = Emulator::new(Options { strict: true, ..Options::default() }).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let wire = Wire { emulator: emulator.clone(), seen: seen.clone(), instead, spoil };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = heard.clone();
        let settings = ArmSettings {
            endpoint: ENDPOINT.parse().unwrap(),
            tokens,
            observer: Arc::new(move |exchange: &Exchange| ear.lock().unwrap().push(exchange.clone())),
            seed: 7,
            user_agent: "test".to_owned(),
        };
        World { emulator, arm: Arm::new(settings, Arc::new(wire)), seen, heard }
    }

    /// Scripts a misfortune for the next request of `method` whose URL contains `path`.
    pub(crate) fn script(&self, method: &str, path: &str, action: Action) {
        self.emulator.script(Fault::on(method, path, action));
    }

    /// As [`World::script`], for so many requests in a row.
    pub(crate) fn script_many(&self, method: &str, path: &str, count: u64, action: Action) {
        self.emulator.script(Fault::on(method, path, action).times(count));
    }

    /// What went over the wire since the last look.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// The methods of what went over the wire since the last look, polls left out.
    pub(crate) fn methods(&self) -> String {
        let seen = self.seen();
        let methods: Vec<_> =
            seen.iter().filter(|one| !one.is_poll()).map(|one| one.method.as_str()).collect();
        methods.join(" ")
    }

    /// What the observer heard since the last look.
    pub(crate) fn heard(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    /// One update of a VM, as who plans updates makes it: while Azure takes none it waits.
    pub(crate) async fn update(&self, vm: &VmId, changes: &DiskChanges, by: Deadline) -> Result<(), Error> {
        loop {
            if let Some(wait) = self.arm.wait(vm) {
                sleep(wait).await;
            }
            match self.arm.change_disks(vm, changes, by).await {
                Err(error) if matches!(error.kind(), ErrorKind::Throttled { .. }) && Instant::now() < by => {}
                outcome => return outcome,
            }
        }
    }

    /// A disk of 8 GiB.
    pub(crate) async fn disk(&self, name: &str) -> DiskId {
        let id = disk(name);
        self.arm.create_disk(&id, &premium(8), within(600)).await.unwrap();
        self.seen();
        self.heard();
        id
    }

    /// A VM without data disks.
    pub(crate) fn vm(&self, name: &str) -> VmId {
        self.emulator.add_vm(name, SIZE, "").unwrap().parse().unwrap()
    }
}

/// So many seconds from now.
pub(crate) fn within(seconds: u64) -> Deadline {
    Instant::now() + Duration::from_secs(seconds)
}

pub(crate) fn group() -> ResourceGroup {
    ResourceGroup::new(SUBSCRIPTION, "rg").unwrap()
}

pub(crate) fn disk(name: &str) -> DiskId {
    DiskId::new(SUBSCRIPTION, "rg", name).unwrap()
}

pub(crate) fn snapshot(name: &str) -> SnapshotId {
    SnapshotId::new(SUBSCRIPTION, "rg", name).unwrap()
}

pub(crate) fn premium(gib: u32) -> DiskCreate {
    DiskCreate {
        location: "eastus2".to_owned(),
        zones: Vec::new(),
        sku: Some(SkuName { name: DiskSku::PremiumLrs }),
        tags: [("k8s-azure-created-by".to_owned(), "azuredisk-csi".to_owned())].into(),
        properties: DiskCreateProperties {
            creation_data: CreationData::empty(),
            size: Some(GiB(gib)),
            iops: None,
            mbps: None,
            max_shares: None,
            encryption: None,
            network_access_policy: None,
            public_network_access: None,
            disk_access_id: None,
            bursting_enabled: None,
        },
    }
}

/// A scripted answer.
pub(crate) fn answer(status: u16, body: Value, headers: &[(&str, &str)]) -> Action {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Action::Answer { status, body, headers: headers.collect() }
}

/// A scripted end of an operation.
pub(crate) fn ending(canceled: bool, code: &str, message: &str) -> Action {
    Action::FailOperation { canceled, code: code.to_owned(), message: message.to_owned() }
}

/// An answer of the wire itself.
pub(crate) fn json(status: u16, body: &Value) -> Response<Bytes> {
    Response::builder().status(status).body(body.to_string().into()).unwrap()
}

/// The error of what must fail.
pub(crate) fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Error {
    outcome.expect_err("this is to fail")
}
