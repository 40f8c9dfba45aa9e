//! How the kubelet learns of this driver without a sidecar: a second socket, in the folder that the kubelet watches,
//! where it asks for the driver's name and for the path of the CSI socket, and tells what came of it.
//!
//! ```text
//! CSI socket listens ──▶ this socket appears ──▶ GetInfo ──▶ NodeGetInfo (on the CSI socket) ──▶ Notify: yes, or why not
//!                              ▲                                                                    │
//!                              └────────── kubelet started again, or its next try after a "no" ◀────┘
//! ```
//! **The name goes last, after the drain.** When it goes, the kubelet takes the driver off the node's CSINode at once:
//! until the successor has registered, attaches to this node fail, provisioning for it fails, and the scheduler
//! doesn't know how many disks it takes. While draining none of that need be: a mount that comes too late
//! gets UNAVAILABLE and is repeated, as it would be anyway. A killed driver leaves the name behind, and so stays
//! registered until its successor replaces it.
//!
//! **The name has an `@`.** The kubelet makes the HTTP/2 authority of its calls here from the path, each `/`
//! as `%2F`. The HTTP library accepts percent signs in an authority only before an `@`, and cuts the connection otherwise.

use std::future::Future;
use std::path::PathBuf;

use csi::registration::registration_server::{Registration, RegistrationServer};
use csi::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use crate::metrics::Metrics;
use crate::socket::{self, ClaimError, Claimed};

/// The versions of CSI, as node-driver-registrar tells them: the kubelet looks at the major one only, and takes no
/// second registration of a name with the same version as the first.
const VERSIONS: [&str; 1] = ["1.0.0"];

/// What the kubelet is told, and where it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// The driver's name.
    pub name: String,
    /// The CSI socket, as the kubelet sees it.
    pub endpoint: String,
    /// The folder that the kubelet watches, as we see it.
    pub folder: PathBuf,
}

impl Plugin {
    /// The registration socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(format!("csi@{}", self.registrars()))
    }

    /// What node-driver-registrar calls its socket for the same driver.
    fn registrars(&self) -> String {
        format!("{}-reg.sock", self.name)
    }
}

/// The service.
struct Answers {
    plugin: Plugin,
    metrics: Metrics,
}

#[tonic::async_trait]
impl Registration for Answers {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: self.plugin.name.clone(),
            endpoint: self.plugin.endpoint.clone(),
            supported_versions: VERSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        self.metrics.kubelet_registration(status.plugin_registered);
        let (driver, endpoint) = (&self.plugin.name, &self.plugin.endpoint);
        if status.plugin_registered {
            tracing::info!(driver, endpoint, "registered with the kubelet");
        } else {
            tracing::error!(
                driver,
                endpoint,
                "the kubelet did not register the driver, and will try again: {}",
                status.error
            );
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

/// Makes the socket of `plugin`; the returned future serves it until it is dropped, the name is there as long as the
/// other part. The CSI socket must be listening already.
///
/// # Errors
/// Another registrar of the same driver that answers: two would take turns in deregistering each other. A dead one's
/// socket is removed: the kubelet would hold on to it, and refuse ours as a second driver of that name.
pub async fn register(
    plugin: Plugin,
    metrics: Metrics,
) -> Result<(Claimed, impl Future<Output = ()>), ClaimError> {
    socket::make_way(&plugin.folder.join(plugin.registrars())).await?;
    let (listener, name) = socket::claim(&plugin.socket()).await?;
    let service = RegistrationServer::new(Answers { plugin, metrics });
    let serving = async move {
        let server = tonic::transport::Server::builder().add_service(service);
        if let Err(error) = server.serve_with_incoming(UnixListenerStream::new(listener)).await {
            tracing::error!(%error, "the kubelet is no longer answered");
        }
    };
    Ok((name, serving))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As gRPC for Go makes an authority of a path.
    fn is_an_authority(path: &std::path::Path) -> bool {
        http::uri::Authority::try_from(path.display().to_string().replace('/', "%2F")).is_ok()
    }

    #[test]
    fn the_kubelets_authority_of_the_socket_is_one_that_can_be_read() {
        let folder = PathBuf::from("/var/lib/kubelet/plugins_registry");
        for name in ["disk.csi.azure.com", "d", "a-b.c"] {
            let plugin = Plugin { name: name.to_owned(), endpoint: String::new(), folder: folder.clone() };
            assert!(is_an_authority(&plugin.socket()), "{name}");
            // If this can be read one day, the name needs no `@` any more.
            assert!(!is_an_authority(&folder.join(plugin.registrars())), "{name}");
        }
    }
}
