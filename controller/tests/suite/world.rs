//! A controller on an Azure of its own, in one process and on a paused clock.
//!
//! The emulator is the state; a [`World`] can be given another controller, as after a restart. Calls go
//! through the service trait, with a deadline where a test needs one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use azure::{AnswerLost, Arm, ArmSettings, FirstWay, Tokens};
use azure_emulator::{CONNECTION_LOST, Emulator, Latency, Options, SUBSCRIPTION};
use controller::cluster::ClusterView;
use controller::{Controller, Counters, Settings};
use csi::v1::controller_server::Controller as _;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi::v1::volume_content_source::{SnapshotSource, Type, VolumeSource};
use csi::v1::{
    CapacityRange, ControllerExpandVolumeRequest, ControllerModifyVolumeRequest,
    ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest, CreateSnapshotRequest,
    CreateVolumeRequest, DeleteSnapshotRequest, DeleteVolumeRequest, Snapshot, Topology, TopologyRequirement,
    Volume, VolumeCapability, VolumeContentSource,
};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tonic::{Code, Request, Status};

pub(crate) const GIB: i64 = 1 << 30;

/// What a call answers: the value, or the code and the message.
pub(crate) type Answer<T> = Result<T, Status>;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) azure: Emulator,
    pub(crate) controller: Controller,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tasks: TaskTracker,
}

/// The code of a refused call; a call that was not refused fails the test.
#[track_caller]
pub(crate) fn code<T: std::fmt::Debug>(answer: Answer<T>) -> Code {
    answer.expect_err("this call is to be refused").code()
}

impl World {
    /// Two VMs without a zone that take four disks each; operations end at once.
    pub(crate) fn new() -> World {
        let azure = Emulator::new(Options { strict: true, ..Options::default() }).unwrap();
        azure.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
        azure.add_vm("node-b", "Standard_D2s_v5", "").unwrap();
        World::on(azure)
    }

    /// The same, with operations that take a while.
    pub(crate) fn slow(operation: Duration) -> World {
        let world = World::new();
        world.azure.set_latency(Latency::fixed(operation));
        world
    }

    /// Another controller on `azure`: what a restart leaves.
    pub(crate) fn on(azure: Emulator) -> World {
        World::seeing(azure, ClusterView::absent())
    }

    /// The same, with a view of Kubernetes.
    pub(crate) fn seeing(azure: Emulator, view: ClusterView) -> World {
        World::overheard(azure, view, |_| ())
    }

