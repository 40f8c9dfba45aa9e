//! A call of the CSI service, as a sidecar makes it.

use std::time::Duration;

use controller::Controller;
use csi::v1::controller_server::Controller as _;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, BlockVolume};
use csi::v1::{
    CapacityRange, ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest, CreateVolumeRequest,
    DeleteVolumeRequest, VolumeCapability,
};
use tonic::{Request, Status};

use crate::judge::Answer;
use crate::ledger::Verb;
use crate::names::{Names, VolumeNo, volume_id, volume_name};

/// Asks, and waits for the answer.
pub(crate) async fn ask(
    controller: &Controller,
    names: &Names,
    volume: VolumeNo,
    shares: usize,
    verb: Verb,
    patience: Duration,
) -> Answer {
    let volume_id = volume_id(volume);
    let node = |vm: u8| names.vms.get(usize::from(vm)).map(|vm| vm.node_id.clone()).unwrap_or_default();
    let answer: Result<Option<String>, Status> = match verb {
        Verb::Create => {
            let request = CreateVolumeRequest {
                name: volume_name(volume),
                capacity_range: Some(CapacityRange { required_bytes: 1 << 30, limit_bytes: 0 }),
                volume_capabilities: vec![capability(shares)],
                parameters: [("maxShares".to_owned(), shares.to_string())].into(),
                ..Default::default()
            };
            controller.create_volume(timed(request, patience)).await.map(|_| None)
        }
        Verb::Delete => {
            let request = DeleteVolumeRequest { volume_id, ..Default::default() };
            controller.delete_volume(timed(request, patience)).await.map(|_| None)
        }
        Verb::Publish(vm) => {
            let request = ControllerPublishVolumeRequest {
                volume_id,
                node_id: node(vm),
                volume_capability: Some(capability(shares)),
                volume_context: [("requestedsizegib".to_owned(), "1".to_owned())].into(),
                ..Default::default()
            };
            let answer = controller.controller_publish_volume(timed(request, patience)).await;
            answer.map(|answer| answer.into_inner().publish_context.remove("LUN"))
        }
        Verb::Unpublish(vm) => {
            let request =
                ControllerUnpublishVolumeRequest { volume_id, node_id: node(vm), ..Default::default() };
            controller.controller_unpublish_volume(timed(request, patience)).await.map(|_| None)
        }
    };
    match answer {
        // A LUN that is no number is one that no disk is at.
        Ok(lun) => Answer::Done(lun.map_or(0, |lun| lun.parse().unwrap_or(u8::MAX))),
        Err(status) => Answer::Refused(status.code(), status.message().to_owned()),
    }
}

fn timed<T>(message: T, patience: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(patience);
    request
}

/// Only a block volume may be on several nodes.
fn capability(shares: usize) -> VolumeCapability {
    let mode = if shares > 1 { Mode::MultiNodeMultiWriter } else { Mode::SingleNodeWriter };
    VolumeCapability {
        access_type: Some(AccessType::Block(BlockVolume {})),
        access_mode: Some(AccessMode { mode: mode.into() }),
    }
}
