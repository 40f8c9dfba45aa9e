//! A controller as a process: it starts, it is killed, and what it sends goes through a door that the judge watches.
//!
//! After a kill nothing of it reaches Azure and no answer reaches it, as with SIGKILL: its tasks wait for ever, and
//! time out one by one. Whatever Azure took before goes on.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use azure::{AnswerLost, Arm, ArmSettings, FirstWay, Tokens};
use azure_emulator::{CONNECTION_LOST, Emulator, SUBSCRIPTION};
use bytes::Bytes;
use controller::cluster::ClusterView;
use controller::{Controller, Settings};
use http::{Method, Request, Response};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::invariants;
use crate::judge::Judge;

/// Everything up to here is the same in each path.
const PROVIDERS: &str = "/providers/Microsoft.Compute/";

/// A controller, and its line to Azure.
pub(crate) struct Process {
    pub(crate) controller: Controller,
    line: Line,
}

#[derive(Clone)]
struct Line {
    azure: Emulator,
    judge: Judge,
    number: usize,
    is_cut: Arc<AtomicBool>,
}

impl Process {
    /// The controller `number` begins to work; `seed` is for its pauses.
    #[expect(clippy::expect_used, reason = "a constant is a URL, or no test passes")]
    pub(crate) fn start(
        azure: Emulator,
        judge: Judge,
        number: usize,
        seed: u64,
        first_way: FirstWay,
    ) -> Process {
        let line = Line { azure, judge, number, is_cut: Arc::default() };
        let door = line.clone();
        let transport = move |request| door.clone().send(request);
        let settings = ArmSettings {
            endpoint: "https://management.azure.com/".parse().expect("a URL"),
            tokens: Tokens::fixed("token"),
            observer: Arc::new(|_| ()),
            seed,
            user_agent: "chaos".into(),
        };
        let arm = Arm::new(settings, Arc::new(transport));
        let settings = Settings {
            driver: "disk.csi.azure.com".into(),
            subscription: SUBSCRIPTION.into(),
            resource_group: "rg".into(),
            location: "eastus2".into(),
            first_way,
            counters: Arc::default(),
        };
        let (_, cluster) = watch::channel(ClusterView::absent());
        Process { controller: Controller::new(arm, settings, cluster, TaskTracker::new()), line }
    }

    /// From here on it does nothing.
    pub(crate) fn kill(&self) {
        self.line.is_cut.store(true, Ordering::Relaxed);
    }
}

impl Line {
    /// Brings a request to Azure and the answer back. What a write does, it does when it arrives.
    async fn send(self, request: Request<Bytes>) -> Response<Bytes> {
        self.while_alive().await;
        self.judge.count("requests");
        let is_write = request.method() != Method::GET;
        let what = short(&request);
        let before = is_write.then(|| {
            self.judge.found(invariants::nothing_is_forced(request.body()));
            self.judge.facts()
        });
        let mut answer = Box::pin(self.azure.handle(request));
        let arrived = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
        if let Some(before) = before {
            self.judge.wrote(&before, &self.judge.facts());
        }
        let number = self.number;
        if is_write {
            self.judge.note(format_args!("  c{number} sends {what}"));
        }
        let mut response = match arrived {
            Poll::Ready(response) => response,
            Poll::Pending => answer.await,
        };
        self.while_alive().await;
        let is_lost = response.headers().contains_key(CONNECTION_LOST);
        if is_lost {
            response.extensions_mut().insert(AnswerLost);
        }
        let status = if is_lost { 0 } else { response.status().as_u16() };
        self.judge.note(format_args!("  c{number} {what}: {status}{}", state(&response)));
        response
    }

    async fn while_alive(&self) {
        if self.is_cut.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }
}

/// A request as a reader wants it: without the words that are in each, with the disks that a write names.
fn short(request: &Request<Bytes>) -> String {
    let path = request.uri().path();
    let path = path.rsplit_once(PROVIDERS).map_or(path, |(_, rest)| rest);
    let mut text = format!("{} {path}", request.method());
    if path.ends_with("/attachDetachDataDisks") {
        let body = String::from_utf8_lossy(request.body());
        text.push(' ');
        text.push_str(
            &body.replace("/subscriptions/5ab5c71b-0000-4000-8000-000000000001/resourceGroups/rg", ""),
        );
    }
    text
}

/// What a poll says.
fn state(response: &Response<Bytes>) -> &'static str {
    const STATES: [(&str, &[u8]); 3] =
        [("InProgress", b"InProgress"), (" Canceled", b"Canceled"), (" Failed", b"Failed")];
    let body = response.body();
    if body.len() > 1000 {
        return "";
    }
    let words = body.split(|byte| *byte == b'"');
    let said = words.filter_map(|word| STATES.iter().position(|(_, state)| *state == word)).min();
    said.map_or("", |state| STATES[state].0)
}
