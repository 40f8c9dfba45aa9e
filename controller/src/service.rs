//! The CSI Controller service: decode, call one verb, encode. No decisions.
//!
//! A mutation runs as a flight of `Core::flights`: a task of its own, which a caller that hangs up does
//! not cancel and the same call again joins; only what was not sent to Azure when the last caller had gone
//! stays unsent, since he may ask another controller by then. Its key is what it changes; its arguments are
//! the whole request less the secrets. Two kinds of call on one volume take turns where the sidecars send them
//! side by side (expand and modify), and are refused with ABORTED otherwise.

use std::sync::Arc;
use std::time::Duration;

use csi::v1::controller_server;
use csi::v1::{
    ControllerExpandVolumeRequest, ControllerExpandVolumeResponse, ControllerGetCapabilitiesRequest,
    ControllerGetCapabilitiesResponse, ControllerGetVolumeHealthRequest, ControllerGetVolumeHealthResponse,
    ControllerGetVolumeRequest, ControllerGetVolumeResponse, ControllerListVolumeHealthRequest,
    ControllerListVolumeHealthResponse, ControllerModifyVolumeRequest, ControllerModifyVolumeResponse,
    ControllerPublishVolumeRequest, ControllerPublishVolumeResponse, ControllerUnpublishVolumeRequest,
    ControllerUnpublishVolumeResponse, CreateSnapshotRequest, CreateSnapshotResponse, CreateVolumeRequest,
    CreateVolumeResponse, DeleteSnapshotRequest, DeleteSnapshotResponse, DeleteVolumeRequest,
    DeleteVolumeResponse, GetCapacityRequest, GetCapacityResponse, GetSnapshotRequest, GetSnapshotResponse,
    ListSnapshotsRequest, ListSnapshotsResponse, ListVolumesRequest, ListVolumesResponse, Snapshot,
    ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse, Volume,
};
use csi::{Callers, Error, Kind};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response, Status};

use crate::Controller;
use crate::{capacity, create, delete, expand, get, list, modify, publish, snapshot, unpublish, validate};

/// Between two tries to have the turn on a volume.
const TURN: Duration = Duration::from_millis(50);
/// How much later than its deadline a call that joined another is told that it is over.
const GRACE: Duration = Duration::from_millis(20);

/// A mutation, by which two calls are the same. Secrets are taken out before it is made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    CreateVolume(CreateVolumeRequest),
    DeleteVolume(DeleteVolumeRequest),
    Expand(ControllerExpandVolumeRequest),
    Modify(ControllerModifyVolumeRequest),
    CreateSnapshot(CreateSnapshotRequest),
    DeleteSnapshot(DeleteSnapshotRequest),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Volume(Volume),
    Snapshot(Snapshot),
    /// The size of the volume now.
    Bytes(i64),
    Done,
}

impl Call {
    fn verb(&self) -> &'static str {
        match self {
            Call::CreateVolume(_) => "creation",
            Call::DeleteVolume(_) | Call::DeleteSnapshot(_) => "deletion",
            Call::Expand(_) => "expansion",
            Call::Modify(_) => "modification",
            Call::CreateSnapshot(_) => "snapshot",
        }
    }
}

impl Controller {
    /// Runs `call` on what is called `key`, or joins the same call.
    async fn fly(&self, key: &str, call: Call, deadline: Instant) -> Result<Answer, Error> {
        let core = Arc::clone(&self.core);
        let work = {
            let call = call.clone();
            move |callers: Callers<Answer>| async move {
                let arm = core.arm.writing_while(move || !callers.have_gone());
                match call {
                    Call::CreateVolume(request) => {
                        create::create(&core, &arm, &request, deadline).await.map(Answer::Volume)
                    }
                    Call::DeleteVolume(request) => {
                        delete::delete(&core, &arm, &request, deadline).await.map(|()| Answer::Done)
                    }
                    Call::Expand(request) => {
                        expand::expand(&core, &arm, &request, deadline).await.map(Answer::Bytes)
                    }
                    Call::Modify(request) => {
                        modify::modify(&core, &arm, &request, deadline).await.map(|()| Answer::Done)
                    }
                    Call::CreateSnapshot(request) => {
                        snapshot::create(&core, &arm, &request, deadline).await.map(Answer::Snapshot)
                    }
                    Call::DeleteSnapshot(request) => {
                        snapshot::delete(&arm, &request, deadline).await.map(|()| Answer::Done)
                    }
                }
            }
        };
        let (verb, folded) = (call.verb(), key.to_ascii_lowercase());
        let flight = self.core.flights.run_for(&folded, verb, call, work);
        // Who joined a more patient call is not kept for longer than he can wait; the work has the first word.
        timeout_at(deadline + GRACE, flight).await.unwrap_or_else(|_| {
            Err(Error::timeout(format!("{verb} of {key} is not done yet; it goes on, try again")))
        })
    }

