//! The wiring of the driver: configuration in, a served CSI endpoint out.
//!
//! The program (`main.rs`) adds only what belongs to a process: arguments, signals, the log, the exit code.
//! Tests and the end-to-end worlds start the very same server in their own process.

pub mod calls;
pub mod config;
pub mod credentials;
pub mod deferred;
pub mod environment;
pub mod flags;
pub mod identity;
mod machine;
pub mod methods;
pub mod metrics;
pub mod monitor;
pub mod rpc_layer;
pub mod serve;
pub mod socket;
pub mod telemetry;
pub mod wiring;

use std::future::Future;

use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};

use crate::config::{Config, Endpoint};
use crate::metrics::Metrics;
use crate::wiring::Seams;

/// The version that GetPluginInfo tells.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the driver ended other than by a clean stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The socket could not be had.
    #[error(transparent)]
    Socket(#[from] socket::ClaimError),
    /// The port could not be had.
    #[error("cannot listen on {0}")]
    Port(std::net::SocketAddr, #[source] std::io::Error),
    /// The metrics port could not be had.
    #[error(transparent)]
    Monitor(#[from] monitor::MonitorError),
    /// Serving failed, or a stop took too long.
    #[error(transparent)]
    Serve(#[from] serve::ServeError),
}

/// Serves until `shutdown`, then drains. Nothing is contacted before somebody calls.
pub async fn run(
    config: Config,
    seams: &Seams,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let server = wiring::server(&config, seams, &metrics);
    let monitor = async {
        match config.metrics_address {
            Some(address) => monitor::monitor(address, metrics).await.map(Some),
            None => Ok(None),
        }
    };
    let mut pages = tokio::task::JoinSet::new(); // ends with this function
    if let Some((address, serving)) = monitor.await? {
        tracing::info!(%address, "metrics are served");
        pages.spawn(serving);
    }
    match &config.endpoint {
        Endpoint::Unix(path) => {
            let (listener, _name) = socket::claim(path).await?;
            tracing::info!(endpoint = %path.display(), mode = %config.mode, version = VERSION, "ready");
            server.serve(UnixListenerStream::new(listener), shutdown).await?;
        }
        Endpoint::Tcp(address) => {
            let refused = |error| RunError::Port(*address, error);
            let listener = tokio::net::TcpListener::bind(address).await.map_err(refused)?;
            let bound = listener.local_addr().map_err(refused)?;
            tracing::info!(endpoint = %bound, mode = %config.mode, version = VERSION, "ready");
            server.serve(TcpListenerStream::new(listener), shutdown).await?;
        }
    }
    Ok(())
}
