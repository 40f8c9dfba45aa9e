//! Whether `/healthz` tells a driver that answers from one that doesn't: real sockets, scripted servers. The clock is
//! paused, so that patience of seconds takes no time; what a socket already holds is read before the clock moves.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use azuredisk_csi::config::Endpoint;
use azuredisk_csi::health::{Health, Stopping};
use csi::v1::identity_server::{Identity, IdentityServer};
use csi::v1::{ProbeRequest, ProbeResponse};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

const PATIENCE: Duration = Duration::from_secs(2);

/// What Probe does.
#[derive(Clone)]
enum Script {
    Ready(Option<bool>),
    Fail,
    Wait(Arc<Notify>),
}

struct Scripted(Script, Arc<AtomicUsize>);

#[tonic::async_trait]
impl Identity for Scripted {
    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let ready = match &self.0 {
            Script::Ready(ready) => *ready,
            Script::Fail => return Err(csi::Error::internal("out of order").into()),
            Script::Wait(until) => {
                until.notified().await;
                Some(true)
            }
        };
        Ok(Response::new(ProbeResponse { ready }))
    }
}

/// A socket, whoever listens on it.
struct Socket(TempDir);

impl Socket {
    fn new() -> Socket {
        Socket(tempfile::tempdir().unwrap())
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(self.0.path().join("csi.sock")).unwrap()
    }

    /// Serves `script`; returns how often it was probed.
    fn serve(&self, script: Script) -> Arc<AtomicUsize> {
        let probes = Arc::new(AtomicUsize::new(0));
        let service = IdentityServer::new(Scripted(script, Arc::clone(&probes)));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(self.listen())));
        probes
    }

    fn health(&self, stopping: Stopping) -> Health {
        Health::new(Endpoint::Unix(self.0.path().join("csi.sock")), PATIENCE, stopping)
    }
}

/// Lets everything that can run now run.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_driver_is_as_well_as_its_probe() {
    for (script, wanted) in [
        (Script::Ready(Some(true)), Ok(())),
        (Script::Ready(None), Ok(())),
        (Script::Ready(Some(false)), Err("not ready")),
        (Script::Fail, Err("Internal: out of order")),
        (Script::Wait(Arc::default()), Err("did not answer Probe within 2s")),
    ] {
        let socket = Socket::new();
        socket.serve(script);
        match (socket.health(Stopping::default()).check().await, wanted) {
            (Ok(word), Ok(())) => assert_eq!(word, "ok"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (told, wanted) => panic!("{told:?}, not {wanted:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_nothing_and_one_that_is_gone_are_ill() {
    let socket = Socket::new();
    let gone = socket.health(Stopping::default()).check().await.unwrap_err();
    assert!(gone.contains("cannot connect to"), "{gone}");
    let _nobody_accepts = socket.listen();
    let begun = tokio::time::Instant::now();
    let hung = socket.health(Stopping::default()).check().await.unwrap_err();
    assert!(hung.contains("within 2s"), "{hung}");
    assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs(), "on the paused clock");
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_at_once_share_one_probe() {
    let (socket, go_on) = (Socket::new(), Arc::new(Notify::new()));
    let probes = socket.serve(Script::Wait(Arc::clone(&go_on)));
    let health = socket.health(Stopping::default());
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let health = health.clone();
            tokio::spawn(async move { health.check().await })
        })
        .collect();
    settle().await;
    go_on.notify_one();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Ok("ok"));
    }
    assert_eq!(probes.load(Ordering::SeqCst), 1);
    go_on.notify_one();
    assert_eq!(health.check().await, Ok("ok"));
    assert_eq!(probes.load(Ordering::SeqCst), 2, "nothing is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_stops_is_well() {
    let (socket, stopping) = (Socket::new(), Stopping::default());
    let health = socket.health(stopping.clone());
    health.check().await.unwrap_err();
    stopping.noting(async {}).await;
    assert_eq!(health.check().await, Ok("stopping"));
}
