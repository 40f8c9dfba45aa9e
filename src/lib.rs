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
pub mod health;
pub mod identity;
pub mod kube;
pub mod listen;
mod machine;
pub mod methods;
pub mod metrics;
pub mod monitor;
pub mod registration;
pub mod rpc_layer;
pub mod serve;
pub mod socket;
pub mod telemetry;
pub mod wiring;

use std::future::Future;

use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};

use crate::config::Config;
use crate::health::{Health, Stopping};
use crate::listen::{Listener, Listening};
use crate::metrics::Metrics;
use crate::wiring::Seams;

/// The version that GetPluginInfo tells.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the driver ended other than by a clean stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The socket could not be had.
    #[error("--endpoint")]
    Socket(#[source] socket::ClaimError),
    /// The kubelet cannot be told of this driver.
    #[error("--plugin-registration-path")]
    Registration(#[source] socket::ClaimError),
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
    let Listening { listener, endpoint, name: _name } = listen::listen(&config.endpoint).await?;
    let mut beside = tokio::task::JoinSet::new(); // ends with this function
    let stopping = Stopping::default();
    if let Some(address) = config.metrics_address {
        let health = Health::new(endpoint.clone(), config.probe_timeout, stopping.clone());
        let (address, serving) = monitor::monitor(address, metrics.clone(), health).await?;
        tracing::info!(%address, "metrics are served");
        beside.spawn(serving);
    }
    // Dropped when all is drained, and before the name of the CSI socket.
    let mut _registered = None;
    if let Some(plugin) = config.plugin {
        let (name, serving) =
            registration::register(plugin, metrics).await.map_err(RunError::Registration)?;
        beside.spawn(serving);
        _registered = Some(name);
    }
    tracing::info!(%endpoint, mode = %config.mode, version = VERSION, "ready");
    let shutdown = stopping.noting(shutdown);
    match listener {
        Listener::Unix(listener) => server.serve(UnixListenerStream::new(listener), shutdown).await?,
        Listener::Tcp(listener) => server.serve(TcpListenerStream::new(listener), shutdown).await?,
    }
    Ok(())
}
