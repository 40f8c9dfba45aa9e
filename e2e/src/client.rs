//! CSI clients of one driver process over its socket, as the sidecars and the kubelet are.

use std::path::{Path, PathBuf};

use csi::v1::controller_client::ControllerClient;
use csi::v1::identity_client::IdentityClient;
use csi::v1::node_client::NodeClient;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::Failure;

/// The three services of one driver.
#[derive(Clone)]
pub struct Clients {
    /// Who it is.
    pub identity: IdentityClient<Channel>,
    /// Its controller half.
    pub controller: ControllerClient<Channel>,
    /// Its node half.
    pub node: NodeClient<Channel>,
}

impl Clients {
    /// Connects to the driver that listens on `socket`.
    pub async fn connect(socket: &Path) -> Result<Clients, Failure> {
        let channel = channel(socket).await?;
        Ok(Clients {
            identity: IdentityClient::new(channel.clone()),
            controller: ControllerClient::new(channel.clone()),
            node: NodeClient::new(channel),
        })
    }
}

/// A connection to whatever speaks gRPC on `socket`.
pub async fn channel(socket: &Path) -> Result<Channel, Failure> {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| open(socket.clone()));
    Ok(Endpoint::from_static("http://localhost").connect_with_connector(connector).await?)
}

async fn open(socket: PathBuf) -> std::io::Result<TokioIo<tokio::net::UnixStream>> {
    Ok(TokioIo::new(tokio::net::UnixStream::connect(socket).await?))
}
