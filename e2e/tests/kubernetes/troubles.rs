//! What keeps a view from being followed, and how that shows: missing permissions, silence, answers that are none.

use std::sync::Arc;
use std::time::Duration;

use azuredisk_csi::kube::api::{Answer, Api, Body, BoxFuture, TransportError};
use azuredisk_csi::kube::cluster::{Cluster, Kind, Standing};
use azuredisk_csi::kube::{Client, Login};
use bytes::Bytes;
use e2e::kubernetes::{ApiServer, Resource};
use tokio::time::{Instant, sleep};

use super::world::{Followed, attach, lists};
use super::{luns, wanted};

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_listed_is_named_until_it_may() {
    let server = ApiServer::new();
    server.forbid("list", Resource::Nodes);
    let mut followed = Followed::of(&server);
    sleep(Duration::from_mins(10)).await;
    {
        let view = followed.view.borrow();
        assert!(matches!(view.standing(), Standing::NotYet));
        assert_eq!(Kind::ALL.map(|kind| view.is_forbidden(kind)), [false, true, false, false]);
    }
    server.allow();
    followed.until(|cluster| cluster.cut_since().is_none()).await;
    assert!(!followed.view.borrow().is_forbidden(Kind::Nodes));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_be_listed_and_not_watched_is_cut_off() {
    let server = ApiServer::new();
    attach(&server, 1, "node-a", 1);
    server.forbid("watch", Resource::VolumeAttachments);
    let mut followed = Followed::of(&server);
    sleep(Duration::from_mins(10)).await;
    assert!(followed.view.borrow().is_forbidden(Kind::VolumeAttachments));
    assert!(followed.ask(|cluster| cluster.cut_since().is_some()), "never heard of");
    assert_eq!(followed.ask(|cluster| wanted(cluster, 1)), 1, "and listed again and again");
    server.allow();
    followed.until(|cluster| cluster.cut_since().is_none()).await;
    assert!(!followed.view.borrow().is_forbidden(Kind::VolumeAttachments));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_has_gone_silent_is_given_up() {
    let server = ApiServer::new();
    let mut followed = Followed::of(&server);
    sleep(Duration::from_secs(100)).await; // bookmarks have come by now
    assert_eq!(lists(&server.requests()), 4);
    server.hang_watches();
    let begin = Instant::now();
    attach(&server, 1, "node-a", 1);
    followed.until(|cluster| wanted(cluster, 1) == 1 && cluster.cut_since().is_none()).await;
    assert!(begin.elapsed() < Duration::from_mins(4), "{:?}", begin.elapsed());
    // And if the server is not there when the silence is noticed, the view knows when it began.
    sleep(Duration::from_secs(100)).await;
    server.hang_watches();
    let begin = Instant::now();
    server.go_down();
    followed.until(|cluster| cluster.cut_since().is_some()).await;
    assert!(begin.elapsed() > Duration::from_mins(1), "nobody told");
    assert!(followed.ask(Cluster::cut_since) <= Some(begin));
}

#[tokio::test(start_paused = true)]
async fn a_view_that_nobody_follows_any_more_says_so() {
    let server = ApiServer::new();
    attach(&server, 1, "node-a", 1);
    let mut followed = Followed::of(&server);
    followed.until(|cluster| cluster.cut_since().is_none()).await;
    followed.end();
    followed.until(|cluster| cluster.cut_since().is_some()).await;
    assert_eq!(followed.ask(|cluster| luns(cluster, "node-a")), [1]);
}

/// Answers everything with this text.
struct Says(&'static str);

impl Api for Says {
    fn send(&self, _: http::Request<Bytes>) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let text = Some(Bytes::from_static(self.0.as_bytes()));
        Box::pin(async move { Ok(http::Response::new(Box::new(Text(text)) as Box<dyn Body>)) })
    }
}

struct Text(Option<Bytes>);

impl Body for Text {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>> {
        let text = self.0.take();
        Box::pin(async move { Ok(text) })
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_is_not_an_empty_one() {
    for text in [r#"{"metadata":{}}"#, r#"{"metadata":{"resourceVersion":""},"items":[]}"#, "{}", ""] {
        let client = Client::new(Arc::new(Says(text)), "https://10.0.0.1".parse().unwrap(), Login::None);
        let followed = Followed::by(client);
        sleep(Duration::from_mins(10)).await;
        assert!(matches!(followed.view.borrow().standing(), Standing::NotYet), "{text}");
    }
}
