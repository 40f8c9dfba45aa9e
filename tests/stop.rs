//! A signal while the built program is in the middle of something: what was begun is answered, what comes
//! later is refused, and the program is gone right after.

mod azure;
mod machine;
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::time::Duration;

use azure::Azure;
use csi::v1::controller_client::ControllerClient;
use csi::v1::node_client::NodeClient;
use csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use csi::v1::{
    CapacityRange, ControllerPublishVolumeRequest, ControllerPublishVolumeResponse, CreateVolumeRequest,
    ListVolumesRequest, NodeGetInfoRequest, NodeStageVolumeRequest, VolumeCapability,
};
use machine::{Machine, waiting_mkfs};
use nix::sys::signal::Signal;
use program::{Place, Program};
use tokio::time::Instant;
use tonic::Code;

/// From the last answer to the end of the process.
const SOON: Duration = Duration::from_secs(1);

fn ext4() -> VolumeCapability {
    let mount = MountVolume { fs_type: "ext4".to_owned(), ..Default::default() };
    VolumeCapability {
        access_type: Some(AccessType::Mount(mount)),
        access_mode: Some(AccessMode {
            mode: csi::v1::volume_capability::access_mode::Mode::SingleNodeWriter.into(),
        }),
    }
}

/// The end of a program that has given its last answer at `answered`.
fn ends_soon(program: &mut Program, answered: Instant) {
    assert_eq!(program.end(), 0, "{}", program.log);
    let took = answered.elapsed();
    assert!(took < SOON, "{took:?} after the last answer\n{}", program.log);
}

#[tokio::test]
async fn an_attach_is_finished_and_a_new_call_refused() {
    let azure = Azure::start(Duration::from_secs(3));
    let mut place = Place::new();
    let file = place.path("azure.json");
    fs::write(&file, azure.credential_file()).unwrap();
    place.set("AZURE_CREDENTIAL_FILE", file.to_str().unwrap());
    place.set("IDENTITY_ENDPOINT", &azure.url("/msi/token"));
    place.set("IDENTITY_HEADER", "of-the-test");
    let mut program = place.ready(&["--mode=controller", &place.endpoint()]);
    let client = ControllerClient::new(place.channel().await);

    let create = CreateVolumeRequest {
        name: "stopped".to_owned(),
        capacity_range: Some(CapacityRange { required_bytes: 8 << 30, limit_bytes: 0 }),
        volume_capabilities: vec![ext4()],
        parameters: BTreeMap::from([("skuName".to_owned(), "Premium_LRS".to_owned())]),
        ..Default::default()
    };
    let volume = client.clone().create_volume(create).await.unwrap().into_inner().volume.unwrap();

    let publish = ControllerPublishVolumeRequest {
        volume_id: volume.volume_id.clone(),
        node_id: "node-a".to_owned(),
        volume_capability: Some(ext4()),
        volume_context: volume.volume_context,
        ..Default::default()
    };
    let mut attaching = client.clone();
    let attach = tokio::spawn(async move { attaching.controller_publish_volume(publish).await });
    tokio::task::spawn_blocking(move || {
        azure.await_request("attachDetachDataDisks");
        azure
    })
    .await
    .unwrap();
    program.signal(Signal::SIGTERM);
    program.await_line("stopping");
    let refused = client.clone().list_volumes(ListVolumesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(!attach.is_finished());

    let answer: ControllerPublishVolumeResponse = attach.await.unwrap().unwrap().into_inner();
    let answered = Instant::now();
    assert_eq!(answer.publish_context.get("LUN").map(String::as_str), Some("0"));
    ends_soon(&mut program, answered);
}

#[tokio::test]
async fn a_format_is_finished_and_a_new_call_refused() {
    if !nix::unistd::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "skipped: needs root for loop devices");
        return;
    }
    let mut place = Place::new();
    let machine = Machine::new(place.directory.path());
    let (running, go_on) = waiting_mkfs(place.directory.path());
    place.set("PATH", &format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", place.path("tools").display()));
    let root = format!("--device-root={}", place.path("state/vms/node-a").display());
    let register = "--kubelet-registration-path=/csi.sock";
    let registry = format!("--plugin-registration-path={}", place.directory.path().display());
    let mut program = place.ready(&["--nodeid=node-a", &root, &place.endpoint(), register, &registry]);
    let registration = place.path("csi@disk.csi.azure.com-reg.sock");
    let client = NodeClient::new(place.channel().await);

    let stage = NodeStageVolumeRequest {
        volume_id: "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/disks/d".to_owned(),
        publish_context: BTreeMap::from([("LUN".to_owned(), "0".to_owned())]),
        staging_target_path: machine.staging.display().to_string(),
        volume_capability: Some(ext4()),
        ..Default::default()
    };
    let mut staging = client.clone();
    let staged = tokio::spawn(async move { staging.node_stage_volume(stage).await });
    // Opening the pipe waits for the script at its other end.
    tokio::task::spawn_blocking(move || fs::read(running).unwrap()).await.unwrap();
    program.signal(Signal::SIGTERM);
    program.await_line("stopping");
    let refused = client.clone().node_get_info(NodeGetInfoRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(!staged.is_finished());
    assert!(registration.exists(), "the node keeps its driver while there is something to finish");

    fs::write(go_on, "\n").unwrap();
    staged.await.unwrap().unwrap();
    let answered = Instant::now();
    ends_soon(&mut program, answered);
    assert!(!registration.exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(mounts.contains(&format!(" {} ", machine.staging.display())), "mounted when it was answered");
}