    /// The same, waiting for its turn while another call has the volume.
    async fn fly_in_turn(&self, key: &str, call: Call, deadline: Instant) -> Result<Answer, Error> {
        loop {
            match self.fly(key, call.clone(), deadline).await {
                Err(error) if error.kind() == Kind::Busy && Instant::now() + TURN < deadline => {
                    sleep(TURN).await;
                }
                answer => return answer,
            }
        }
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::internal(format!("a flight ended with the answer of another kind: {answer:?}"))
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl controller_server::Controller for Controller {
    async fn create_volume(&self, request: Request<CreateVolumeRequest>) -> Reply<CreateVolumeResponse> {
        let deadline = csi::deadline(request.metadata());
        let request = CreateVolumeRequest { secrets: [].into(), ..request.into_inner() };
        let key = create::key(&self.core, &request)?;
        match self.fly(&key, Call::CreateVolume(request), deadline).await? {
            Answer::Volume(volume) => Ok(Response::new(CreateVolumeResponse { volume: Some(volume) })),
            other => Err(unexpected(&other).into()),
        }
    }

    async fn delete_volume(&self, request: Request<DeleteVolumeRequest>) -> Reply<DeleteVolumeResponse> {
        let deadline = csi::deadline(request.metadata());
        let request = DeleteVolumeRequest { secrets: [].into(), ..request.into_inner() };
        let key = csi::require::field(&request.volume_id, "volume_id")?.to_owned();
        self.fly(&key, Call::DeleteVolume(request), deadline).await?;
        Ok(Response::new(DeleteVolumeResponse {}))
    }

    async fn controller_publish_volume(
        &self,
        request: Request<ControllerPublishVolumeRequest>,
    ) -> Reply<ControllerPublishVolumeResponse> {
        let deadline = csi::deadline(request.metadata());
        let publish_context = publish::publish(&self.core, request.get_ref(), deadline).await?;
        Ok(Response::new(ControllerPublishVolumeResponse { publish_context }))
    }

    async fn controller_unpublish_volume(
        &self,
        request: Request<ControllerUnpublishVolumeRequest>,
    ) -> Reply<ControllerUnpublishVolumeResponse> {
        let deadline = csi::deadline(request.metadata());
        unpublish::unpublish(&self.core, request.get_ref(), deadline).await?;
        Ok(Response::new(ControllerUnpublishVolumeResponse {}))
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Reply<ValidateVolumeCapabilitiesResponse> {
        let deadline = csi::deadline(request.metadata());
        Ok(Response::new(validate::validate(&self.core, request.into_inner(), deadline).await?))
    }

    async fn list_volumes(&self, request: Request<ListVolumesRequest>) -> Reply<ListVolumesResponse> {
        let deadline = csi::deadline(request.metadata());
        Ok(Response::new(list::volumes(&self.core, request.get_ref(), deadline).await?))
    }

    async fn get_capacity(&self, request: Request<GetCapacityRequest>) -> Reply<GetCapacityResponse> {
        Ok(Response::new(capacity::capacity(&self.core.settings, request.get_ref())?))
    }

    async fn controller_get_capabilities(
        &self,
        _request: Request<ControllerGetCapabilitiesRequest>,
    ) -> Reply<ControllerGetCapabilitiesResponse> {
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities: get::capabilities() }))
    }

    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Reply<CreateSnapshotResponse> {
        let deadline = csi::deadline(request.metadata());
        let request = CreateSnapshotRequest { secrets: [].into(), ..request.into_inner() };
        let key = snapshot::key(&self.core, &request)?;
        match self.fly(&key, Call::CreateSnapshot(request), deadline).await? {
            Answer::Snapshot(snapshot) => {
                Ok(Response::new(CreateSnapshotResponse { snapshot: Some(snapshot) }))
            }
            other => Err(unexpected(&other).into()),
        }
    }

