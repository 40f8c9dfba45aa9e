//! The Identity service: who the driver is and what it offers as a whole. It knows nothing that can fail
//! or wait, and answers alike in every mode: Kubernetes asks controller and nodes and expects one answer.

use csi::v1::identity_server::Identity;
use csi::v1::plugin_capability::service::Type as Service;
use csi::v1::plugin_capability::volume_expansion::Type as Expansion;
use csi::v1::{self, plugin_capability};
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The name under which Kubernetes knows the driver.
    pub driver_name: String,
    /// Whether volumes in use may grow.
    pub online_expansion: bool,
}

#[tonic::async_trait]
impl Identity for Plugin {
    async fn get_plugin_info(
        &self,
        _: Request<v1::GetPluginInfoRequest>,
    ) -> Result<Response<v1::GetPluginInfoResponse>, Status> {
        Ok(Response::new(v1::GetPluginInfoResponse {
            name: self.driver_name.clone(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<v1::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<v1::GetPluginCapabilitiesResponse>, Status> {
        let service = |kind: Service| {
            plugin_capability::Type::Service(plugin_capability::Service { r#type: kind.into() })
        };
        let expansion = |kind: Expansion| {
            plugin_capability::Type::VolumeExpansion(plugin_capability::VolumeExpansion {
                r#type: kind.into(),
            })
        };
        let mut offered = vec![
            service(Service::ControllerService),
            service(Service::VolumeAccessibilityConstraints),
            expansion(Expansion::Offline),
        ];
        if self.online_expansion {
            offered.push(expansion(Expansion::Online));
        }
        let capabilities =
            offered.into_iter().map(|kind| v1::PluginCapability { r#type: Some(kind) }).collect();
        Ok(Response::new(v1::GetPluginCapabilitiesResponse { capabilities }))
    }

    /// Ready as soon as it can be asked. What Azure or a disk is up to must not restart the container.
    async fn probe(&self, _: Request<v1::ProbeRequest>) -> Result<Response<v1::ProbeResponse>, Status> {
        Ok(Response::new(v1::ProbeResponse { ready: Some(true) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn online_expansion_is_offered_unless_switched_off() {
        for (online_expansion, offered) in [(true, 4), (false, 3)] {
            let plugin = Plugin { driver_name: "disk.csi.azure.com".into(), online_expansion };
            let request = Request::new(v1::GetPluginCapabilitiesRequest {});
            let answer = plugin.get_plugin_capabilities(request).await.unwrap().into_inner();
            assert_eq!(answer.capabilities.len(), offered);
        }
    }
}
