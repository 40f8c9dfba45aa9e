//! The whole driver in one process, its real services over the emulator's door, on a paused clock: what happens
//! between the services, `azure.json`, the metadata service and the metrics.
#![expect(clippy::expect_used, reason = "a fixture that breaks fails its test")]

mod inside;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use azure_emulator::{Emulator, Options, SUBSCRIPTION};
use azuredisk_csi::config::Config;
use azuredisk_csi::environment::Environment;
use azuredisk_csi::flags::Flags;
use azuredisk_csi::metrics::Metrics;
use azuredisk_csi::wiring::{self, Seams};
use bytes::Bytes;
use csi::v1::controller_client::ControllerClient;
use csi::v1::node_client::NodeClient;
use csi::v1::volume_capability::access_mode::Mode;
use csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use csi::v1::{
    ControllerGetCapabilitiesRequest, ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest,
    CreateVolumeRequest, DeleteVolumeRequest, ListVolumesRequest, NodeGetInfoRequest, VolumeCapability,
};
use inside::Inside;
use node::host::LinuxHost;
use tempfile::TempDir;
use tonic::Code;

/// The driver on a local Azure with one node in zone 2; panics in the transport while `is_broken`.
struct Driver {
    inside: Inside,
    place: TempDir,
    is_broken: Arc<AtomicBool>,
    /// What was written to VMs: method, last part of the path, body.
    writes: Arc<Mutex<Vec<(String, String, String)>>>,
}

impl Driver {
    fn start(flags: &[&str]) -> Driver {
        // Later than any real clock, so that the emulator's tokens have not ended long ago.
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        let emulator = Emulator::new(Options { wall, ..Options::default() }).expect("an emulator");
        emulator.add_vm("node-a", "Standard_D4s_v5", "2").expect("a VM");
        let place = tempfile::tempdir().expect("a directory");
        let mut environment = Environment::read(|name| match name {
            "IDENTITY_ENDPOINT" => Some("http://127.0.0.1:1/msi/token".to_owned()),
            "IDENTITY_HEADER" => Some("of-the-test".to_owned()),
            _ => None,
        });
        environment.credential_file = place.path().join("azure.json");
        environment.cloud_file = Some(place.path().join("cloud.json"));
        fs::write(place.path().join("cloud.json"), r#"{"resourceManagerEndpoint":"http://127.0.0.1:1"}"#)
            .expect("cloud.json");
        let imds = "--imds-endpoint=http://127.0.0.1:1/vms/node-a";
        let flags = Flags::parse(flags.iter().chain(&[imds]).map(ToString::to_string));
        let config = Config::new(&flags, environment).expect("a configuration");

        let is_broken = Arc::new(AtomicBool::new(false));
        let breaks = Arc::clone(&is_broken);
        let writes: Arc<Mutex<Vec<(String, String, String)>>> = Arc::default();
        let written = Arc::clone(&writes);
        let door = move |request: http::Request<Bytes>| {
            let emulator = emulator.clone();
            assert!(!breaks.load(Ordering::SeqCst), "the transport breaks, as the test wants");
            let path = request.uri().path();
            if request.method() != http::Method::GET && path.contains("/virtualMachines/") {
                let last = path.rsplit('/').next().unwrap_or_default();
                let body = String::from_utf8_lossy(request.body()).into_owned();
                let write = (request.method().to_string(), last.to_owned(), body);
                written.lock().expect("the list").push(write);
            }
            async move { emulator.handle(request).await }
        };
        let host = LinuxHost::new(place.path(), "/usr/sbin:/usr/bin:/sbin:/bin");
        let seams = Seams { transport: Arc::new(door), host: Arc::new(host), seed: 7 };
        let server = wiring::server(&config, &seams, &Metrics::new(config.mode));
        Driver { inside: Inside::start(server), place, is_broken, writes }
    }

    /// Writes an `azure.json` that leads to the emulator.
    fn mend(&self) {
        self.mend_with("");
    }

    /// The same with further keys.
    fn mend_with(&self, more: &str) {
        let text = format!(
            r#"{{"tenantId": "00000000-0000-4000-8000-000000000009", "subscriptionId": "{SUBSCRIPTION}",
                "resourceGroup": "rg", "location": "eastus2", "useManagedIdentityExtension": true,
                "vmType": "standard", "resourceManagerEndpoint": "http://127.0.0.1:1"{more}}}"#
        );
        fs::write(self.place.path().join("azure.json"), text).expect("azure.json");
    }
}

