//! One open watch: says what happened since its version, a bookmark when nothing did, and ends with its time.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::door::Lost;
use super::resource::Resource;
use super::{ApiServer, BOOKMARKS};

/// See the file.
pub(super) struct Watching {
    server: ApiServer,
    changed: watch::Receiver<()>,
    resource: Resource,
    namespace: String,
    version: u64,
    has_bookmarks: bool,
    bookmark: Instant,
    end: Instant,
    /// How often watches had been ended and cut when this one began.
    ended: u64,
    cut: u64,
    hung: u64,
    is_over: bool,
}

/// How a watch is asked for.
pub(super) struct Asked {
    pub(super) resource: Resource,
    pub(super) namespace: String,
    pub(super) version: u64,
    pub(super) has_bookmarks: bool,
    pub(super) lasting: Duration,
}

impl Watching {
    pub(super) fn new(server: &ApiServer, asked: Asked) -> Watching {
        let changed = server.shared.changed.subscribe();
        let now = Instant::now();
        let (ended, cut, hung) = {
            let state = server.state();
            (state.faults.ended, state.faults.cut, state.faults.hung)
        };
        Watching {
            server: server.clone(),
            changed,
            resource: asked.resource,
            namespace: asked.namespace,
            version: asked.version,
            has_bookmarks: asked.has_bookmarks,
            bookmark: now + BOOKMARKS,
            end: now + asked.lasting,
            ended,
            cut,
            hung,
            is_over: false,
        }
    }

    /// The next lines; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Lost>> {
        loop {
            if self.server.state().faults.hung > self.hung {
                std::future::pending::<()>().await;
            }
            self.changed.mark_unchanged();
            if let Some(said) = self.now() {
                return said;
            }
            let wake = if self.has_bookmarks { self.end.min(self.bookmark) } else { self.end };
            tokio::select! {
                _ = self.changed.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// What is to be said at this moment, if anything.
    #[expect(clippy::option_option, reason = "nothing to say is not the end")]
    fn now(&mut self) -> Option<Option<Result<Bytes, Lost>>> {
        let now = Instant::now();
        let state = self.server.state();
        if self.is_over {
            return Some(None);
        }
        if state.faults.cut > self.cut {
            // Half a line first, as a connection that breaks leaves it.
            self.cut = u64::MAX;
            return Some(Some(Ok(Bytes::from_static(b"{\"type\":\"ADDED\",\"object\":{\"meta"))));
        }
        if self.cut == u64::MAX {
            self.is_over = true;
            return Some(Some(Err(Lost)));
        }
        if state.faults.ended > self.ended || now >= self.end {
            return Some(None);
        }
        match state.store.since(self.resource, &self.namespace, self.version) {
            Err(refusal) => {
                self.is_over = true;
                Some(Some(Ok(lines(&[json!({"type": "ERROR", "object": refusal.body()})]))))
            }
            Ok((said, version)) => {
                self.version = version;
                if !said.is_empty() {
                    self.bookmark = now + BOOKMARKS;
                    return Some(Some(Ok(lines(&said))));
                }
                if !self.has_bookmarks || now < self.bookmark {
                    return None;
                }
                self.bookmark = now + BOOKMARKS;
                let metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
                let object = json!({"kind": self.resource.kind(), "apiVersion": self.resource.api_version(),
                    "metadata": metadata, "spec": {}});
                Some(Some(Ok(lines(&[json!({"type": "BOOKMARK", "object": object})]))))
            }
        }
    }
}

fn lines(said: &[Value]) -> Bytes {
    let mut text: Vec<u8> = Vec::new();
    for line in said {
        text.extend_from_slice(line.to_string().as_bytes());
        text.push(b'\n');
    }
    text.into()
}
