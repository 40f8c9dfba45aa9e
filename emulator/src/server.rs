//! The emulator on sockets: HTTP/1 behind one or more doors, closed connections where the script says so, and the timer
//! that ends operations when they are due.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use http::StatusCode;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::connection::{Connection, Cut};
use crate::door::CONNECTION_LOST;
use crate::gate::Gate;
use crate::{Emulator, Model};

/// Largest request body in bytes; Azure's own limit for ARM is 4 MiB.
const LARGEST_BODY: usize = 4 << 20;

/// A listening socket, and what is behind it.
pub struct Door {
    listener: TcpListener,
    kind: Kind,
}

enum Kind {
    Inside,
    Cloud(TlsAcceptor),
    Metadata,
}

impl Door {
    /// Everything, the control endpoint as well, in plain http: for loopback only.
    pub fn inside(listener: TcpListener) -> Self {
        Self { listener, kind: Kind::Inside }
    }

    /// What Azure shows to the world, in https: ARM, tokens, the cloud's description.
    pub fn cloud(listener: TcpListener, tls: Arc<ServerConfig>) -> Self {
        Self { listener, kind: Kind::Cloud(tls.into()) }
    }

    /// Instance metadata and managed-identity tokens in plain http; the VM is told by the caller's address.
    pub fn metadata(listener: TcpListener) -> Self {
        Self { listener, kind: Kind::Metadata }
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// Serves everything on one loopback listener; see [`serve_doors`].
pub async fn serve(
    emulator: Emulator,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), std::io::Error> {
    serve_doors(emulator, vec![Door::inside(listener)], stop).await
}

/// Serves until `stop` is ready. Requests in flight at that moment are cut off: a client must bear that anyway.
pub async fn serve_doors(
    emulator: Emulator,
    doors: Vec<Door>,
    stop: impl Future<Output = ()>,
) -> Result<(), std::io::Error> {
    let router = Router::new().fallback(answer).with_state(emulator.clone());
    let mut open = JoinSet::new();
    for door in doors {
        let service = router.clone().into_make_service_with_connect_info::<Caller>();
        open.spawn(async move { axum::serve(Severable(door), service).await });
    }
    tokio::select! {
        Some(ended) = open.join_next() => ended.map_err(std::io::Error::other)?,
        () = emulator.run_timer() => Ok(()),
        () = stop => Ok(()),
    }
}

async fn answer(
    State(emulator): State<Emulator>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
) -> Response {
    let (mut head, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, LARGEST_BODY).await else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return response;
    };
    head.extensions.insert(caller.gate);
    let response = emulator.handle(http::Request::from_parts(head, bytes)).await;
    if response.headers().contains_key(CONNECTION_LOST) {
        caller.cut.now();
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

/// What a request knows of its connection.
#[derive(Clone)]
struct Caller {
    cut: Cut,
    gate: Gate,
}

impl Connected<IncomingStream<'_, Severable>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Severable>) -> Self {
        Self { cut: stream.io().cut.clone(), gate: *stream.remote_addr() }
    }
}

/// A door whose connections can be cut.
struct Severable(Door);

impl Listener for Severable {
    type Io = Connection;
    /// Not the address itself but what it may ask for.
    type Addr = Gate;

    async fn accept(&mut self) -> (Connection, Gate) {
        let (stream, address): (_, SocketAddr) = Listener::accept(&mut self.0.listener).await;
        match &self.0.kind {
            Kind::Inside => (Connection::new(stream, None), Gate::Inside),
            Kind::Cloud(tls) => (Connection::new(stream, Some(tls)), Gate::Cloud),
            // An IPv4 address in IPv6's clothes is the same machine.
            Kind::Metadata => (Connection::new(stream, None), Gate::Metadata(address.ip().to_canonical())),
        }
    }

    fn local_addr(&self) -> std::io::Result<Gate> {
        Ok(Gate::Inside)
    }
}
