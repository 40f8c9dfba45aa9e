//! Where CSI is served: the listener, its address as it was bound, and, for a socket, its name.

use tokio::net::{TcpListener, UnixListener};

use crate::RunError;
use crate::config::Endpoint;
use crate::socket::{self, Claimed};

/// Either kind of listener.
#[derive(Debug)]
pub enum Listener {
    /// Of a socket.
    Unix(UnixListener),
    /// Of a loopback port.
    Tcp(TcpListener),
}

/// Something that listens. Connections wait in its queue until they are served.
#[derive(Debug)]
pub struct Listening {
    /// What is to be served.
    pub listener: Listener,
    /// Where it can be reached: the endpoint that was asked for, with the port that was found for a port 0.
    pub endpoint: Endpoint,
    /// The name of the socket, until this is dropped.
    pub name: Option<Claimed>,
}

/// Listens on `endpoint`.
pub async fn listen(endpoint: &Endpoint) -> Result<Listening, RunError> {
    match endpoint {
        Endpoint::Unix(path) => {
            let (listener, name) = socket::claim(path).await.map_err(RunError::Socket)?;
            let listener = Listener::Unix(listener);
            Ok(Listening { listener, endpoint: endpoint.clone(), name: Some(name) })
        }
        Endpoint::Tcp(address) => {
            let refused = |error| RunError::Port(*address, error);
            let listener = TcpListener::bind(address).await.map_err(refused)?;
            let endpoint = Endpoint::Tcp(listener.local_addr().map_err(refused)?);
            Ok(Listening { listener: Listener::Tcp(listener), endpoint, name: None })
        }
    }
}
