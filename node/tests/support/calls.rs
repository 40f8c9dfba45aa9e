//! The calls of a CO, in short.

use std::collections::BTreeMap;
use std::path::Path;

use csi::v1::node_server::Node as _;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi::v1::{
    CapacityRange, NodeExpandVolumeRequest, NodeGetVolumeStatsRequest, NodePublishVolumeRequest,
    NodeStageVolumeRequest, NodeUnpublishVolumeRequest, NodeUnstageVolumeRequest, VolumeCapability,
    VolumeUsage,
};
use node::Node;
use tonic::{Code, Request, Status};

use super::Machine;

pub const VOLUME: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/pvc-1";

/// What a volume is asked to be: "block", or a file system's name.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub kind: &'static str,
    pub mode: Mode,
    pub lun: u8,
    pub read_only: bool,
    /// By the controller, as the publish context tells.
    pub is_published_read_only: bool,
    pub id: &'static str,
}

impl Wish {
    pub fn new(kind: &'static str, lun: u8) -> Wish {
        let (mode, read_only, is_published_read_only) = (Mode::SingleNodeMultiWriter, false, false);
        Wish { kind, mode, lun, read_only, is_published_read_only, id: VOLUME }
    }

    fn publish_context(&self) -> BTreeMap<String, String> {
        let mut context = BTreeMap::from([("LUN".to_owned(), self.lun.to_string())]);
        if self.is_published_read_only {
            context.insert("azuredisk-csi-readonly".to_owned(), "true".to_owned());
        }
        context
    }

    pub fn capability(&self) -> VolumeCapability {
        let access_type = if self.kind == "block" {
            AccessType::Block(BlockVolume {})
        } else {
            AccessType::Mount(MountVolume { fs_type: self.kind.to_owned(), ..Default::default() })
        };
        let access_mode = Some(AccessMode { mode: self.mode.into() });
        VolumeCapability { access_type: Some(access_type), access_mode }
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A request that waits a minute, unless the call says otherwise.
fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", "60S".parse().unwrap());
    request
}

fn code<T>(answer: Result<T, Status>) -> Result<(), (Code, String)> {
    answer.map(drop).map_err(|status| (status.code(), status.message().to_owned()))
}

pub type Answer = Result<(), (Code, String)>;

pub async fn stage_within(node: &Node, machine: &Machine, wish: Wish, timeout: &'static str) -> Answer {
    let mut request = request(NodeStageVolumeRequest {
        volume_id: wish.id.to_owned(),
        publish_context: wish.publish_context(),
        staging_target_path: text(&machine.staging()),
        volume_capability: Some(wish.capability()),
        ..Default::default()
    });
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    code(node.node_stage_volume(request).await)
}

pub async fn stage(node: &Node, machine: &Machine, wish: Wish) -> Answer {
    stage_within(node, machine, wish, "60S").await
}

pub async fn unstage_within(node: &Node, machine: &Machine, timeout: &'static str) -> Answer {
    let message = NodeUnstageVolumeRequest {
        volume_id: VOLUME.to_owned(),
        staging_target_path: text(&machine.staging()),
    };
    let mut request = request(message);
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    code(node.node_unstage_volume(request).await)
}

pub async fn unstage(node: &Node, machine: &Machine) -> Answer {
    unstage_within(node, machine, "60S").await
}

pub async fn publish(node: &Node, machine: &Machine, wish: Wish, pod: &str) -> Answer {
    let message = NodePublishVolumeRequest {
        volume_id: wish.id.to_owned(),
        publish_context: wish.publish_context(),
        staging_target_path: text(&machine.staging()),
        target_path: text(&machine.target(pod)),
        volume_capability: Some(wish.capability()),
        readonly: wish.read_only,
        ..Default::default()
    };
    code(node.node_publish_volume(request(message)).await)
}

pub async fn unpublish(node: &Node, machine: &Machine, pod: &str) -> Answer {
    let message =
        NodeUnpublishVolumeRequest { volume_id: VOLUME.to_owned(), target_path: text(&machine.target(pod)) };
    code(node.node_unpublish_volume(request(message)).await)
}

pub async fn expand(node: &Node, path: &Path, bytes: u64) -> Result<i64, (Code, String)> {
    let mut request = request(NodeExpandVolumeRequest {
        volume_id: VOLUME.to_owned(),
        volume_path: text(path),
        capacity_range: Some(CapacityRange { required_bytes: bytes.cast_signed(), limit_bytes: 0 }),
        ..Default::default()
    });
    request.metadata_mut().insert("grpc-timeout", "2S".parse().unwrap());
    let answer = node.node_expand_volume(request).await;
    answer.map(|answer| answer.into_inner().capacity_bytes).map_err(|s| (s.code(), s.message().to_owned()))
}

pub async fn stats(node: &Node, path: &str) -> Result<Vec<VolumeUsage>, Code> {
    let message = NodeGetVolumeStatsRequest {
        volume_id: VOLUME.to_owned(),
        volume_path: path.to_owned(),
        ..Default::default()
    };
    node.node_get_volume_stats(request(message))
        .await
        .map(|answer| answer.into_inner().usage)
        .map_err(|s| s.code())
}
