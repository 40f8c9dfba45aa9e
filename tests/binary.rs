//! The built program from outside: its socket, its arguments, its log, its pages and its exit codes.

mod kubelet;
mod program;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use csi::v1::identity_client::IdentityClient;
use csi::v1::{GetPluginCapabilitiesRequest, GetPluginInfoRequest, ProbeRequest};
use nix::sys::signal::Signal;
use program::{Place, connect};

/// Asks an HTTP/1 server for a page and returns the whole answer.
pub(crate) fn page(address: &str, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        std::io::read_to_string(stream)
    };
    ask().unwrap_or_else(|error| panic!("{address}{path}: {error}"))
}

#[tokio::test]
async fn the_socket_is_the_owners_and_gone_after_a_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let place = Place::new();
        let mut program = place.ready(&[place.endpoint()]);
        let found = fs::symlink_metadata(place.path("csi.sock")).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        let answer = IdentityClient::new(place.channel().await).probe(ProbeRequest {}).await.unwrap();
        assert_eq!(answer.into_inner().ready, Some(true));
        program.signal(signal);
        assert_eq!(program.end(), 0, "{}", program.log);
        assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0, "nothing is left");
    }
}

#[tokio::test]
async fn a_killed_drivers_socket_is_replaced_and_a_live_ones_is_not() {
    let place = Place::new();
    let mut killed = place.ready(&[place.endpoint()]);
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.end(), 128 + 9);
    assert!(place.path("csi.sock").exists(), "stale");

    let _first = place.ready(&[place.endpoint()]);
    let mut second = place.start(&[place.endpoint()]);
    assert_eq!(second.end(), 1);
    assert!(second.log.contains("csi.sock is in use"), "{}", second.log);
    IdentityClient::new(place.channel().await).probe(ProbeRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_survives() {
    let place = Place::new();
    fs::write(place.path("csi.sock"), "precious").unwrap();
    let mut program = place.start(&[place.endpoint()]);
    assert_eq!(program.end(), 1);
    assert!(program.log.contains("not a socket"), "{}", program.log);
    assert_eq!(fs::read_to_string(place.path("csi.sock")).unwrap(), "precious");
}

/// The socket is there, and every Identity question is answered, with an `azure.json` that leads nowhere:
/// 192.0.2.0/24 is reserved for documentation, and nothing there ever answers.
#[tokio::test]
async fn azure_and_kubernetes_out_of_reach_keep_nobody_waiting() {
    let mut place = Place::new();
    let file = place.path("azure.json");
    let text = r#"{"tenantId": "t", "subscriptionId": "s", "resourceGroup": "g", "location": "eastus2",
        "aadClientId": "c", "aadClientSecret": "hunter2", "resourceManagerEndpoint": "https://192.0.2.1"}"#;
    fs::write(&file, text).unwrap();
    place.set("AZURE_CREDENTIAL_FILE", file.to_str().unwrap());
    place.set("KUBERNETES_SERVICE_HOST", "192.0.2.2");
    place.set("KUBERNETES_SERVICE_PORT", "443");
    let mut identities = Vec::new();
    for arguments in
        [vec!["--mode=controller"], vec!["--nodeid=node-a"], vec!["--mode=all", "--nodeid=node-a"]]
    {
        let arguments: Vec<String> =
            arguments.into_iter().map(str::to_owned).chain([place.endpoint()]).collect();
        let mut program = place.ready(&arguments);
        let mut client = IdentityClient::new(place.channel().await);
        client.probe(ProbeRequest {}).await.unwrap();
        let info = client.get_plugin_info(GetPluginInfoRequest {}).await.unwrap().into_inner();
        assert_eq!(
            (info.name.as_str(), info.vendor_version.as_str()),
            ("disk.csi.azure.com", env!("CARGO_PKG_VERSION"))
        );
        let offered = client.get_plugin_capabilities(GetPluginCapabilitiesRequest {}).await.unwrap();
        identities.push((info, offered.into_inner()));
        program.signal(Signal::SIGTERM);
        assert_eq!(program.end(), 0);
    }
    assert!(identities.windows(2).all(|pair| pair[0] == pair[1]), "alike in every mode: {identities:?}");
}

/// As the manifests in the field have them; only the paths and ports are ours.
#[tokio::test]
async fn the_arguments_of_deckhouse_and_of_the_go_chart_start_it() {
    let rows = [
        ("Deckhouse, controller", ""),
        ("Deckhouse, node", "--nodeid=node-a"),
        ("Deckhouse, older node", "--v=5 --nodeid=node-a --metrics-address=127.0.0.1:0"),
        (
            "Go chart, controller",
            "--v=5 --metrics-address=127.0.0.1:0 --disable-avset-nodes=false --vm-type= --drivername=disk.csi.azure.com \
             --cloud-config-secret-name=azure-cloud-provider --cloud-config-secret-namespace=kube-system \
             --custom-user-agent= --user-agent-suffix=OSS-helm --allow-empty-cloud-config=false \
             --vmss-cache-ttl-seconds=-1 --enable-traffic-manager=false --traffic-manager-port=7788 \
             --enable-otel-tracing=false --check-disk-lun-collision=true --kube-api-qps=50 --kube-api-burst=100 \
             --vmss-detach-timeout-seconds=200",
        ),
        (
            "Go chart, node",
            "--v=5 --nodeid=node-a --enable-perf-optimization=true --drivername=disk.csi.azure.com \
             --volume-attach-limit=-1 --reserved-data-disk-slot-num=0 \
             --cloud-config-secret-name=azure-cloud-provider --cloud-config-secret-namespace=kube-system \
             --custom-user-agent= --user-agent-suffix=OSS-helm --allow-empty-cloud-config=true --support-zone=true \
             --get-node-info-from-labels=false --get-nodeid-from-imds=false --enable-otel-tracing=false \
             --metrics-address=127.0.0.1:0 --remove-not-ready-taint=true",
        ),
        ("single dashes", "-v 5 -nodeid node-a -logtostderr -mode node"),
    ];
    for (whose, line) in rows {
        let place = Place::new();
        let arguments: Vec<String> =
            line.split_whitespace().map(str::to_owned).chain([place.endpoint()]).collect();
        let mut program = place.ready(&arguments);
        let warnings = program.log.lines().filter(|line| line.contains("no effect")).count();
        assert!(warnings <= 1, "{whose}: {}", program.log);
        assert_eq!(warnings == 1, whose.starts_with("Go chart"), "{whose}: {}", program.log);
        IdentityClient::new(place.channel().await).probe(ProbeRequest {}).await.expect(whose);
        program.signal(Signal::SIGTERM);
        assert_eq!(program.end(), 0, "{whose}: {}", program.log);
    }
}

