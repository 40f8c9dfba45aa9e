//! The gRPC face: decodes and checks requests, joins repeated ones, keeps the caller's deadline, encodes
//! answers. Decides nothing.
//!
//! Work is started through `Flights` under the volume id: a caller that hangs up cancels nothing, its retry
//! joins, and another call on the same volume is told ABORTED.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use csi::v1::node_service_capability::{Rpc, Type, rpc};
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_usage::Unit;
use csi::v1::{
    NodeExpandVolumeRequest, NodeExpandVolumeResponse, NodeGetCapabilitiesRequest,
    NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse, NodeGetStorageHealthRequest,
    NodeGetStorageHealthResponse, NodeGetVolumeHealthRequest, NodeGetVolumeHealthResponse,
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
    NodePublishVolumeResponse, NodeServiceCapability, NodeStageVolumeRequest, NodeStageVolumeResponse,
    NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse, NodeUnstageVolumeRequest,
    NodeUnstageVolumeResponse, VolumeUsage, node_server,
};
use csi::{Error, require};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::expand::{self, Expand};
use crate::publish::{self, Publish};
use crate::stage::{self, Stage};
use crate::stats::{self, Measured};
use crate::{Node, options, unstage};

/// A call that changes something, by which two calls are the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Stage(Stage),
    Unstage(PathBuf),
    Publish(Publish),
    Unpublish(PathBuf),
    Expand(Expand),
}

/// Work gives up this much before the caller does, so that the caller hears why.
const MARGIN: Duration = Duration::from_millis(100);

impl Node {
    /// Runs or joins a change of a volume, for as long as the caller listens.
    async fn change<W>(
        &self,
        id: &str,
        verb: &'static str,
        change: Change,
        deadline: Instant,
        work: W,
    ) -> Result<u64, Error>
    where
        W: Future<Output = Result<u64, Error>> + Send + 'static,
    {
        let flight = self.0.changes.run(id, verb, change, work);
        let late = |_| Error::timeout(format!("{verb} of volume {id} goes on; repeat the call to join it"));
        tokio::time::timeout_at(deadline, flight).await.map_err(late)?
    }
}

/// A deadline for the work itself.
fn work_deadline(deadline: Instant) -> Instant {
    deadline.checked_sub(MARGIN).unwrap_or(deadline)
}

fn decode_stage(request: &NodeStageVolumeRequest) -> Result<Stage, Error> {
    let volume_id = require::field(&request.volume_id, "volume_id")?.to_owned();
    let staging = require::path(&request.staging_target_path, "staging_target_path")?.to_owned();
    let capability = require::capability(request.volume_capability.as_ref())?;
    let is_published_read_only = options::is_published_read_only(&request.publish_context)?;
    Ok(Stage {
        volume_id,
        staging,
        lun: options::lun(&request.publish_context)?,
        least_bytes: options::least_bytes(&request.volume_context),
        is_published_read_only,
        mount: options::mount_wish(&capability, &request.volume_context, is_published_read_only)?,
    })
}

fn decode_publish(request: &NodePublishVolumeRequest) -> Result<Publish, Error> {
    let volume_id = require::field(&request.volume_id, "volume_id")?.to_owned();
    let target = require::path(&request.target_path, "target_path")?.to_owned();
    let capability = require::capability(request.volume_capability.as_ref())?;
    if request.staging_target_path.is_empty() {
        return Err(Error::precondition("staging_target_path is missing: the volume must be staged first"));
    }
    let is_published_read_only = options::is_published_read_only(&request.publish_context)?;
    let lun =
        if request.publish_context.is_empty() { None } else { Some(options::lun(&request.publish_context)?) };
    Ok(Publish {
        volume_id,
        staging: require::path(&request.staging_target_path, "staging_target_path")?.to_owned(),
        target,
        lun,
        mode: capability.mode,
        read_only: request.readonly
            || is_published_read_only
            || matches!(capability.mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly),
        mount: options::mount_wish(&capability, &request.volume_context, is_published_read_only)?,
    })
}

