//! The built program and a cloud that is not built in, as a user would run them: https with an authority that
//! `SSL_CERT_FILE` names, and tokens from the metadata service that knows the VM by its address, or for a secret.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

mod program;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use azure_emulator::{Authority, Door, Emulator, Options, SUBSCRIPTION, serve_doors};
use csi::v1::controller_client::ControllerClient;
use csi::v1::volume_capability::{AccessMode, AccessType, BlockVolume, access_mode};
use csi::v1::{
    CapacityRange, CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest, VolumeCapability,
};
use nix::sys::signal::Signal;
use program::Place;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// A local Azure that is reached by https and by its metadata service only.
struct Cloud {
    emulator: Emulator,
    https: String,
    metadata: String,
}

impl Cloud {
    /// The authority to trust is written to `ca`.
    fn start(ca: &Path) -> Cloud {
        // Later than any real clock, so that the emulator's tokens have not ended long ago.
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        let emulator = Emulator::new(Options { wall, ..Options::default() }).unwrap();
        emulator.add_vm("node-a", "Standard_D4s_v5", "").unwrap();
        emulator.set_addresses("node-a", &["127.0.0.1".parse().unwrap()]).unwrap();
        let authority = Authority::new().unwrap();
        authority.publish(ca).unwrap();
        let tls = authority.server(&["127.0.0.1".to_owned()]).unwrap();
        let listeners = [(); 2].map(|()| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        });
        let [https, metadata] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let azure = emulator.clone();
        // On a thread of its own, so that a test may block while a program talks to it.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let [https, metadata] =
                    listeners.map(|listener| tokio::net::TcpListener::from_std(listener).unwrap());
                let doors = vec![Door::cloud(https, tls), Door::metadata(metadata)];
                serve_doors(azure, doors, std::future::pending()).await.unwrap();
            });
        });
        Cloud { emulator, https: format!("https://{https}"), metadata: format!("http://{metadata}") }
    }

    /// An `azure.json` that leads here, with `identity` to prove who asks.
    fn file(&self, identity: &Value) -> String {
        let mut file = json!({
            "tenantId": "00000000-0000-4000-8000-000000000009",
            "subscriptionId": SUBSCRIPTION,
            "resourceGroup": "rg",
            "location": "eastus2",
            "vmType": "standard",
            "resourceManagerEndpoint": self.https,
            "activeDirectoryEndpoint": self.https,
        });
        file.as_object_mut().unwrap().extend(identity.as_object().unwrap().clone());
        file.to_string()
    }
}

fn wish() -> CreateVolumeRequest {
    let capability = VolumeCapability {
        access_type: Some(AccessType::Block(BlockVolume {})),
        access_mode: Some(AccessMode { mode: access_mode::Mode::SingleNodeWriter.into() }),
    };
    CreateVolumeRequest {
        name: "by-https".to_owned(),
        capacity_range: Some(CapacityRange { required_bytes: 8 << 30, limit_bytes: 0 }),
        volume_capabilities: vec![capability],
        ..Default::default()
    }
}

/// Starts the driver on `cloud` with what it may trust, and lets it create, and then delete, a volume.
async fn create(cloud: &Cloud, identity: &Value, trusted: &Path) -> Result<CreateVolumeResponse, Status> {
    let mut place = Place::new();
    let file = place.path("azure.json");
    fs::write(&file, cloud.file(identity)).unwrap();
    place.set("AZURE_CREDENTIAL_FILE", file.to_str().unwrap());
    place.set("SSL_CERT_FILE", trusted.to_str().unwrap());
    let imds = format!("--imds-endpoint={}", cloud.metadata);
    let mut program = place.ready(&["--mode=controller", &imds, &place.endpoint()]);
    let mut client = ControllerClient::new(place.channel().await);
    let created = client.create_volume(wish()).await;
    if let Ok(created) = &created {
        assert_eq!(cloud.emulator.disks().len(), 1);
        let volume_id = created.get_ref().volume.clone().unwrap().volume_id;
        client.delete_volume(DeleteVolumeRequest { volume_id, ..Default::default() }).await.unwrap();
    }
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end(), 0, "{}", program.log);
    assert!(cloud.emulator.disks().is_empty());
    created.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_volume_is_created_over_https_with_each_kind_of_identity() {
    let place = tempfile::tempdir().unwrap();
    let ca = place.path().join("ca.crt");
    let cloud = Cloud::start(&ca);
    for identity in [
        json!({ "useManagedIdentityExtension": true }),
        json!({ "aadClientId": "00000000-0000-4000-8000-00000000000a", "aadClientSecret": "of-the-test" }),
    ] {
        let volume = create(&cloud, &identity, &ca).await.unwrap().volume.unwrap();
        assert_eq!(volume.capacity_bytes, 8 << 30, "{identity}");
    }
}

#[tokio::test]
async fn an_azure_that_is_not_trusted_is_sent_nothing_and_the_call_may_be_repeated() {
    let place = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(&place.path().join("ca.crt"));
    let other = place.path().join("other.crt");
    Authority::new().unwrap().publish(&other).unwrap();
    let refused = create(&cloud, &json!({ "useManagedIdentityExtension": true }), &other).await.unwrap_err();
    assert!(matches!(refused.code(), Code::Unavailable | Code::DeadlineExceeded), "{refused}");
    assert!(refused.message().contains(&cloud.https), "says whom it could not reach: {refused}");
    assert!(cloud.emulator.requests().is_empty());
}
