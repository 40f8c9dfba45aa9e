//! The emulator on a socket: HTTP/1 on loopback, closed connections where the script says so, and the timer that ends
//! operations when they are due.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::door::CONNECTION_LOST;
use crate::{Emulator, Model};

/// Largest request body in bytes; Azure's own limit for ARM is 4 MiB.
const LARGEST_BODY: usize = 4 << 20;

/// Serves until `stop` is ready. Requests in flight at that moment are cut off: a client must bear that anyway.
pub async fn serve(
    emulator: Emulator,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), std::io::Error> {
    let router = Router::new().fallback(answer).with_state(emulator.clone());
    let service = router.into_make_service_with_connect_info::<Cut>();
    tokio::select! {
        result = async { axum::serve(Severable(listener), service).await } => result,
        () = emulator.run_timer() => Ok(()),
        () = stop => Ok(()),
    }
}

async fn answer(
    State(emulator): State<Emulator>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, LARGEST_BODY).await else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return response;
    };
    let response = emulator.handle(http::Request::from_parts(head, bytes)).await;
    if response.headers().contains_key(CONNECTION_LOST) {
        cut.0.store(true, Ordering::Relaxed);
    }
    response.map(Body::from)
}

impl Emulator {
    /// Ends operations when they are due, also when nobody asks; never returns.
    async fn run_timer(&self) {
        loop {
            let next = self.tick();
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = async {
                    match next {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    /// Ends what is due and tells when to come again.
    fn tick(&self) -> Option<tokio::time::Instant> {
        let mut model = self.lock();
        model.settle();
        if let Err(error) = model.save_if_dirty() {
            tracing::error!(%error, "the model could not be saved");
        }
        next_tick(&model)
    }
}

fn next_tick(model: &Model) -> Option<tokio::time::Instant> {
    model.next_end().map(|due| model.clock.instant(due))
}

/// Shared by a connection and its requests: whether it is to close without a word.
#[derive(Clone, Default)]
struct Cut(Arc<AtomicBool>);

impl Connected<IncomingStream<'_, Severable>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Severable>) -> Self {
        stream.io().cut.clone()
    }
}

/// A listener whose connections can be cut.
struct Severable(TcpListener);

impl Listener for Severable {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (Connection { stream, cut: Cut::default() }, address)
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection. Once cut, every write fails, so the server closes it before a byte of the answer is sent.
struct Connection {
    stream: TcpStream,
    cut: Cut,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.cut.0.load(Ordering::Relaxed) {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
