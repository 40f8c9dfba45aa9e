//! The least that a CSI driver in Rust can be: tonic with one service on a unix socket, given as the only
//! argument. The benchmarks measure the driver beside it, so that a figure is known to be ours or tonic's.

use csi::v1::identity_server::{Identity, IdentityServer};
use csi::v1::{ProbeRequest, ProbeResponse};
use tonic::codegen::tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

struct Ready;

#[tonic::async_trait]
impl Identity for Ready {
    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Ok(Response::new(ProbeResponse { ready: Some(true) }))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("give the path of the socket")?;
    let listener = tokio::net::UnixListener::bind(path)?;
    let server = tonic::transport::Server::builder().add_service(IdentityServer::new(Ready));
    Ok(server.serve_with_incoming(UnixListenerStream::new(listener)).await?)
}
