//! A server in the process of the test, reached through pipes in memory, so that the clock can be paused;
//! and a Node service whose volume ids say what a call does.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

use std::io;
use std::time::Duration;

use azuredisk_csi::config::Mode;
use azuredisk_csi::metrics::Metrics;
use azuredisk_csi::serve::{ServeError, Server};
use csi::v1::node_client::NodeClient;
use csi::v1::node_server::{Node, NodeServer};
use csi::v1::{NodeStageVolumeRequest, NodeStageVolumeResponse};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint};
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

/// The running server.
pub(crate) struct Inside {
    connect: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    stop: Option<oneshot::Sender<()>>,
    /// Ends when the server has stopped.
    pub(crate) ended: JoinHandle<Result<(), ServeError>>,
    /// The server's metrics.
    pub(crate) metrics: Metrics,
}

impl Inside {
    /// A server that waits at most `drain` when it is stopped.
    pub(crate) fn start(drain: Duration) -> Inside {
        let tasks = TaskTracker::new();
        let metrics = Metrics::new(Mode::Node);
        let routes = tonic::service::Routes::new(NodeServer::new(Scripted { tasks: tasks.clone() }));
        let server = Server { routes, metrics: metrics.clone(), tasks, drain };
        let (connect, incoming) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.serve(UnboundedReceiverStream::new(incoming), async {
            stopped.await.ok();
        }));
        Inside { connect, stop: Some(stop), ended, metrics }
    }

    /// Asks the server to stop, as a signal does.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// A client on a connection of its own.
    pub(crate) async fn client(&self) -> NodeClient<Channel> {
        let connect = self.connect.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let sent = connect.send(Ok(theirs)).map_err(io::Error::other);
            async move { sent.map(|()| TokioIo::new(ours)) }
        });
        NodeClient::new(
            Endpoint::from_static("http://inside").connect_with_connector(connector).await.unwrap(),
        )
    }
}

/// A call that does what `script` says.
pub(crate) async fn stage(mut client: NodeClient<Channel>, script: &str) -> Result<(), Status> {
    let request = NodeStageVolumeRequest { volume_id: script.to_owned(), ..Default::default() };
    client.node_stage_volume(request).await.map(drop)
}
