//! What the view of a large cluster costs: ten thousand attachments, as long as Kubernetes writes them, through the
//! real client and feeds, in a process of its own. Prints what it took.
#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

use std::fmt::Write as _;
use std::sync::Arc;

use azuredisk_csi::kube::api::{Answer, Api, Body, BoxFuture, TransportError};
use azuredisk_csi::kube::cluster::Standing;
use azuredisk_csi::kube::{Client, Feeds, Login};
use bytes::Bytes;
use tokio::time::Instant;

const ATTACHMENTS: usize = 10_000;
const NODES: usize = 500;
/// All of the process: program, threads, buffers and the view.
const MOST_RSS: u64 = 30 << 10;

/// An API server that makes up its pages when they are asked for, and whose watches are silent.
struct Large;

impl Api for Large {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let query = request.uri().query().unwrap_or_default();
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let body = if value("watch").is_some() {
            Rest::Silent
        } else {
            let from: usize = value("continue").map_or(0, |text| text.parse().unwrap());
            let limit: usize = value("limit").unwrap().parse().unwrap();
            Rest::Page(Some(page(request.uri().path(), from, limit).into()))
        };
        Box::pin(async move { Ok(http::Response::new(Box::new(body) as Box<dyn Body>)) })
    }
}

enum Rest {
    Page(Option<Bytes>),
    Silent,
}

impl Body for Rest {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>> {
        match self {
            Rest::Page(page) => {
                let page = page.take();
                Box::pin(async move { Ok(page) })
            }
            Rest::Silent => Box::pin(std::future::pending()),
        }
    }
}

fn page(path: &str, from: usize, limit: usize) -> String {
    let kind = path.rsplit('/').next().unwrap();
    let all = if kind.ends_with("nodes") { NODES } else { ATTACHMENTS };
    let end = all.min(from + limit);
    let next = if end < all { format!(r#","continue":"{end}""#) } else { String::new() };
    let mut text = format!(r#"{{"kind":"List","metadata":{{"resourceVersion":"77"{next}}},"items":["#);
    for number in from..end {
        let comma = if number > from { "," } else { "" };
        write!(text, "{comma}{}", object(kind, number)).unwrap();
    }
    text + "]}"
}

fn disk(number: usize) -> String {
    format!(
        "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/MC_group_cluster_eastus2\
         /providers/Microsoft.Compute/disks/pvc-{number:08x}-1111-4222-8333-444455556666"
    )
}

fn object(kind: &str, number: usize) -> String {
    // As much as the API server keeps about who wrote which field.
    let managed = "x".repeat(if kind == "nodes" { 8000 } else { 900 });
    let volume = format!("pvc-{number:08x}-1111-4222-8333-444455556666");
    let node = format!("aks-nodepool1-12345678-vmss{:06}", number % NODES);
    let name = match kind {
        "volumeattachments" => format!("csi-{number:064x}"),
        "persistentvolumes" => volume.clone(),
        _ => node.clone(),
    };
    let rest = match kind {
        "volumeattachments" => format!(
            r#""spec":{{"attacher":"disk.csi.azure.com","nodeName":"{node}","source":{{"persistentVolumeName":"{volume}"}}}},
               "status":{{"attached":true,"attachmentMetadata":{{"LUN":"{}"}}}}"#,
            number / NODES
        ),
        "persistentvolumes" => {
            format!(r#""spec":{{"csi":{{"driver":"disk.csi.azure.com","volumeHandle":"{}"}}}}"#, disk(number))
        }
        "nodes" => format!(r#""spec":{{"providerID":"azure://{}"}}"#, disk(number)),
        _ => format!(r#""spec":{{"drivers":[{{"name":"disk.csi.azure.com","nodeID":"{node}"}}]}}"#),
    };
    format!(r#"{{"metadata":{{"name":"{name}","managedFields":[{{"manager":"{managed}"}}]}},{rest}}}"#)
}

fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn ten_thousand_attachments_fit() {
    let before = rss_kib();
    let client = Client::new(Arc::new(Large), "https://10.0.0.1".parse().unwrap(), Login::None);
    let (mut view, feeds) = Feeds::of_client(client, "disk.csi.azure.com", 7);
    let running = tokio::spawn(feeds.run());
    view.wait_for(|view| matches!(view.standing(), Standing::Synced(_))).await.unwrap();
    let after = rss_kib();
    let view = view.borrow().clone();
    let Standing::Synced(cluster) = view.standing() else { panic!("complete a moment ago") };
    let begin = Instant::now();
    for number in 0..100 {
        assert_eq!(cluster.claims(&disk(number * 97)).wanting.len(), 1);
        assert_eq!(cluster.luns("aks-nodepool1-12345678-vmss000007").len(), ATTACHMENTS / NODES);
    }
    let each = begin.elapsed() / 200;
    println!("{ATTACHMENTS} attachments: {before} KiB before, {after} KiB after, {each:?} for a question");
    assert!(after < MOST_RSS, "{after} KiB");
    running.abort();
}
