//! The driver's view of Kubernetes on a small API server of our own: lists, watches and their accidents, on a
//! paused clock; the same over http; and, where the environment names one, on a real API server.

#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

mod publish;
mod requests;
mod troubles;
mod whole;
mod world;

use std::time::Duration;

use azuredisk_csi::kube::cluster::{Cluster, Node, Standing};
use azuredisk_csi::kube::{Client, HttpApi, Origin, follow};
use e2e::kubernetes::{ApiServer, Resource, serve};
use serde_json::{Value, json};
use tokio::time::sleep;

use world::{DRIVER, Followed, attach, disk, lists, node};

fn luns(cluster: &Cluster, node_id: &str) -> Vec<u8> {
    cluster.luns(node_id).iter().map(|(lun, _)| lun.get()).collect()
}

fn wanted(cluster: &Cluster, number: usize) -> usize {
    cluster.claims(&disk(number)).wanting.len()
}

#[tokio::test(start_paused = true)]
async fn a_long_list_is_read_page_by_page() {
    let server = ApiServer::new();
    for number in 0..1001 {
        attach(&server, number, &format!("node-{}", number / 50), number % 50);
    }
    node(&server, "node-0", &Value::Null);
    let mut followed = Followed::of(&server);
    assert!(matches!(followed.view.borrow().standing(), Standing::NotYet));
    followed.until(|_| true).await;
    assert_eq!(followed.ask(|cluster| luns(cluster, "node-0").len()), 50);
    assert_eq!(followed.ask(|cluster| luns(cluster, "node-20")), [0]);
    assert_eq!(followed.ask(|cluster| cluster.vm("node-0").unwrap().name()), "node-0");
    assert_eq!(lists(&server.requests()), 3 + 3 + 1 + 1, "attachments, volumes, nodes, CSINodes");
}

