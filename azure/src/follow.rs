//! Writes, and the following of what Azure accepted to its end.
//!
//! **Invariants:** what is wrong with a poll never fails the operation, unless it would stay wrong; polls are
//! not repeated on their own, so that [`Pace`] counts every one; an error after the accept carries the ids
//! that Azure gave the write.

use std::time::Duration;

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::Deadline;
use crate::ask::Ask;
use crate::client::{Answer, Arm, Unanswered, described, patience, unreadable};
use crate::error::body::{self, Fault};
use crate::error::{Effect, Error, ErrorKind, code};
use crate::gates::draw::Draw;
use crate::gates::facts::Facts;
use crate::operation::{self, Progress, Watch};
use crate::pace::Pace;
use crate::retry::retry_after;

impl Arm {
    /// Writes, and follows what Azure accepted to its end. The document is the resource as it is then, if
    /// an answer had it.
    pub(crate) async fn write(&self, ask: &Ask<'_>) -> Result<Option<Value>, Error> {
        let accepted = self.send(ask, &self.url(ask)?).await?;
        let deadline = ask.deadline.max(ask.follow);
        let mut asked = retry_after(&accepted.headers);
        let mut progress =
            operation::accepted(&ask.method, accepted.status, &accepted.headers, &accepted.body);
        let mut pace = Pace::new();
        let mut under_way = None;
        loop {
            let watch = match progress {
                Progress::Done(document) => return Ok(document),
                Progress::Failed { fault, is_canceled } => {
                    return Err(failed(ask, fault, is_canceled, &accepted));
                }
                Progress::Running(watch) => watch,
            };
            let poll = Ask::poll(ask.subject, ask.query, deadline);
            let url = match &watch {
                Watch::Operation(url) | Watch::Location(url) => self.same_host(ask, url)?,
                Watch::Resource | Watch::Absence => self.url(&poll)?,
            };
            let draw = Draw::of(&poll.method, url.path());
            let pause = pace.pause(asked);
            let least = self.closed(&draw).unwrap_or_default().max(asked.unwrap_or_default());
            let under_way = under_way.get_or_insert_with(|| self.under_way(ask.subject));
            let has_time = match under_way {
                Some(under_way) => under_way.rest(pause, least, deadline).await,
                None => rested(pause.max(least), deadline).await,
            };
            if !has_time || !self.has_turn(&draw, deadline).await {
                let message = "it was accepted and goes on; the time for this call is over".to_owned();
                let fault = Fault { message, ..Fault::default() };
                return Err(described(ask, ErrorKind::Timeout, fault, Effect::Possible, &accepted));
            }
            (progress, asked) = self.poll(ask, &poll, &url, watch, &mut pace).await?;
        }
    }

    /// Writes a resource, and tells it as it is then: by the document that came with the end of the
    /// operation, or else by `read`. The write was done, whatever becomes of that read.
    pub(crate) async fn written<T: DeserializeOwned>(
        &self,
        ask: &Ask<'_>,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self.write(ask).await? {
            Some(document) if document.get("id").is_some() => {
                serde_json::from_value(document).map_err(|error| unreadable(ask, error))
            }
            _ => read.await.map_err(Error::possibly_done),
        }
    }

    /// Deletes; what is not there counts as deleted. An operation that failed because *something* was not
    /// found is no proof of that.
    pub(crate) async fn deleted(&self, ask: &Ask<'_>) -> Result<(), Error> {
        match self.write(ask).await {
            Err(error) if error.kind() == ErrorKind::NotFound && error.status() == Some(404) => Ok(()),
            outcome => outcome.map(|_| ()),
        }
    }

    /// Waits as `pace` says before the next look at something that goes on.
    pub(crate) async fn rest(
        &self,
        operation: &'static str,
        path: &str,
        pace: &mut Pace,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if rested(pace.pause(None), deadline).await {
            return Ok(());
        }
        let text = "it goes on; the time for this call is over";
        Err(Error::new(ErrorKind::Timeout, operation, path, text, Effect::Possible))
    }

    /// One poll of a write, and the pause that Azure asks for.
    async fn poll(
        &self,
        ask: &Ask<'_>,
        poll: &Ask<'_>,
        url: &Url,
        watch: Watch,
        pace: &mut Pace,
    ) -> Result<(Progress, Option<Duration>), Error> {
        let client_request_id = uuid::Uuid::new_v4().to_string();
        let answer = match self.exchange(poll, url, &client_request_id, &mut patience(poll)).await {
            Ok(answer) => answer,
            Err(Unanswered::Error(error)) if error.kind() == ErrorKind::Unauthenticated => {
                let text = format!("it was accepted and cannot be followed: {}", error.message());
                return Err(ask.error(error.kind(), text, Effect::Possible).caused_by(error));
            }
            Err(_) => return Ok((Progress::Running(watch), None)),
        };
        let asked = retry_after(&answer.headers);
        let facts = Facts::read(answer.status.as_u16(), &answer.headers, &answer.body);
        facts.polls_left.iter().for_each(|left| pace.told(*left));
        if answer.status.is_success() {
            return Ok((operation::polled(&watch, &ask.method, answer.status, &answer.body), asked));
        }
        let fault = body::read(&answer.body);
        let kind = code::kind(answer.status.as_u16(), &fault, asked);
        match operation::unpolled(&watch, &ask.method, kind, &fault) {
            Some(progress) => Ok((progress, asked)),
            None => Err(described(ask, kind, fault, Effect::Possible, &answer)),
        }
    }
}

/// Waits, unless that would be past the deadline.
pub(crate) async fn rested(pause: Duration, deadline: Deadline) -> bool {
    let has_time = pause < deadline.saturating_duration_since(Instant::now());
    if has_time {
        sleep(pause).await;
    }
    has_time
}

fn failed(ask: &Ask<'_>, fault: Fault, is_canceled: bool, accepted: &Answer) -> Error {
    let kind = code::failed_operation(&fault, is_canceled);
    // A failed create leaves a failed resource, a failed attach an entry in the VM's list that its next update
    // carries out, and a newer write may have taken up what it preempted. A failed change or deletion ended
    // without a trace.
    let leaves = [Method::PUT, Method::POST].contains(&ask.method) || kind == ErrorKind::Preempted;
    described(ask, kind, fault, if leaves { Effect::Possible } else { Effect::None }, accepted)
}
