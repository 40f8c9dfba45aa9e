//! The Controller service of a driver whose `azure.json` may not be there yet: it is opened by the first call
//! that needs it, and again by the next one as long as it cannot be. So the socket is up whatever the file is
//! like, and a file that is mended needs no restart.
//!
//! **Invariant:** at most one controller is ever handed out: two of them would be two writers of one VM.

use std::sync::Arc;

use csi::v1::controller_server::Controller;
use csi::v1::{self, ControllerServiceCapability};
use tokio::sync::OnceCell;
use tonic::{Request, Response, Status};

type Open<C> = dyn Fn() -> Result<C, csi::Error> + Send + Sync;

/// The service in front of a controller that is opened when it is needed.
pub struct Deferred<C> {
    open: Arc<Open<C>>,
    opened: OnceCell<C>,
    capabilities: Vec<ControllerServiceCapability>,
}

impl<C: Send + Sync + 'static> Deferred<C> {
    /// `open` may block on files; it runs on a thread of its own. `capabilities` are known without it: a
    /// sidecar asks for them at its start and gives up on an error.
    pub fn new(
        capabilities: Vec<ControllerServiceCapability>,
        open: impl Fn() -> Result<C, csi::Error> + Send + Sync + 'static,
    ) -> Deferred<C> {
        Deferred { open: Arc::new(open), opened: OnceCell::new(), capabilities }
    }

    /// The controller.
    ///
    /// # Errors
    /// Whatever keeps it from being opened.
    pub async fn controller(&self) -> Result<&C, csi::Error> {
        let opening = || async {
            let open = Arc::clone(&self.open);
            let opened = tokio::task::spawn_blocking(move || open());
            opened.await.unwrap_or_else(|_| Err(csi::Error::internal("reading the credentials panicked")))
        };
        self.opened.get_or_try_init(opening).await
    }
}

/// Every verb but the capabilities goes to the controller.
macro_rules! deferred {
    ($($verb:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl<C: Controller> Controller for Deferred<C> {
            async fn controller_get_capabilities(
                &self,
                _: Request<v1::ControllerGetCapabilitiesRequest>,
            ) -> Result<Response<v1::ControllerGetCapabilitiesResponse>, Status> {
                let capabilities = self.capabilities.clone();
                Ok(Response::new(v1::ControllerGetCapabilitiesResponse { capabilities }))
            }
            $(
                async fn $verb(
                    &self,
                    request: Request<v1::$request>,
                ) -> Result<Response<v1::$response>, Status> {
                    self.controller().await?.$verb(request).await
                }
            )*
        }
    };
}

deferred! {
    create_volume(CreateVolumeRequest) -> CreateVolumeResponse;
    delete_volume(DeleteVolumeRequest) -> DeleteVolumeResponse;
    controller_publish_volume(ControllerPublishVolumeRequest) -> ControllerPublishVolumeResponse;
    controller_unpublish_volume(ControllerUnpublishVolumeRequest) -> ControllerUnpublishVolumeResponse;
    validate_volume_capabilities(ValidateVolumeCapabilitiesRequest) -> ValidateVolumeCapabilitiesResponse;
    list_volumes(ListVolumesRequest) -> ListVolumesResponse;
    get_capacity(GetCapacityRequest) -> GetCapacityResponse;
    create_snapshot(CreateSnapshotRequest) -> CreateSnapshotResponse;
    delete_snapshot(DeleteSnapshotRequest) -> DeleteSnapshotResponse;
    list_snapshots(ListSnapshotsRequest) -> ListSnapshotsResponse;
    get_snapshot(GetSnapshotRequest) -> GetSnapshotResponse;
    controller_expand_volume(ControllerExpandVolumeRequest) -> ControllerExpandVolumeResponse;
    controller_get_volume(ControllerGetVolumeRequest) -> ControllerGetVolumeResponse;
    controller_modify_volume(ControllerModifyVolumeRequest) -> ControllerModifyVolumeResponse;
    controller_list_volume_health(ControllerListVolumeHealthRequest) -> ControllerListVolumeHealthResponse;
    controller_get_volume_health(ControllerGetVolumeHealthRequest) -> ControllerGetVolumeHealthResponse;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use tonic::Code;

    /// Answers one verb with the number it was opened as.
    struct Numbered(usize);

    #[tonic::async_trait]
    impl Controller for Numbered {
        async fn get_capacity(
            &self,
            _: Request<v1::GetCapacityRequest>,
        ) -> Result<Response<v1::GetCapacityResponse>, Status> {
            let available_capacity = self.0.try_into().unwrap();
            Ok(Response::new(v1::GetCapacityResponse { available_capacity, ..Default::default() }))
        }
    }

    async fn opened_as(service: &Deferred<Numbered>) -> Result<i64, Status> {
        let answer = service.get_capacity(Request::new(v1::GetCapacityRequest::default())).await;
        answer.map(|response| response.into_inner().available_capacity)
    }

    #[tokio::test(start_paused = true)]
    async fn a_mended_file_needs_no_restart_and_is_opened_once() {
        let (broken, opens) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (is_broken, counted) = (Arc::clone(&broken), Arc::clone(&opens));
        let service = Deferred::new(Vec::new(), move || {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let broken = is_broken.load(Ordering::SeqCst);
            if broken { Err(csi::Error::precondition("azure.json is empty")) } else { Ok(Numbered(number)) }
        });
        for _ in 0..2 {
            let refused = opened_as(&service).await.unwrap_err();
            assert_eq!(
                (refused.code(), refused.message()),
                (Code::FailedPrecondition, "azure.json is empty")
            );
        }
        let capabilities = Request::new(v1::ControllerGetCapabilitiesRequest {});
        service.controller_get_capabilities(capabilities).await.expect("known without the file");
        broken.store(false, Ordering::SeqCst);
        let (first, second) = tokio::join!(opened_as(&service), opened_as(&service));
        assert_eq!((first.unwrap(), second.unwrap(), opens.load(Ordering::SeqCst)), (2, 2, 3));
    }
}
