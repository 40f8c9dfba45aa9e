//! The whole driver between an API server and Azure: what a publish is answered before Kubernetes has been
//! seen, and after; and that no call asks Kubernetes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_emulator::{Emulator, Options, SUBSCRIPTION};
use azuredisk_csi::config::Config;
use azuredisk_csi::environment::Environment;
use azuredisk_csi::flags::Flags;
use azuredisk_csi::metrics::Metrics;
use azuredisk_csi::wiring::Seams;
use bytes::Bytes;
use csi::v1::{ControllerPublishVolumeRequest, ControllerPublishVolumeResponse, DeleteVolumeRequest};
use e2e::client::Clients;
use e2e::kubernetes::{ApiServer, Resource, serve};
use e2e::volume;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use super::world::{kubeconfig, watches};

/// A controller of a cluster with one node; ends when it is dropped.
struct Driver {
    kubernetes: ApiServer,
    clients: Clients,
    _running: JoinSet<()>,
    _place: TempDir,
}

impl Driver {
    /// Starts it while nobody gets through to the API server.
    async fn start() -> Driver {
        let place = tempfile::tempdir().unwrap();
        let mut running = JoinSet::new();
        let kubernetes = ApiServer::new();
        kubernetes.expect_token("hunter2");
        kubernetes.go_down();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let file = kubeconfig(place.path(), listener.local_addr().unwrap());
        let serving = serve(kubernetes.clone(), listener);
        running.spawn(async { serving.await.unwrap() });

        // Later than any real clock, so that the emulator's tokens have not ended long ago.
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        let azure = Emulator::new(Options { wall, ..Options::default() }).unwrap();
        let vm = azure.add_vm("node-a", "Standard_D4s_v5", "").unwrap();
        let node = json!({"metadata": {"name": "node-a"}, "spec": {"providerID": format!("azure://{vm}")}});
        kubernetes.create(Resource::Nodes, node).unwrap();

        let mut environment = Environment::read(|name| match name {
            "IDENTITY_ENDPOINT" => Some("http://127.0.0.1:1/msi/token".to_owned()),
            "IDENTITY_HEADER" => Some("of-the-test".to_owned()),
            _ => None,
        });
        environment.credential_file = place.path().join("azure.json");
        let cloud = json!({"tenantId": "00000000-0000-4000-8000-000000000009", "subscriptionId": SUBSCRIPTION,
            "resourceGroup": "rg", "location": "eastus2", "useManagedIdentityExtension": true,
            "resourceManagerEndpoint": "http://127.0.0.1:1"});
        std::fs::write(&environment.credential_file, cloud.to_string()).unwrap();
        let socket = place.path().join("csi.sock");
        let flags =
            [format!("--endpoint=unix://{}", socket.display()), format!("--kubeconfig={}", file.display())];
        let config = Config::new(&Flags::parse(flags), environment).unwrap();
        let door = move |request: http::Request<Bytes>| {
            let azure = azure.clone();
            async move { azure.handle(request).await }
        };
        let seams = Seams { transport: Arc::new(door), ..Seams::real(&config) };
        let metrics = Metrics::new(config.mode);
        running.spawn(async move {
            azuredisk_csi::run(config, &seams, metrics, std::future::pending()).await.unwrap();
        });
        // The driver looks at Kubernetes when it listens already.
        kubernetes.until_asked(|requests| !requests.is_empty()).await;
        let clients = Clients::connect(&socket).await.unwrap();
        Driver { kubernetes, clients, _running: running, _place: place }
    }

    /// Lets it see all of Kubernetes.
    async fn see(&self) {
        self.kubernetes.come_back();
        // A feed watches when it has shown what it listed.
        self.kubernetes.until_asked(|requests| watches(requests) == 4).await;
    }

    async fn publish(
        &self,
        request: &ControllerPublishVolumeRequest,
    ) -> Result<ControllerPublishVolumeResponse, Status> {
        let mut controller = self.clients.controller.clone();
        controller.controller_publish_volume(request.clone()).await.map(tonic::Response::into_inner)
    }
}

#[tokio::test]
async fn a_publish_before_and_after_kubernetes_is_seen() {
    let driver = Driver::start().await;
    let capability = volume::block();
    let wish = volume::create("pvc-1", 4, &capability, None);
    let made = driver.clients.controller.clone().create_volume(wish).await.unwrap().into_inner();
    let request = volume::attach(&made.volume.unwrap(), "node-a", &capability);
    // Nothing can change the view meanwhile: an answer at all is one that did not wait for it.
    let refused = driver.publish(&request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");

    driver.see().await;
    assert_eq!(driver.publish(&request).await.unwrap().publish_context["LUN"], "0");
}

/// Elsewhere each attach lists all VolumeAttachments of the cluster.
#[tokio::test]
async fn no_call_asks_kubernetes() {
    let driver = Driver::start().await;
    driver.see().await;
    let capability = volume::block();
    let mut controller = driver.clients.controller.clone();
    driver.kubernetes.requests();
    for number in 1..=8 {
        let wish = volume::create(&format!("pvc-{number}"), 4, &capability, None);
        let made = controller.create_volume(wish).await.unwrap().into_inner().volume.unwrap();
        let request = volume::attach(&made, "node-a", &capability);
        assert_eq!(driver.publish(&request).await.unwrap().publish_context["LUN"], "0");
        driver.publish(&request).await.unwrap();
        let detach = volume::detach(&made.volume_id, "node-a");
        controller.controller_unpublish_volume(detach.clone()).await.unwrap();
        controller.controller_unpublish_volume(detach).await.unwrap();
        let delete = DeleteVolumeRequest { volume_id: made.volume_id, ..Default::default() };
        controller.delete_volume(delete).await.unwrap();
    }
    assert_eq!(driver.kubernetes.requests(), [""; 0]);
}
