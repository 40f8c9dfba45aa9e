//! NodeGetInfo while the machine's metadata service is slow, gone, or back again.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use csi::v1::NodeGetInfoRequest;
use csi::v1::node_server::Node as _;
use node::host::LinuxHost;
use node::{MachineFacts, Node, Settings};
use tokio_util::task::TaskTracker;
use tonic::{Code, Request};

/// A node whose metadata service fails the first `failures` questions; counts them.
fn node(failures: u64) -> (Node, Arc<AtomicU64>) {
    named("node-1", failures)
}

fn named(node_id: &str, failures: u64) -> (Node, Arc<AtomicU64>) {
    limited(node_id, None, failures)
}

fn limited(node_id: &str, attach_limit: Option<u64>, failures: u64) -> (Node, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let facts = Arc::new(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if number < failures {
                return Err(csi::Error::unavailable("no answer"));
            }
            Ok(MachineFacts {
                zone: Some("2".to_owned()),
                region: Some("westeurope".to_owned()),
                vm_size: String::new(),
                max_data_disks: Some(16),
            })
        }) as futures::future::BoxFuture<'static, _>
    });
    let settings =
        Settings { node_id: node_id.to_owned(), driver_name: "disk.csi.azure.com".to_owned(), attach_limit };
    let host = Arc::new(LinuxHost::new("/nowhere", ""));
    (Node::new(settings, host, facts, TaskTracker::new()), asked)
}

/// The zone and the limit that the node tells within ten seconds.
async fn ask(node: &Node) -> Result<(String, i64), Code> {
    let mut request = Request::new(NodeGetInfoRequest {});
    request.metadata_mut().insert("grpc-timeout", "10S".parse().unwrap());
    let answer = node.node_get_info(request).await.map_err(|status| status.code())?.into_inner();
    assert_eq!(answer.node_id, "node-1");
    let zone = answer.accessible_topology.unwrap().segments["topology.disk.csi.azure.com/zone"].clone();
    Ok((zone, answer.max_volumes_per_node))
}

#[tokio::test(start_paused = true)]
async fn facts_are_asked_for_until_they_come_and_then_kept() {
    let (node, asked) = node(3);
    for _ in 0..2 {
        assert_eq!(ask(&node).await, Ok(("westeurope-2".to_owned(), 16)));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_facts_waits_two_minutes_and_then_serves_without() {
    let (node, _) = node(u64::MAX);
    assert_eq!(ask(&node).await, Err(Code::Unavailable));
    tokio::time::advance(Duration::from_mins(2)).await;
    assert_eq!(ask(&node).await, Ok((String::new(), 0)));
}

#[tokio::test(start_paused = true)]
async fn the_operators_limit_holds_with_and_without_facts() {
    let (node, _) = limited("node-1", Some(5), 1);
    tokio::time::advance(Duration::from_mins(3)).await;
    assert_eq!(ask(&node).await, Ok((String::new(), 5)));
    assert_eq!(ask(&node).await, Ok(("westeurope-2".to_owned(), 5)));
}

#[tokio::test(start_paused = true)]
async fn what_was_told_without_facts_is_not_kept() {
    let (node, asked) = node(1);
    tokio::time::advance(Duration::from_mins(3)).await;
    assert_eq!(ask(&node).await, Ok((String::new(), 0)));
    assert_eq!(ask(&node).await, Ok(("westeurope-2".to_owned(), 16)));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_controller_is_no_node() {
    let (controller, asked) = named("", 0);
    assert_eq!(ask(&controller).await, Err(Code::FailedPrecondition));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