#[tokio::test(start_paused = true)]
async fn without_credentials_calls_say_so_and_a_mended_file_needs_no_restart() {
    let driver = Driver::start(&[]);
    let mut client = ControllerClient::new(driver.inside.channel().await);
    let offered = client.controller_get_capabilities(ControllerGetCapabilitiesRequest {}).await.unwrap();
    assert!(!offered.into_inner().capabilities.is_empty(), "known without credentials");
    let refused = client.list_volumes(ListVolumesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "never a final code: {refused}");
    assert!(refused.message().contains("azure.json"), "{refused}");
    driver.mend();
    let listed = client.list_volumes(ListVolumesRequest::default()).await.unwrap();
    assert!(listed.into_inner().entries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_deep_inside_is_internal_and_the_next_call_works() {
    let driver = Driver::start(&[]);
    driver.mend();
    let mut client = ControllerClient::new(driver.inside.channel().await);
    let gone = DeleteVolumeRequest {
        volume_id: format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/disks/gone"
        ),
        ..Default::default()
    };
    client.delete_volume(gone.clone()).await.expect("absent is deleted");
    driver.is_broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let read = client.list_volumes(ListVolumesRequest::default()).await.unwrap_err();
        let write = client.delete_volume(gone.clone()).await.unwrap_err();
        assert_eq!((read.code(), write.code()), (Code::Internal, Code::Internal), "{read} {write}");
    }
    driver.is_broken.store(false, Ordering::SeqCst);
    client.list_volumes(ListVolumesRequest::default()).await.expect("the next read");
    client.delete_volume(gone).await.expect("the next write");
}

/// How a driver with these flags and these keys of `azure.json` attaches and detaches: by which request, and whether
/// its body says `toBeDetached` or `deleteOption`.
async fn ways(flags: &[&str], keys: &str) -> Vec<(String, bool)> {
    let driver = Driver::start(flags);
    driver.mend_with(keys);
    let mut client = ControllerClient::new(driver.inside.channel().await);
    let capability = VolumeCapability {
        access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    };
    let wanted = CreateVolumeRequest {
        name: "pvc-1".to_owned(),
        volume_capabilities: vec![capability.clone()],
        // Of no zone: it goes to every VM.
        parameters: [("skuName".to_owned(), "StandardSSD_ZRS".to_owned())].into(),
        ..Default::default()
    };
    let volume = client.create_volume(wanted).await.expect("a disk").into_inner().volume.expect("a volume");
    let publish = ControllerPublishVolumeRequest {
        volume_id: volume.volume_id.clone(),
        node_id: "node-a".to_owned(),
        volume_capability: Some(capability),
        ..Default::default()
    };
    client.controller_publish_volume(publish).await.expect("an attach");
    let unpublish = ControllerUnpublishVolumeRequest {
        volume_id: volume.volume_id,
        node_id: "node-a".to_owned(),
        ..Default::default()
    };
    client.controller_unpublish_volume(unpublish).await.expect("a detach");
    let writes = driver.writes.lock().expect("the list");
    let is_told = |body: &str| body.contains("toBeDetached") || body.contains("deleteOption");
    writes.iter().map(|(method, last, body)| (format!("{method} {last}"), is_told(body))).collect()
}

#[tokio::test(start_paused = true)]
async fn disks_are_written_the_way_that_flags_and_cloud_say() {
    let stack = r#","cloud":"AzureStackCloud""#;
    let not_one = r#","cloud":"AzureStackCloud","disableAzureStackCloud":true"#;
    let (delta, list) = ("POST attachDetachDataDisks", "PUT node-a");
    for (flag, keys, wanted) in [
        ("", "", [(delta, true), (delta, false)]),
        ("--disk-update=delta", not_one, [(delta, true), (delta, false)]),
        ("--disk-update=full-list", "", [(list, true), (list, true)]),
        ("--disk-update=full-list", not_one, [(list, true), (list, true)]),
        ("", stack, [(list, false), (list, false)]),
        ("--disk-update=delta", stack, [(list, false), (list, false)]),
        ("--disk-update=full-list", stack, [(list, false), (list, false)]),
    ] {
        let flags: Vec<&str> = Some(flag).filter(|flag| !flag.is_empty()).into_iter().collect();
        let wanted: Vec<_> = wanted.into_iter().map(|(line, is_told)| (line.to_owned(), is_told)).collect();
        assert_eq!(ways(&flags, keys).await, wanted, "{flag} {keys}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_tells_what_its_machine_tells() {
    let driver = Driver::start(&["--nodeid=node-a", "--reserved-data-disk-slot-num=1"]);
    let mut client = NodeClient::new(driver.inside.channel().await);
    let info = client.node_get_info(NodeGetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.node_id.as_str(), info.max_volumes_per_node), ("node-a", 7));
    let zone = |key: &str| (key.to_owned(), "eastus2-2".to_owned());
    let wanted: BTreeMap<_, _> =
        [zone("topology.disk.csi.azure.com/zone"), zone("topology.kubernetes.io/zone")].into();
    assert_eq!(info.accessible_topology.unwrap().segments, wanted);
}

#[tokio::test(start_paused = true)]
async fn requests_to_azure_are_counted_by_operation_and_code() {
    let mut driver = Driver::start(&[]);
    driver.mend();
    let mut client = ControllerClient::new(driver.inside.channel().await);
    client.list_volumes(ListVolumesRequest::default()).await.unwrap();
    let text = driver.inside.metrics.text();
    let counted = text.lines().filter(|line| line.starts_with("azuredisk_csi_arm_requests_total{"));
    assert!(counted.clone().count() >= 1, "{text}");
    assert!(counted.clone().all(|line| line.contains("code=\"200\"")), "{text}");
    driver.inside.stop();
    driver.inside.ended.await.unwrap().expect("a clean stop");
}
