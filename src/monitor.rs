//! `/metrics` and `/healthz` over plain HTTP, for Prometheus and for probes without gRPC. Healthy means: the
//! driver answers on its own socket (`health.rs`). What Azure or a disk is up to is no reason to restart it, so it
//! is not asked.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::health::Health;
use crate::metrics::Metrics;

/// As Prometheus asks for it; the text ends with `# EOF`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {address} (--metrics-address)")]
pub struct MonitorError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Listens on `address`; the returned future serves until it is dropped. Also returns the bound address.
pub async fn monitor(
    address: SocketAddr,
    metrics: Metrics,
    health: Health,
) -> Result<(SocketAddr, impl Future<Output = ()>), MonitorError> {
    let refused = |source| MonitorError { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    let router = Router::new()
        .route("/metrics", get(|| async move { ([(CONTENT_TYPE, OPEN_METRICS)], metrics.text()) }))
        .route("/healthz", get(|| async move { healthz(&health).await }));
    let serving = async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    };
    Ok((bound, serving))
}

async fn healthz(health: &Health) -> (StatusCode, String) {
    match health.check().await {
        Ok(word) => (StatusCode::OK, format!("{word}\n")),
        Err(wrong) => {
            tracing::warn!("/healthz: {wrong}");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{wrong}\n"))
        }
    }
}
