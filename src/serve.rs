//! The gRPC server and the way it stops.
//!
//! ```text
//! serving ──signal──▶ draining ──calls and tasks ended──▶ closing ──connections closed, or GRACE──▶ Ok
//!                        └───────the bound passed───────▶ closing ───────────────────────────────▶ Unfinished
//! ```
//! While draining the server still listens and still reads, so that a new call gets UNAVAILABLE in words, on
//! old connections and on new ones. Only when nothing is left to answer are connections told to go.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::server::Connected;

use crate::calls::Calls;
use crate::kube::Feeds;
use crate::metrics::Metrics;
use crate::rpc_layer::RpcLayer;

/// How long idle connections may take to close when everything is answered.
const GRACE: Duration = Duration::from_millis(300);

/// Calls that one connection may have open at once: above the attacher's 1000 workers, which share one.
const STREAMS: u32 = 2048;

/// Everything that is served, and everything that a stop waits for.
pub struct Server {
    /// The services.
    pub routes: Routes,
    /// Where calls are counted.
    pub metrics: Metrics,
    /// Work that outlives its call.
    pub tasks: TaskTracker,
    /// How long a stop waits for calls and tasks.
    pub drain: Duration,
    /// What runs beside the calls for as long as they are served, if anything does.
    pub feeds: Option<Feeds>,
}

/// The drain bound passed; what was left will be found and finished by repeated calls.
#[derive(Debug)]
pub struct Unfinished {
    calls: Vec<String>,
    tasks: usize,
    waited: Duration,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tasks, seconds) = (self.tasks, self.waited.as_secs());
        write!(f, "gave up after {seconds} s with {tasks} pieces of work going on")?;
        match self.calls.as_slice() {
            [] => Ok(()),
            calls => write!(f, " and these calls unanswered: {}", calls.join("; ")),
        }
    }
}

/// Why serving ended other than by a clean stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("cannot serve")]
    Transport(#[from] tonic::transport::Error),
    /// See [`Unfinished`].
    #[error("{0}")]
    Unfinished(Unfinished),
}

impl Server {
    /// Serves connections of `incoming` until `shutdown`, then drains.
    pub async fn serve<I, IO, S>(self, incoming: I, shutdown: S) -> Result<(), ServeError>
    where
        I: Stream<Item = std::io::Result<IO>>,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        S: Future<Output = ()>,
    {
        let mut beside = JoinSet::new(); // ends with this function
        if let Some(feeds) = self.feeds {
            beside.spawn(feeds.run());
        }
        let calls = Calls::default();
        let (close, closing) = oneshot::channel::<()>();
        let mut builder = tonic::transport::Server::builder()
            .max_concurrent_streams(STREAMS)
            .layer(RpcLayer { calls: calls.clone(), metrics: self.metrics.clone() });
        let server = builder.add_routes(self.routes).serve_with_incoming_shutdown(incoming, async {
            // A dropped sender closes as well.
            let _ = closing.await;
        });
        let mut server = std::pin::pin!(server);

        tokio::select! {
            ended = &mut server => return ended.map_err(ServeError::from),
            () = shutdown => {}
        }
        calls.refuse_new();
        tracing::info!(
            calls = calls.list().len(),
            tasks = self.tasks.len(),
            "stopping: finishing what was begun"
        );
        let drained = tokio::time::timeout(self.drain, async {
            // Calls first: they may still begin work.
            calls.all_ended().await;
            self.tasks.close();
            self.tasks.wait().await;
        });
        let in_time = tokio::select! {
            ended = &mut server => return ended.map_err(ServeError::from),
            drained = drained => drained.is_ok(),
        };
        let left = Unfinished { calls: calls.list(), tasks: self.tasks.len(), waited: self.drain };
        // Nobody listens if the server has just ended by itself: then there is nothing to close.
        let _ = close.send(());
        // A connection that stays open holds nothing that matters any more.
        let _ = tokio::time::timeout(GRACE, server).await;
        if in_time { Ok(()) } else { Err(ServeError::Unfinished(left)) }
    }
}