#[tokio::test(start_paused = true)]
async fn changes_are_seen_without_asking() {
    let server = ApiServer::new();
    node(&server, "node-a", &Value::Null);
    let mut followed = Followed::of(&server);
    followed.until(|_| true).await;
    sleep(Duration::from_secs(1)).await;
    server.requests();

    attach(&server, 1, "node-a", 5);
    followed.until(|cluster| wanted(cluster, 1) == 1).await;
    assert_eq!(followed.ask(|cluster| luns(cluster, "node-a")), [5]);
    // Deleted, and held by the attacher until the disk is detached.
    server.delete(Resource::VolumeAttachments, "csi-1").unwrap();
    followed.until(|cluster| cluster.claims(&disk(1)).leaving.len() == 1).await;
    assert_eq!(followed.ask(|cluster| (wanted(cluster, 1), luns(cluster, "node-a"))), (0, vec![5]));
    let done = json!({"metadata": {"finalizers": null}});
    server.patch(Resource::VolumeAttachments, "csi-1", &done).unwrap();
    followed.until(|cluster| cluster.claims(&disk(1)).leaving.is_empty()).await;
    assert_eq!(followed.ask(|cluster| luns(cluster, "node-a")), [0_u8; 0]);

    let taint =
        json!({"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]}});
    server.patch(Resource::Nodes, "node-a", &taint).unwrap();
    followed.until(|cluster| cluster.node("node-a").is_some_and(Node::is_out_of_service)).await;
    server.delete(Resource::Nodes, "node-a").unwrap();
    followed.until(|cluster| cluster.node("node-a").is_none()).await;

    let driver = |drivers: Value| json!({"metadata": {"name": "node-b"}, "spec": {"drivers": drivers}});
    let drivers = json!([{"name": DRIVER, "nodeID": "id-b"}]);
    server.create(Resource::CsiNodes, driver(drivers)).unwrap();
    followed.until(|cluster| cluster.node_name("id-b") == "node-b").await;
    server.patch(Resource::CsiNodes, "node-b", &driver(Value::Null)).unwrap();
    followed.until(|cluster| cluster.node_name("id-b") == "id-b").await;
    assert_eq!(server.requests(), [""; 0], "all by the watches that were open");
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_time_is_over_goes_on_where_it_was() {
    let server = ApiServer::new();
    attach(&server, 1, "node-a", 1);
    let mut followed = Followed::of(&server);
    followed.until(|_| true).await;
    sleep(Duration::from_secs(1)).await;
    server.requests();
    sleep(Duration::from_mins(30)).await;
    let requests = server.requests();
    assert_eq!(lists(&requests), 0, "{requests:#?}");
    assert!((4 * 3..=4 * 6).contains(&requests.len()), "one each 5 to 10 minutes: {requests:#?}");
    assert_eq!(followed.ask(Cluster::cut_since), None);
    server.end_watches();
    attach(&server, 2, "node-a", 2);
    followed.until(|cluster| wanted(cluster, 2) == 1).await;
    assert_eq!(lists(&server.requests()), 0);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_spare_a_quiet_kind_from_being_listed_again() {
    let server = ApiServer::new();
    let mut followed = Followed::of(&server);
    followed.until(|_| true).await;
    for number in 0..5 {
        node(&server, &format!("node-{number}"), &Value::Null);
    }
    sleep(Duration::from_secs(100)).await; // longer than from one bookmark to the next
    server.compact();
    server.requests();
    server.end_watches();
    attach(&server, 1, "node-1", 1);
    followed.until(|cluster| wanted(cluster, 1) == 1).await;
    let requests = server.requests();
    assert_eq!((lists(&requests), requests.len()), (0, 4), "{requests:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_listed_again_at_once() {
    let server = ApiServer::new();
    attach(&server, 1, "node-a", 1);
    let mut followed = Followed::of(&server);
    followed.until(|_| true).await;
    sleep(Duration::from_secs(1)).await;
    server.requests();
    server.delete(Resource::VolumeAttachments, "csi-1").unwrap();
    server.patch(Resource::VolumeAttachments, "csi-1", &json!({"metadata": {"finalizers": []}})).unwrap();
    attach(&server, 2, "node-a", 2);
    // The watches end before they have told it, and it is forgotten.
    server.end_watches();
    server.compact();
    let before = tokio::time::Instant::now();
    followed.until(|cluster| wanted(cluster, 2) == 1 && cluster.cut_since().is_none()).await;
    assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());
    assert_eq!(followed.ask(|cluster| (wanted(cluster, 1), luns(cluster, "node-a"))), (0, vec![2]));
    assert!(lists(&server.requests()) >= 2, "attachments and volumes");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_expires_between_its_pages_is_begun_again() {
    let server = ApiServer::new();
    for number in 0..600 {
        attach(&server, number, "node-a", 0);
    }
    server.slow_down(Duration::from_secs(2));
    let mut followed = Followed::of(&server);
    sleep(Duration::from_secs(3)).await; // the first page is there, the second is asked for
    server.compact();
    followed.until(|cluster| luns(cluster, "node-a").len() == 600).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_leaves_the_view_as_it_was_and_is_told() {
    let server = ApiServer::new();
    attach(&server, 1, "node-a", 1);
    let mut followed = Followed::of(&server);
    followed.until(|_| true).await;
    sleep(Duration::from_secs(1)).await;
    server.requests();
    let begin = tokio::time::Instant::now();
    server.go_down();
    followed.until(|cluster| cluster.cut_since().is_some()).await;
    attach(&server, 2, "node-a", 2);
    server.delete(Resource::PersistentVolumes, "pvc-1").unwrap();
    sleep(Duration::from_mins(10)).await;
    assert_eq!(followed.ask(|cluster| luns(cluster, "node-a")), [1], "as it was");
    assert_eq!(followed.ask(Cluster::cut_since), Some(begin));
    let tries = server.requests().len();
    assert!((4 * 20..=4 * 50).contains(&tries), "at most each 15 s, at least each 30 s: {tries}");
    server.come_back();
    followed.until(|cluster| cluster.cut_since().is_none()).await;
    assert_eq!(followed.ask(|cluster| luns(cluster, "node-a")), [1, 2]);
    assert_eq!(followed.ask(|cluster| cluster.claims(&disk(1)).unresolved.len()), 1, "its volume went");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_half_read_changes_nothing() {
    let server = ApiServer::new();
    attach(&server, 1, "node-a", 1);
    let mut followed = Followed::of(&server);
    followed.until(|_| true).await;
    sleep(Duration::from_secs(1)).await;
    server.cut_watches();
    attach(&server, 2, "node-a", 2);
    followed.until(|cluster| wanted(cluster, 2) == 1 && cluster.cut_since().is_none()).await;
    assert_eq!(followed.ask(|cluster| luns(cluster, "node-a")), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_server_restored_from_a_backup_is_believed() {
    let server = ApiServer::new();
    for number in 0..20 {
        attach(&server, number, "node-a", number);
    }
    let mut followed = Followed::of(&server);
    followed.until(|_| true).await;
    server.go_down();
    sleep(Duration::from_secs(5)).await;
    server.restore_at(10);
    server.come_back();
    followed.until(|cluster| cluster.cut_since().is_none()).await;
    // Its version is below what was reached before: a watch from there would not tell it.
    attach(&server, 20, "node-a", 20);
    followed.until(|cluster| wanted(cluster, 20) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_later_is_left_alone_until_then() {
    let server = ApiServer::new();
    server.refuse(4, 429); // which says: in seven seconds
    let mut followed = Followed::of(&server);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(server.requests().len(), 4);
    followed.until(|_| true).await;
    server.end_watches();
    server.refuse(40, 403);
    followed.until(|cluster| cluster.cut_since().is_some()).await;
    followed.until(|cluster| cluster.cut_since().is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_always_too_short_does_not_make_a_storm() {
    let server = ApiServer::new();
    let mut followed = Followed::of(&server);
    followed.until(|_| true).await;
    sleep(Duration::from_secs(1)).await;
    server.requests();
    server.refuse(100_000, 410);
    server.end_watches();
    sleep(Duration::from_mins(10)).await;
    let tries = server.requests().len();
    assert!((4 * 20..=4 * 50).contains(&tries), "{tries}");
}

/// The way of the whole driver: a kubeconfig, http, and a watch over a real connection.
#[tokio::test]
async fn the_view_over_http() {
    let server = ApiServer::new();
    server.expect_token("hunter2");
    attach(&server, 1, "node-a", 1);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(server.clone(), listener));
    let folder = tempfile::tempdir().unwrap();
    let file = world::kubeconfig(folder.path(), address);
    let (mut view, running) = opened(&file);
    let running = tokio::spawn(running);
    let wait =
        view.wait_for(|view| matches!(view.standing(), Standing::Synced(cluster) if wanted(cluster, 1) == 1));
    drop(wait.await.unwrap());
    attach(&server, 2, "node-a", 2);
    let wait =
        view.wait_for(|view| matches!(view.standing(), Standing::Synced(cluster) if wanted(cluster, 2) == 1));
    drop(wait.await.unwrap());
    running.abort();
    serving.abort();
}

fn opened(
    kubeconfig: &std::path::Path,
) -> (tokio::sync::watch::Receiver<azuredisk_csi::kube::cluster::ClusterView>, impl Future<Output = ()> + use<>)
{
    let origin = Origin::Kubeconfig(kubeconfig.to_owned());
    let (view, feeds) = follow(origin, DRIVER, 7, |access| {
        let api = HttpApi::new(access.trust, "azuredisk-csi/test");
        Client::new(std::sync::Arc::new(api), access.server, access.login)
    });
    (view, feeds.run())
}

/// Reads only; whatever is in that cluster.
#[tokio::test]
async fn the_view_of_a_real_api_server() {
    let Some(kubeconfig) = std::env::var_os("KUBECONFIG") else {
        eprintln!("skipped: KUBECONFIG names no API server");
        return;
    };
    let (mut view, running) = opened(kubeconfig.as_ref());
    let running = tokio::spawn(running);
    let complete = view.wait_for(|view| matches!(view.standing(), Standing::Synced(_)));
    let complete = tokio::time::timeout(Duration::from_mins(1), complete).await;
    assert!(complete.is_ok_and(|found| found.is_ok()), "never complete");
    running.abort();
}
