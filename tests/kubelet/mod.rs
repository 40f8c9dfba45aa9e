//! The node plugin registers itself: a small client plays the kubelet against the built program. It finds the socket in
//! the folder, sends the authority that the kubelet sends, and then calls the path that it was told.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use csi::registration::registration_client::RegistrationClient;
use csi::registration::{InfoRequest, PluginInfo, RegistrationStatus};
use csi::v1::identity_client::IdentityClient;
use csi::v1::node_client::NodeClient;
use csi::v1::{NodeGetCapabilitiesRequest, ProbeRequest};
use hyper_util::rt::TokioIo;
use nix::sys::signal::Signal;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::page;
use crate::program::{Place, Program, connect};

/// A node with a folder of registration sockets.
struct Node(Place);

impl Node {
    fn new() -> Node {
        let place = Place::new();
        fs::create_dir(place.path("registry")).unwrap();
        Node(place)
    }

    fn flags(&self) -> Vec<String> {
        vec![
            "--nodeid=node-a".to_owned(),
            self.0.endpoint(),
            format!("--kubelet-registration-path={}", self.0.path("csi.sock").display()),
            format!("--plugin-registration-path={}", self.0.path("registry").display()),
        ]
    }

    fn ready(&self) -> Program {
        self.0.ready(&self.flags())
    }

    /// What the kubelet takes for sockets of plugins.
    fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path("registry")).unwrap().map(Result::unwrap);
        let visible = entries.filter(|entry| !entry.file_name().to_str().unwrap().starts_with('.'));
        visible.filter(|entry| entry.file_type().unwrap().is_socket()).map(|entry| entry.path()).collect()
    }

    /// A kubelet's connection to the one socket in the folder.
    async fn dial(&self) -> RegistrationClient<Channel> {
        let [socket] = &self.sockets()[..] else { panic!("not one socket: {:?}", self.sockets()) };
        // As the kubelet's gRPC library makes an authority of a path.
        let authority = socket.to_str().unwrap().replace('/', "%2F");
        let socket = socket.clone();
        let open = move |_| {
            let socket = socket.clone();
            async move { std::io::Result::Ok(TokioIo::new(UnixStream::connect(socket).await?)) }
        };
        let endpoint = Endpoint::from_shared(format!("http://{authority}")).unwrap();
        RegistrationClient::new(endpoint.connect_with_connector(tower::service_fn(open)).await.unwrap())
    }

    /// Registers as the kubelet does; returns what it was told.
    async fn register(&self) -> PluginInfo {
        let mut client = self.dial().await;
        let info = client.get_info(InfoRequest {}).await.unwrap().into_inner();
        let channel = connect(info.endpoint.as_ref()).await;
        NodeClient::new(channel).node_get_capabilities(NodeGetCapabilitiesRequest {}).await.unwrap();
        let status = RegistrationStatus { plugin_registered: true, error: String::new() };
        client.notify_registration_status(status).await.unwrap();
        info
    }
}

#[tokio::test]
async fn the_kubelet_finds_the_driver_and_a_kubelet_started_again_does_too() {
    let node = Node::new();
    let mut program = node.ready();
    for _ in 0..2 {
        let info = node.register().await;
        let wanted = PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: "disk.csi.azure.com".to_owned(),
            endpoint: node.0.path("csi.sock").display().to_string(),
            supported_versions: vec!["1.0.0".to_owned()],
        };
        assert_eq!(info, wanted);
        program.await_line("registered with the kubelet");
    }
    let mode = fs::symlink_metadata(&node.sockets()[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end(), 0, "{}", program.log);
    assert_eq!(node.sockets(), [] as [PathBuf; 0], "the kubelet sees that the driver is gone");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_kubelets_words_and_the_socket_stays() {
    let node = Node::new();
    let mut flags = node.flags();
    flags.push("--metrics-address=127.0.0.1:0".to_owned());
    let mut program = node.0.ready(&flags);
    let error = "RegisterPlugin error -- plugin registration failed".to_owned();
    let status = RegistrationStatus { plugin_registered: false, error };
    node.dial().await.notify_registration_status(status).await.unwrap();
    let line = program.await_line("ERROR");
    assert!(line.contains("plugin registration failed"), "{line}");
    let pages = program.log.lines().find(|line| line.contains("metrics are served")).unwrap();
    let metrics = page(pages.rsplit('=').next().unwrap(), "/metrics");
    let counted = "azuredisk_csi_kubelet_registrations_total{result=\"refused\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    node.register().await;
}

#[tokio::test]
async fn a_killed_driver_is_succeeded_on_the_same_socket() {
    let node = Node::new();
    let mut killed = node.ready();
    let before = node.sockets();
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.end(), 128 + 9);
    assert_eq!(node.sockets(), before, "stale");
    let _successor = node.ready();
    assert_eq!(node.sockets(), before);
    node.register().await;
}

#[tokio::test]
async fn a_dead_registrars_socket_makes_way_and_a_live_one_ends_the_start() {
    let node = Node::new();
    let registrars = node.0.path("registry/disk.csi.azure.com-reg.sock");
    let alive = UnixListener::bind(&registrars).unwrap();
    let mut refused = node.0.start(&node.flags());
    assert_eq!(refused.end(), 1);
    for part in ["--plugin-registration-path", "disk.csi.azure.com-reg.sock is in use"] {
        assert!(refused.log.contains(part), "{part}: {}", refused.log);
    }
    assert_eq!(node.sockets(), std::slice::from_ref(&registrars));
    drop(alive);
    let _program = node.ready();
    assert!(!registrars.exists());
    node.register().await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let place = Place::new();
    let mut program = place.start(&[
        "--nodeid=node-a",
        &place.endpoint(),
        "--kubelet-registration-path=/csi.sock",
        &format!("--plugin-registration-path={}", place.path("none").display()),
    ]);
    assert_eq!(program.end(), 1);
    assert!(program.log.contains("--plugin-registration-path: cannot"), "{}", program.log);
    assert!(!place.path("csi.sock").exists());
}

#[tokio::test]
async fn beside_a_registrar_nothing_is_served() {
    let node = Node::new();
    let flags = [node.0.endpoint(), "--nodeid=node-a".to_owned(), node.flags().pop().unwrap()];
    let _program = node.0.ready(&flags);
    IdentityClient::new(node.0.channel().await).probe(ProbeRequest {}).await.unwrap();
    assert_eq!(node.sockets(), [] as [PathBuf; 0]);
}
