//! The whole driver beside an API server: which role looks at Kubernetes, and what it shows of that.

use std::path::Path;

use azuredisk_csi::config::Config;
use azuredisk_csi::environment::Environment;
use azuredisk_csi::flags::Flags;
use azuredisk_csi::metrics::Metrics;
use azuredisk_csi::wiring::Seams;
use e2e::kubernetes::{ApiServer, Resource, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::world::{kubeconfig, watches};

/// The driver with these flags; it is ended by dropping the task.
fn start(folder: &Path, flags: &[&str]) -> (Metrics, JoinHandle<()>) {
    let endpoint = format!("--endpoint=unix://{}/csi.sock", folder.display());
    let flags = Flags::parse(flags.iter().map(ToString::to_string).chain([endpoint]));
    let config = Config::new(&flags, Environment::default()).unwrap();
    let (metrics, seams) = (Metrics::new(config.mode), Seams::real(&config));
    let shown = metrics.clone();
    let running = tokio::spawn(async move {
        azuredisk_csi::run(config, &seams, metrics, std::future::pending()).await.unwrap();
    });
    (shown, running)
}

/// The driver beside this server.
async fn beside(server: &ApiServer, folder: &Path, flags: &[&str]) -> (Metrics, JoinHandle<()>) {
    server.expect_token("hunter2");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(server.clone(), listener));
    let file = format!("--kubeconfig={}", kubeconfig(folder, address).display());
    start(folder, &[flags, &[file.as_str()]].concat())
}

fn is_synced(metrics: &Metrics) -> bool {
    let text = metrics.text();
    let line = text.lines().find_map(|line| line.strip_prefix("azuredisk_csi_kubernetes_synced "));
    line.unwrap() == "1"
}

#[tokio::test]
async fn a_controller_looks_at_kubernetes_and_a_node_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut roles = Vec::new();
    for (name, flags) in [("node", &["--nodeid=a"][..]), ("controller", &[])] {
        let server = ApiServer::new();
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let (metrics, running) = beside(&server, &folder, flags).await;
        roles.push((server, metrics, running));
    }
    let [(node_server, node, _), (server, controller, _)] = &roles[..] else { unreachable!("two roles") };
    // A feed watches when it has shown what it listed.
    server.until_asked(|requests| watches(requests) == 4).await;
    assert!(is_synced(controller));
    assert_eq!((node_server.requests(), is_synced(node)), (Vec::new(), false), "it began first");
    for (_, _, running) in roles {
        running.abort();
    }
}

#[tokio::test]
async fn a_missing_permission_is_a_metric() {
    let folder = tempfile::tempdir().unwrap();
    let server = ApiServer::new();
    server.forbid("list", Resource::Nodes);
    let (metrics, running) = beside(&server, folder.path(), &[]).await;
    let is_list = |request: &&String| request.starts_with("GET /api/v1/nodes?limit");
    // Who asks again has taken the first answer in.
    server.until_asked(|requests| requests.iter().filter(is_list).count() == 2).await;
    let text = metrics.text();
    for (resource, value) in [("nodes", 1), ("persistentvolumes", 0), ("volumeattachments.storage.k8s.io", 0)]
    {
        let line = format!("azuredisk_csi_kubernetes_forbidden{{resource=\"{resource}\"}} {value}");
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!is_synced(&metrics));
    running.abort();
}