#[tokio::test]
async fn wrong_arguments_are_all_told_and_exit_2() {
    let place = Place::new();
    let mut program = place.start(&["--endpoint=csi.sock", "--mode=both", "--wat"]);
    assert_eq!(program.end(), 2);
    for part in ["--endpoint", "--mode", "--wat"] {
        assert!(program.log.contains(part), "{part}: {}", program.log);
    }
    for question in ["--help", "--version", "--pre-stop-hook=true"] {
        assert_eq!(place.start(&[question]).end(), 0, "{question}");
    }
}

#[tokio::test]
async fn json_lines_parse_and_no_secret_is_ever_printed() {
    let mut place = Place::new();
    let file = place.path("azure.json");
    fs::write(&file, r#"{"tenantId": "t", "aadClientId": "c", "aadClientSecret": "hunter2-in-a-file"}"#)
        .unwrap();
    place.set("AZURE_CREDENTIAL_FILE", file.to_str().unwrap());
    place.set("AZURE_CLIENT_SECRET", "hunter2-in-a-variable");
    place.set("IDENTITY_HEADER", "hunter2-in-a-header");
    let mut program = place.ready(&["--log-format=json", "--v=10", "--vm-type=vmss", &place.endpoint()]);
    let secrets = [("key".to_owned(), "hunter2-in-a-call".to_owned())];
    let request = csi::v1::DeleteVolumeRequest {
        volume_id: "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d".to_owned(),
        secrets: secrets.into(),
    };
    let mut client = csi::v1::controller_client::ControllerClient::new(place.channel().await);
    client.delete_volume(request).await.unwrap_err();
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end(), 0);
    assert!(program.log.lines().count() >= 4, "{}", program.log);
    for line in program.log.lines() {
        let fields: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(fields["timestamp"].is_string() && fields["level"].is_string(), "{line}");
    }
    assert!(!program.log.contains("hunter2"), "{}", program.log);
}

#[tokio::test]
async fn metrics_and_health_are_pages_and_an_address_in_use_is_told() {
    let place = Place::new();
    let mut program = place.ready(&["--metrics-address=127.0.0.1:0", &place.endpoint()]);
    let line = program.log.lines().find(|line| line.contains("metrics are served")).unwrap().to_owned();
    let address = line.rsplit('=').next().unwrap();
    IdentityClient::new(place.channel().await).probe(ProbeRequest {}).await.unwrap();
    let metrics = page(address, "/metrics");
    assert!(metrics.contains("azuredisk_csi_rpcs_total{method=\"Probe\",code=\"Ok\"} 1"), "{metrics}");
    assert!(metrics.contains("openmetrics-text"), "{metrics}");
    let health = page(address, "/healthz");
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("\r\n\r\nok\n"), "{health}");
    fs::remove_file(place.path("csi.sock")).unwrap();
    let health = page(address, "/healthz");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("csi.sock"), "{health}");
    assert!(page(address, "/other").starts_with("HTTP/1.1 404"));

    let other = Place::new();
    let mut refused = other.start(&[format!("--metrics-address={address}"), other.endpoint()]);
    assert_eq!(refused.end(), 1);
    assert!(refused.log.contains("--metrics-address"), "{}", refused.log);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end(), 0);
}

#[tokio::test]
async fn a_loopback_port_serves_as_well() {
    let place = Place::new();
    let mut program = place.start(&["--endpoint=tcp://127.0.0.1:0"]);
    let line = program.await_line("INFO ready");
    let address = line.split("endpoint=").nth(1).unwrap().split(' ').next().unwrap();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = IdentityClient::new(endpoint.connect().await.unwrap());
    client.probe(ProbeRequest {}).await.unwrap();
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end(), 0);
}

#[tokio::test]
async fn a_path_through_a_link_works() {
    let place = Place::new();
    fs::create_dir(place.path("real")).unwrap();
    std::os::unix::fs::symlink(place.path("real"), place.path("link")).unwrap();
    let socket = place.path("link/csi.sock");
    let _program = place.ready(&[format!("--endpoint=unix:{}", socket.display())]);
    IdentityClient::new(connect(&socket).await).probe(ProbeRequest {}).await.unwrap();
}

/// What `.cargo/config.toml` says of the allocator must have been read by whoever built this.
#[test]
fn what_is_freed_goes_back_to_the_kernel_at_once() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_azuredisk-csi"));
    let output = command.arg("--version").env("_RJEM_MALLOC_CONF", "stats_print:true").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    for setting in ["narenas: 1", "tcache: false", "dirty_decay_ms: 0", "muzzy_decay_ms: 0", "thp: \"never\""]
    {
        assert!(told.contains(&format!("opt.{setting}")), "{setting}: {told}");
    }
}
