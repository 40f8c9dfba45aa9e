//! Whether the driver still answers, asked as livenessprobe asks: over its own CSI socket, with a new connection and a
//! Probe. So a listener that accepts nothing, a socket whose name is gone and a server that hangs are all seen.
//!
//! **Invariants:** one probe at a time, which everybody who asks meanwhile shares; an answer within the patience. A
//! driver that drains is well: it refuses calls on purpose, and its own bound ends it.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use csi::v1::ProbeRequest;
use csi::v1::identity_client::IdentityClient;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Error};

use crate::config::Endpoint;

/// Who asks; clones share the probe in flight.
#[derive(Clone)]
pub struct Health {
    endpoint: Endpoint,
    patience: Duration,
    stopping: Stopping,
    probes: Arc<csi::Flights<(), ()>>,
}

/// Whether the driver was asked to stop; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stopping(Arc<AtomicBool>);

impl Stopping {
    /// `shutdown`, noted as soon as it comes.
    pub async fn noting(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Health {
    /// Of the server at `endpoint`, which answers within `patience` if it is well.
    pub fn new(endpoint: Endpoint, patience: Duration, stopping: Stopping) -> Health {
        Health { endpoint, patience, stopping, probes: Arc::new(csi::Flights::new(TaskTracker::new())) }
    }

    /// A word if the driver is well.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub async fn check(&self) -> Result<&'static str, String> {
        if self.stopping.0.load(Ordering::SeqCst) {
            return Ok("stopping");
        }
        let (endpoint, patience) = (self.endpoint.clone(), self.patience);
        let work = async move {
            let probed = tokio::time::timeout(patience, probe(&endpoint)).await;
            probed.unwrap_or_else(|_| {
                Err(csi::Error::timeout(format!("{endpoint} did not answer Probe within {patience:?}")))
            })
        };
        let probed = self.probes.run("driver", "probe", (), work).await;
        probed.map(|()| "ok").map_err(|error| error.message().to_owned())
    }
}

async fn probe(endpoint: &Endpoint) -> Result<(), csi::Error> {
    let channel = connect(endpoint)
        .await
        .map_err(|error| csi::Error::unavailable(format!("cannot connect to {endpoint}")).caused_by(error))?;
    let answer = IdentityClient::new(channel).probe(ProbeRequest {}).await.map_err(|status| {
        let text = format!("{endpoint} answered Probe with {:?}: {}", status.code(), status.message());
        csi::Error::unavailable(text)
    })?;
    match answer.into_inner().ready {
        Some(false) => Err(csi::Error::unavailable(format!("{endpoint} answered Probe with: not ready"))),
        Some(true) | None => Ok(()),
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Channel, Error> {
    // The name is only the authority of the calls.
    let channel = Channel::from_static("http://localhost");
    match endpoint.clone() {
        Endpoint::Unix(path) => {
            let open = move |_| {
                let path = path.clone();
                async move { io::Result::Ok(TokioIo::new(UnixStream::connect(path).await?)) }
            };
            channel.connect_with_connector(tower::service_fn(open)).await
        }
        Endpoint::Tcp(address) => {
            let open =
                move |_| async move { io::Result::Ok(TokioIo::new(TcpStream::connect(address).await?)) };
            channel.connect_with_connector(tower::service_fn(open)).await
        }
    }
}
