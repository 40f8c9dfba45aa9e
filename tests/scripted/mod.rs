//! A Node service whose volume ids say what a call does, and a server around it.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

use std::io;
use std::time::Duration;

use azuredisk_csi::config::Mode;
use azuredisk_csi::metrics::Metrics;
use azuredisk_csi::serve::Server;
use csi::v1::node_client::NodeClient;
use csi::v1::node_server::{Node, NodeServer};
use csi::v1::{NodeStageVolumeRequest, NodeStageVolumeResponse};
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// NodeStageVolume does what its volume id says.
struct Scripted {
    tasks: TaskTracker,
}

#[tonic::async_trait]
impl Node for Scripted {
    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        let seconds = |text: &str| Duration::from_secs(text.parse().unwrap());
        match request.get_ref().volume_id.split_once(' ') {
            Some(("answer-after", time)) => tokio::time::sleep(seconds(time)).await,
            Some(("leave-work-for", time)) => {
                let work = tokio::time::sleep(seconds(time));
                self.tasks.spawn(work);
            }
            Some(("panic", message)) => panic!("{message}"),
            Some(("fail", message)) => {
                let cause = io::Error::other("the cause");
                return Err(csi::Error::precondition(message).caused_by(cause).into());
            }
            _ => {}
        }
        Ok(Response::new(NodeStageVolumeResponse {}))
    }
}

/// A server of scripts that waits at most `drain` when it is stopped.
pub(crate) fn server(drain: Duration) -> Server {
    let tasks = TaskTracker::new();
    let routes = tonic::service::Routes::new(NodeServer::new(Scripted { tasks: tasks.clone() }));
    Server { routes, metrics: Metrics::new(Mode::Node), tasks, drain, feeds: None }
}

/// A call that does what `script` says.
pub(crate) async fn stage(channel: Channel, script: &str) -> Result<(), Status> {
    let request = NodeStageVolumeRequest { volume_id: script.to_owned(), ..Default::default() };
    NodeClient::new(channel).node_stage_volume(request).await.map(drop)
}