    /// The same; `hear` is told every request that is sent to Azure.
    pub(crate) fn overheard(
        azure: Emulator,
        view: ClusterView,
        hear: impl Fn(&http::Request<bytes::Bytes>) + Send + Sync + 'static,
    ) -> World {
        let door = azure.clone();
        let transport = move |request: http::Request<bytes::Bytes>| {
            hear(&request);
            let door = door.clone();
            async move {
                let mut response = door.handle(request).await;
                if response.headers().contains_key(CONNECTION_LOST) {
                    response.extensions_mut().insert(AnswerLost);
                }
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
        let tasks = TaskTracker::new();
        let arm = Arm::new(settings, Arc::new(transport));
        let counters = Arc::<Counters>::default();
        let settings = Settings {
            driver: "disk.csi.azure.com".into(),
            subscription: SUBSCRIPTION.into(),
            resource_group: "rg".into(),
            location: "East US 2".into(),
            first_way: FirstWay::Delta,
            counters: Arc::clone(&counters),
        };
        let (_, cluster) = watch::channel(view);
        let controller = Controller::new(arm, settings, cluster, tasks.clone());
        World { azure, controller, counters, tasks }
    }

    pub(crate) fn restarted(&self) -> World {
        World::on(self.azure.clone())
    }

    /// How many requests of `method` whose path contains `part` Azure has seen.
    pub(crate) fn requests(&self, method: &str, part: &str) -> usize {
        let all = self.azure.requests();
        all.iter().filter(|one| one.method == method && one.path.contains(part)).count()
    }

    pub(crate) async fn create(&self, request: CreateVolumeRequest) -> Answer<Volume> {
        let answer = self.controller.create_volume(timed(request)).await?;
        Ok(answer.into_inner().volume.unwrap())
    }

    /// A volume of one GiB called `name`.
    pub(crate) async fn volume(&self, name: &str) -> Volume {
        self.create(wanted(name)).await.unwrap()
    }

    pub(crate) async fn delete(&self, volume_id: &str) -> Answer<()> {
        let request = DeleteVolumeRequest { volume_id: volume_id.into(), ..Default::default() };
        self.controller.delete_volume(timed(request)).await.map(|_| ())
    }

    /// The LUN.
    pub(crate) async fn publish(&self, volume_id: &str, node_id: &str) -> Answer<String> {
        let context = self.published(volume_id, node_id, [("requestedsizegib", "1")]).await?;
        assert_eq!(context.len(), 1, "{context:?}");
        Ok(context["LUN"].clone())
    }

    pub(crate) async fn published<const N: usize>(
        &self,
        volume_id: &str,
        node_id: &str,
        volume_context: [(&str, &str); N],
    ) -> Answer<BTreeMap<String, String>> {
        let request = to_publish(volume_id, node_id, strings(volume_context));
        let answer = self.controller.controller_publish_volume(timed(request)).await?;
        Ok(answer.into_inner().publish_context)
    }

    /// By a caller who gives up after `time`.
    pub(crate) async fn publish_within(&self, volume_id: &str, node_id: &str, time: Duration) -> Answer<()> {
        let request = to_publish(volume_id, node_id, strings([("requestedsizegib", "1")]));
        self.controller.controller_publish_volume(within(request, time)).await.map(|_| ())
    }

    pub(crate) async fn unpublish(&self, volume_id: &str, node_id: &str) -> Answer<()> {
        self.unpublish_within(volume_id, node_id, PATIENCE).await
    }

    /// By a caller who gives up after `time`.
    pub(crate) async fn unpublish_within(
        &self,
        volume_id: &str,
        node_id: &str,
        time: Duration,
    ) -> Answer<()> {
        let (volume_id, node_id) = (volume_id.into(), node_id.into());
        let request = ControllerUnpublishVolumeRequest { volume_id, node_id, ..Default::default() };
        self.controller.controller_unpublish_volume(within(request, time)).await.map(|_| ())
    }

    pub(crate) async fn expand(&self, volume_id: &str, required_bytes: i64, limit_bytes: i64) -> Answer<i64> {
        let request = ControllerExpandVolumeRequest {
            volume_id: volume_id.into(),
            capacity_range: Some(CapacityRange { required_bytes, limit_bytes }),
            ..Default::default()
        };
        let answer = self.controller.controller_expand_volume(timed(request)).await?.into_inner();
        assert!(answer.node_expansion_required);
        Ok(answer.capacity_bytes)
    }

    pub(crate) async fn modify<const N: usize>(&self, volume_id: &str, to: [(&str, &str); N]) -> Answer<()> {
        let request = ControllerModifyVolumeRequest {
            volume_id: volume_id.into(),
            mutable_parameters: strings(to),
            ..Default::default()
        };
        self.controller.controller_modify_volume(timed(request)).await.map(|_| ())
    }

    pub(crate) async fn snapshot(&self, source_volume_id: &str, name: &str) -> Answer<Snapshot> {
        let (source_volume_id, name) = (source_volume_id.into(), name.into());
        let request = CreateSnapshotRequest { source_volume_id, name, ..Default::default() };
        let answer = self.controller.create_snapshot(timed(request)).await?;
        Ok(answer.into_inner().snapshot.unwrap())
    }

    pub(crate) async fn delete_snapshot(&self, snapshot_id: &str) -> Answer<()> {
        let request = DeleteSnapshotRequest { snapshot_id: snapshot_id.into(), ..Default::default() };
        self.controller.delete_snapshot(timed(request)).await.map(|_| ())
    }

    /// The LUNs of a VM's disks now, as Azure has them.
    pub(crate) fn luns(&self, vm: &str) -> Vec<String> {
        let attached = self.azure.attached();
        let (_, luns) = attached.iter().find(|(id, _)| id.ends_with(&format!("/{vm}"))).unwrap();
        luns.as_object().unwrap().keys().cloned().collect()
    }
}

/// A read-write publish of a mounted volume.
pub(crate) fn to_publish(
    volume_id: &str,
    node_id: &str,
    volume_context: BTreeMap<String, String>,
) -> ControllerPublishVolumeRequest {
    ControllerPublishVolumeRequest {
        volume_id: volume_id.into(),
        node_id: node_id.into(),
        volume_capability: Some(capability(Mode::SingleNodeWriter, false)),
        volume_context,
        ..Default::default()
    }
}

/// That of a sidecar, usually.
const PATIENCE: Duration = Duration::from_mins(1);

/// A call of a sidecar's usual patience.
pub(crate) fn timed<T>(message: T) -> Request<T> {
    within(message, PATIENCE)
}

/// A call that is to be answered within `timeout`.
pub(crate) fn within<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

pub(crate) fn strings<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub(crate) fn capability(mode: Mode, block: bool) -> VolumeCapability {
    let mount = AccessType::Mount(MountVolume::default());
    let access_type = if block { AccessType::Block(BlockVolume {}) } else { mount };
    VolumeCapability { access_type: Some(access_type), access_mode: Some(AccessMode { mode: mode.into() }) }
}

/// A volume of one GiB.
pub(crate) fn wanted(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.into(),
        capacity_range: Some(CapacityRange { required_bytes: GIB, limit_bytes: 0 }),
        volume_capabilities: vec![capability(Mode::SingleNodeWriter, false)],
        ..Default::default()
    }
}

/// The same, of another class.
pub(crate) fn of_class<const N: usize>(name: &str, parameters: [(&str, &str); N]) -> CreateVolumeRequest {
    CreateVolumeRequest { parameters: strings(parameters), ..wanted(name) }
}

/// The same, of `gib`.
pub(crate) fn sized(name: &str, gib: i64) -> CreateVolumeRequest {
    let capacity_range = Some(CapacityRange { required_bytes: gib * GIB, limit_bytes: 0 });
    CreateVolumeRequest { capacity_range, ..wanted(name) }
}

pub(crate) fn from_snapshot(snapshot_id: &str) -> VolumeContentSource {
    let source = SnapshotSource { snapshot_id: snapshot_id.into() };
    VolumeContentSource { r#type: Some(Type::Snapshot(source)) }
}

pub(crate) fn from_volume(volume_id: &str) -> VolumeContentSource {
    let source = VolumeSource { volume_id: volume_id.into() };
    VolumeContentSource { r#type: Some(Type::Volume(source)) }
}

/// Only zone `zone` of the region will do.
pub(crate) fn in_zone(zone: &str) -> TopologyRequirement {
    let segments = strings([("topology.disk.csi.azure.com/zone", zone)]);
    TopologyRequirement { requisite: vec![Topology { segments }], preferred: vec![] }
}
