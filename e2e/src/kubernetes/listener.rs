//! The server on a port, for programs of their own: plain http, so on loopback only.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use tokio::net::TcpListener;

use super::ApiServer;

/// Largest request; the real one takes 3 MiB.
const LARGEST: usize = 3 << 20;

/// Serves until it is dropped.
pub async fn serve(server: ApiServer, listener: TcpListener) -> std::io::Result<()> {
    axum::serve(listener, Router::new().fallback(answer).with_state(server)).await
}

async fn answer(State(server): State<ApiServer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, LARGEST).await else { return bare(StatusCode::PAYLOAD_TOO_LARGE) };
    match server.handle(http::Request::from_parts(head, bytes)).await {
        Ok(answer) => answer.map(|body| {
            let pieces =
                futures::stream::unfold(body, |mut body| async move { Some((body.next().await?, body)) });
            Body::from_stream(Box::pin(pieces))
        }),
        // A port that is open can't pretend to be closed; a proxy in front of it answers so.
        Err(_) => bare(StatusCode::BAD_GATEWAY),
    }
}

fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
