//! A server in the process of the test, reached through pipes in memory, so that the clock can be paused.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

use std::io;

use azuredisk_csi::metrics::Metrics;
use azuredisk_csi::serve::{ServeError, Server};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};

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
    /// Serves `server`.
    pub(crate) fn start(server: Server) -> Inside {
        let metrics = server.metrics.clone();
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

    /// A connection of its own.
    pub(crate) async fn channel(&self) -> Channel {
        let connect = self.connect.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let sent = connect.send(Ok(theirs)).map_err(io::Error::other);
            async move { sent.map(|()| TokioIo::new(ours)) }
        });
        Endpoint::from_static("http://inside").connect_with_connector(connector).await.unwrap()
    }
}