#[tonic::async_trait]
impl node_server::Node for Node {
    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        let deadline = csi::deadline(request.metadata());
        let call = decode_stage(request.get_ref())?;
        let (id, inner, this) = (call.volume_id.clone(), Arc::clone(&self.0), call.clone());
        let work = async move { stage::stage(inner, this, work_deadline(deadline)).await.map(|()| 0) };
        self.change(&id, "stage", Change::Stage(call), deadline, work).await?;
        Ok(Response::new(NodeStageVolumeResponse {}))
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        let deadline = csi::deadline(request.metadata());
        let request = request.into_inner();
        let id = require::field(&request.volume_id, "volume_id")?.to_owned();
        let staging = require::path(&request.staging_target_path, "staging_target_path")?.to_owned();
        let (inner, volume_id, path) = (Arc::clone(&self.0), id.clone(), staging.clone());
        let work = async move {
            unstage::unstage(inner, volume_id, path, work_deadline(deadline)).await.map(|()| 0)
        };
        self.change(&id, "unstage", Change::Unstage(staging), deadline, work).await?;
        Ok(Response::new(NodeUnstageVolumeResponse {}))
    }

    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let deadline = csi::deadline(request.metadata());
        let call = decode_publish(request.get_ref())?;
        let (id, inner, this) = (call.volume_id.clone(), Arc::clone(&self.0), call.clone());
        let work = async move { inner.blocking(move |host| publish::publish(host, &this)).await.map(|()| 0) };
        self.change(&id, "publish", Change::Publish(call), deadline, work).await?;
        Ok(Response::new(NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let deadline = csi::deadline(request.metadata());
        let request = request.into_inner();
        let id = require::field(&request.volume_id, "volume_id")?.to_owned();
        let target = require::path(&request.target_path, "target_path")?.to_owned();
        let (inner, path) = (Arc::clone(&self.0), target.clone());
        let work = async move { publish::unpublish(inner, path, work_deadline(deadline)).await.map(|()| 0) };
        self.change(&id, "unpublish", Change::Unpublish(target), deadline, work).await?;
        Ok(Response::new(NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let deadline = csi::deadline(request.metadata());
        let request = request.into_inner();
        let id = require::field(&request.volume_id, "volume_id")?.to_owned();
        let path = PathBuf::from(require::field(&request.volume_path, "volume_path")?);
        let (inner, volume_id) = (Arc::clone(&self.0), id.clone());
        let work = async move { inner.blocking(move |host| stats::measure(host, &volume_id, &path)).await };
        // By path too: two paths of one volume are two questions.
        let key = format!("{id} at {}", request.volume_path);
        let flight = self.0.reads.run(&key, "stats", (), work);
        let late = |_| Error::timeout(format!("volume {id} does not answer: its disk may be gone"));
        let measured = tokio::time::timeout_at(deadline, flight).await.map_err(late)??;
        Ok(Response::new(NodeGetVolumeStatsResponse { usage: usage(measured) }))
    }

    async fn node_expand_volume(
        &self,
        request: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        let deadline = csi::deadline(request.metadata());
        let request = request.into_inner();
        let id = require::field(&request.volume_id, "volume_id")?.to_owned();
        let path = PathBuf::from(require::field(&request.volume_path, "volume_path")?);
        let (required_bytes, _) = require::capacity(request.capacity_range.as_ref())?;
        if request.volume_capability.is_some() {
            require::capability(request.volume_capability.as_ref())?;
        }
        let staging =
            (!request.staging_target_path.is_empty()).then(|| Path::new(&request.staging_target_path).into());
        let call = Expand { volume_id: id.clone(), path, staging, required_bytes };
        let (inner, this) = (Arc::clone(&self.0), call.clone());
        let work = async move { expand::expand(inner, this, work_deadline(deadline)).await };
        let bytes = self.change(&id, "expand", Change::Expand(call), deadline, work).await?;
        Ok(Response::new(NodeExpandVolumeResponse { capacity_bytes: signed(bytes) }))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let offered = [
            rpc::Type::StageUnstageVolume,
            rpc::Type::GetVolumeStats,
            rpc::Type::ExpandVolume,
            rpc::Type::SingleNodeMultiWriter,
        ];
        let capability =
            |kind: rpc::Type| NodeServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind.into() })) };
        let capabilities = offered.into_iter().map(capability).collect();
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(
        &self,
        request: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        let deadline = csi::deadline(request.metadata());
        Ok(Response::new(self.0.info(work_deadline(deadline)).await?))
    }

    async fn node_get_volume_health(
        &self,
        _: Request<NodeGetVolumeHealthRequest>,
    ) -> Result<Response<NodeGetVolumeHealthResponse>, Status> {
        Err(Error::unimplemented("NodeGetVolumeHealth is not offered").into())
    }

    async fn node_get_storage_health(
        &self,
        _: Request<NodeGetStorageHealthRequest>,
    ) -> Result<Response<NodeGetStorageHealthResponse>, Status> {
        Err(Error::unimplemented("NodeGetStorageHealth is not offered").into())
    }
}

fn usage(measured: Measured) -> Vec<VolumeUsage> {
    let one = |total, available, used, unit: Unit| VolumeUsage {
        total: signed(total),
        available: signed(available),
        used: signed(used),
        unit: unit.into(),
    };
    match measured {
        Measured::Block(bytes) => vec![one(bytes, 0, 0, Unit::Bytes)],
        Measured::Mounted(fs) => vec![
            one(fs.bytes, fs.bytes_available, fs.bytes_used, Unit::Bytes),
            one(fs.inodes, fs.inodes_available, fs.inodes_used, Unit::Inodes),
        ],
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