    async fn delete_snapshot(
        &self,
        request: Request<DeleteSnapshotRequest>,
    ) -> Reply<DeleteSnapshotResponse> {
        let deadline = csi::deadline(request.metadata());
        let request = DeleteSnapshotRequest { secrets: [].into(), ..request.into_inner() };
        let key = csi::require::field(&request.snapshot_id, "snapshot_id")?.to_owned();
        self.fly(&key, Call::DeleteSnapshot(request), deadline).await?;
        Ok(Response::new(DeleteSnapshotResponse {}))
    }

    async fn list_snapshots(&self, request: Request<ListSnapshotsRequest>) -> Reply<ListSnapshotsResponse> {
        let deadline = csi::deadline(request.metadata());
        Ok(Response::new(list::snapshots(&self.core, request.get_ref(), deadline).await?))
    }

    async fn get_snapshot(&self, request: Request<GetSnapshotRequest>) -> Reply<GetSnapshotResponse> {
        let deadline = csi::deadline(request.metadata());
        let snapshot = snapshot::get(&self.core, &request.get_ref().snapshot_id, deadline).await?;
        Ok(Response::new(GetSnapshotResponse { snapshot: Some(snapshot) }))
    }

    async fn controller_expand_volume(
        &self,
        request: Request<ControllerExpandVolumeRequest>,
    ) -> Reply<ControllerExpandVolumeResponse> {
        let deadline = csi::deadline(request.metadata());
        let request = ControllerExpandVolumeRequest { secrets: [].into(), ..request.into_inner() };
        let key = csi::require::field(&request.volume_id, "volume_id")?.to_owned();
        match self.fly_in_turn(&key, Call::Expand(request), deadline).await? {
            // The node looks for itself: a block device must be read anew, a file system grown.
            Answer::Bytes(capacity_bytes) => Ok(Response::new(ControllerExpandVolumeResponse {
                capacity_bytes,
                node_expansion_required: true,
            })),
            other => Err(unexpected(&other).into()),
        }
    }

    async fn controller_modify_volume(
        &self,
        request: Request<ControllerModifyVolumeRequest>,
    ) -> Reply<ControllerModifyVolumeResponse> {
        let deadline = csi::deadline(request.metadata());
        let request = ControllerModifyVolumeRequest { secrets: [].into(), ..request.into_inner() };
        let key = csi::require::field(&request.volume_id, "volume_id")?.to_owned();
        self.fly_in_turn(&key, Call::Modify(request), deadline).await?;
        Ok(Response::new(ControllerModifyVolumeResponse {}))
    }

    async fn controller_get_volume(
        &self,
        request: Request<ControllerGetVolumeRequest>,
    ) -> Reply<ControllerGetVolumeResponse> {
        let deadline = csi::deadline(request.metadata());
        Ok(Response::new(get::volume(&self.core, request.get_ref(), deadline).await?))
    }

    async fn controller_list_volume_health(
        &self,
        _request: Request<ControllerListVolumeHealthRequest>,
    ) -> Reply<ControllerListVolumeHealthResponse> {
        Err(Error::unimplemented("ControllerListVolumeHealth is not offered").into())
    }

    async fn controller_get_volume_health(
        &self,
        _request: Request<ControllerGetVolumeHealthRequest>,
    ) -> Reply<ControllerGetVolumeHealthResponse> {
        Err(Error::unimplemented("ControllerGetVolumeHealth is not offered").into())
    }
}
