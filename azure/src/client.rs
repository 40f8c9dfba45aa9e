//! The pipeline of every request: sign → send → classify → decide → wait → again. One place, so that every
//! request keeps the same manners. What Azure accepted is followed by `follow`.
//!
//! **Invariants:** nothing is sent at or after the deadline, nor while a gate of the request is closed, and nothing is
//! written for those who have all gone; a token goes to the configured host only; a write that may have been taken is
//! never reported as refused.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use crate::ask::{Ask, READ};
use crate::auth::{TokenErrorKind, Tokens};
use crate::crowd::Crowds;
use crate::error::body::{self, Fault};
use crate::error::{Effect, Error, ErrorKind, code};
use crate::gates::Gates;
use crate::gates::draw::Draw;
use crate::gates::facts::Facts;
use crate::gathering::Gathering;
use crate::model::disk::Disk;
use crate::model::vm::Vm;
use crate::retry::{self, Outcome, Step, retry_after};
use crate::transport::{AnswerLost, Transport, TransportError};

/// Where Azure is, and how to get in.
pub struct ArmSettings {
    /// The Resource Manager's address: `https://management.azure.com/`.
    pub endpoint: Url,
    /// Signs the requests.
    pub tokens: Tokens,
    /// Hears of every request; for metrics.
    pub observer: Observer,
    /// Seeds the pauses between repetitions.
    pub seed: u64,
    /// What the driver calls itself.
    pub user_agent: String,
}

/// Hears of every request that ended.
pub type Observer = Arc<dyn Fn(&Exchange) + Send + Sync>;

/// One request that ended, with an answer or without.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What was tried, in words.
    pub operation: &'static str,
    /// HTTP status; `None`: no answer came.
    pub status: Option<u16>,
    /// From sending to the whole answer.
    pub took: Duration,
}

/// The client. Cheap to clone; no request before the first call.
#[derive(Clone)]
pub struct Arm {
    pub(crate) inner: Arc<Inner>,
    /// See [`Arm::writing_while`].
    is_wanted: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

pub(crate) struct Inner {
    settings: ArmSettings,
    transport: Arc<dyn Transport>,
    chance: Mutex<fastrand::Rng>,
    pub(crate) gates: Mutex<Gates>,
    /// Updates of VMs that are under way.
    pub(crate) crowds: Mutex<Crowds>,
    /// Who waits for a disk.
    pub(crate) disks: Mutex<Gathering<Disk>>,
    /// Who waits for a VM.
    pub(crate) vms: Mutex<Gathering<Vm>>,
}

impl fmt::Debug for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arm")
            .field("endpoint", &self.inner.settings.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }
}

impl Arm {
    /// A client; nothing is asked before its first method is called.
    pub fn new(settings: ArmSettings, transport: Arc<dyn Transport>) -> Arm {
        let chance = Mutex::new(fastrand::Rng::with_seed(settings.seed));
        let (gates, crowds, disks, vms) = Default::default();
        let inner = Arc::new(Inner { settings, transport, chance, gates, crowds, disks, vms });
        Arm { inner, is_wanted: None }
    }

    /// The same client, for somebody who may lose interest: what it is to write while `is_wanted` says no is not sent
    /// (again), and ends as [`ErrorKind::Timeout`]. What Azure accepted is followed all the same.
    ///
    /// A write that waited long for Azure could undo what was asked for in the meantime somewhere else.
    #[must_use]
    pub fn writing_while(&self, is_wanted: impl Fn() -> bool + Send + Sync + 'static) -> Arm {
        Arm { inner: Arc::clone(&self.inner), is_wanted: Some(Arc::new(is_wanted)) }
    }

    /// Reads a document.
    pub(crate) async fn read<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, Error> {
        let answer = self.send(ask, &self.url(ask)?).await?;
        decode(ask, &answer.body)
    }

    /// Reads every page of a list.
    pub(crate) async fn read_all<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        let mut pages = Pages::of(self, ask)?;
        while let Some(page) = pages.next(self).await? {
            items.extend(page);
        }
        Ok(items)
    }

    /// Sends until there is an answer that stands; an answer of success, or an error.
    pub(crate) async fn send(&self, ask: &Ask<'_>, url: &Url) -> Result<Answer, Error> {
        let client_request_id = uuid::Uuid::new_v4().to_string();
        let draw = Draw::of(&ask.method, url.path());
        let mut attempt = 0;
        let mut was_possible = false;
        let mut until = patience(ask);
        loop {
            attempt += 1;
            let sent = self.exchange(ask, url, &client_request_id, &mut until).await;
            let outcome = match &sent {
                // What Azure did not say, its window says; the pause is Azure's, not ours.
                Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => Outcome::Answer {
                    status: 429,
                    retry_after: self.closed(&draw).or(retry_after(&answer.headers)),
                },
                Ok(answer) => Outcome::Answer {
                    status: answer.status.as_u16(),
                    retry_after: retry_after(&answer.headers),
                },
                Err(Unanswered::Error(_)) => Outcome::Hopeless,
                Err(Unanswered::Unsent(_)) => Outcome::Unsent,
                Err(Unanswered::Lost(_)) => Outcome::Lost,
            };
            // A gateway's 408 or 5xx does not say whether the request got through.
            was_possible |= matches!(outcome, Outcome::Lost | Outcome::Answer { status: 408 | 500.., .. });
            let is_throttled = matches!(outcome, Outcome::Answer { status: 429, .. });
            let last = if is_throttled { ask.deadline } else { until.min(ask.deadline) };
            let left = last.saturating_duration_since(Instant::now());
            let left = if is_throttled && !ask.is_patient { Duration::ZERO } else { left };
            match (sent, retry::decide(attempt, outcome, ask.is_repeatable(), left, self.chance())) {
                (Ok(answer), _) if answer.status.is_success() => return Ok(answer),
                (_, Step::Again(pause)) => {
                    until = if is_throttled { later(until, pause) } else { until };
                    sleep(pause).await;
                }
                (Ok(answer), Step::Take) => {
                    return Err(refused(ask, &answer, was_possible, self.closed(&draw)));
                }
                (Err(unanswered), Step::Take) => return Err(self.unanswered(ask, unanswered, was_possible)),
            }
        }
    }

    /// One exchange; if Azure does not accept the token, once more with a new one.
    pub(crate) async fn exchange(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        client_request_id: &str,
        until: &mut Instant,
    ) -> Result<Answer, Unanswered> {
        let first = self.attempt(ask, url, client_request_id, until).await;
        match first {
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => {
                self.attempt(ask, url, client_request_id, until).await
            }
            first => first,
        }
    }

    /// `until`: when all attempts must have ended; put off by what is waited for at a gate or for a token.
    async fn attempt(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        client_request_id: &str,
        until: &mut Instant,
    ) -> Result<Answer, Unanswered> {
        let settings = &self.inner.settings;
        let late = || {
            let text = "the time for this call is over";
            Unanswered::Error(ask.error(ErrorKind::Timeout, text, Effect::None))
        };
        let begun = Instant::now();
        if begun >= ask.deadline {
            return Err(late());
        }
        let draw = Draw::of(&ask.method, url.path());
        self.pass(ask, &draw).await?;
        self.take_turn(ask, &draw).await?;
        let token = timeout_at(ask.deadline, settings.tokens.get(ask.deadline)).await;
        let token = token.map_err(|_| late())?.map_err(|error| {
            let kind = match error.kind() {
                _ if Instant::now() >= ask.deadline => ErrorKind::Timeout,
                TokenErrorKind::Unauthenticated | TokenErrorKind::Misconfigured => ErrorKind::Unauthenticated,
                TokenErrorKind::Unreachable => ErrorKind::Transient,
            };
            let message = format!("no token: {error}");
            Unanswered::Error(ask.error(kind, message, Effect::None).caused_by(error))
        })?;
        // It may have closed meanwhile.
        self.pass(ask, &draw).await?;
        if Instant::now() >= ask.deadline {
            return Err(late());
        }
        if ask.is_write() && self.is_wanted.as_ref().is_some_and(|is_wanted| !is_wanted()) {
            let text = "not sent, since nobody waits for its answer any more";
            return Err(Unanswered::Error(ask.error(ErrorKind::Timeout, text, Effect::None)));
        }
        *until = later(*until, begun.elapsed());
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {}", token.secret())).map_err(|_| {
                let text = "the token holds what no header can";
                Unanswered::Error(ask.error(ErrorKind::Unauthenticated, text, Effect::None))
            })?;
        authorization.set_sensitive(true);
        let request = Request::builder()
            .method(&ask.method)
            .uri(url.as_str())
            .header(http::header::AUTHORIZATION, authorization)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::USER_AGENT, &settings.user_agent)
            .header("x-ms-client-request-id", client_request_id);
        let request = match &ask.if_match {
            Some(etag) => request.header(http::header::IF_MATCH, etag),
            None => request,
        };
        let request = match &ask.body {
            Some(body) => request
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(Bytes::copy_from_slice(body)),
            None => request.body(Bytes::new()),
        };
        let request = request.map_err(|error| {
            let text = "the request cannot be built";
            Unanswered::Error(ask.error(ErrorKind::Protocol, text, Effect::None).caused_by(error))
        })?;

        let start = Instant::now();
        let bound = (start + ask.attempt).min(*until).min(ask.deadline);
        let sent = timeout_at(bound, self.inner.transport.send(request)).await;
        let answer = match sent {
            Ok(Ok(answer)) => arrived(answer),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(TransportError::lost("no answer in time")),
        };
        let status = answer.as_ref().ok().map(|answer| answer.status.as_u16());
        let exchange = Exchange { operation: ask.operation, status, took: start.elapsed() };
        (settings.observer)(&exchange);
        if let Ok(answer) = &answer {
            let facts = Facts::read(answer.status.as_u16(), &answer.headers, &answer.body);
            self.gates().learn(&draw, &facts, Instant::now());
        }
        if status == Some(401) {
            settings.tokens.rejected(&token);
        }
        answer.map_err(
            |error| if error.is_unsent() { Unanswered::Unsent(error) } else { Unanswered::Lost(error) },
        )
    }

    /// The error of a request that has no answer.
    pub(crate) fn unanswered(&self, ask: &Ask<'_>, unanswered: Unanswered, was_possible: bool) -> Error {
        let endpoint = self.inner.settings.endpoint.as_str();
        let effect = if was_possible && ask.is_write() { Effect::Possible } else { Effect::None };
        let error = match unanswered {
            Unanswered::Error(error) if effect == Effect::Possible => return error.possibly_done(),
            Unanswered::Error(error) => return error,
            Unanswered::Unsent(error) | Unanswered::Lost(error) => error,
        };
        let is_late = Instant::now() >= ask.deadline;
        let kind = if is_late { ErrorKind::Timeout } else { ErrorKind::Transient };
        ask.error(kind, format!("no answer from {endpoint}: {error}"), effect).caused_by(error)
    }

    fn chance(&self) -> f64 {
        self.inner.chance.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }

    pub(crate) fn url(&self, ask: &Ask<'_>) -> Result<Url, Error> {
        let relative = format!("{}?{}", ask.path.trim_start_matches('/'), ask.query);
        self.inner.settings.endpoint.join(&relative).map_err(|error| {
            ask.error(ErrorKind::Protocol, "its URL cannot be built", Effect::None).caused_by(error)
        })
    }

    /// A URL that Azure gave us, if it leads back to the host that was asked: the token goes nowhere else.
    pub(crate) fn same_host(&self, ask: &Ask<'_>, url: &str) -> Result<Url, Error> {
        let endpoint = &self.inner.settings.endpoint;
        let elsewhere = || {
            let text = format!("Azure's answer points away from {}, and is not followed", endpoint.as_str());
            ask.error(ErrorKind::Protocol, text, Effect::Possible)
        };
        let parsed = endpoint.join(url).map_err(|_| elsewhere())?;
        let is_plain = parsed.username().is_empty() && parsed.password().is_none();
        if is_plain && parsed.origin() == endpoint.origin() { Ok(parsed) } else { Err(elsewhere()) }
    }
}

/// A list, page by page.
pub(crate) struct Pages<'a> {
    ask: &'a Ask<'a>,
    next: Option<Url>,
    seen: HashSet<Url>,
}

impl<'a> Pages<'a> {
    /// None of it is read yet.
    pub(crate) fn of(arm: &Arm, ask: &'a Ask<'a>) -> Result<Pages<'a>, Error> {
        Ok(Pages { ask, next: Some(arm.url(ask)?), seen: HashSet::new() })
    }

    /// Reads one page; `None` after the last.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self, arm: &Arm) -> Result<Option<Vec<T>>, Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase", bound = "T: DeserializeOwned")]
        struct Page<T> {
            #[serde(default = "Vec::new", deserialize_with = "crate::model::list")]
            value: Vec<T>,
            next_link: Option<String>,
        }
        let Some(url) = self.next.take() else { return Ok(None) };
        if !self.seen.insert(url.clone()) {
            let text = "Azure's list leads back to a page that was read already";
            return Err(self.ask.error(ErrorKind::Protocol, text, Effect::None));
        }
        let answer = arm.send(self.ask, &url).await?;
        let page: Page<T> = decode(self.ask, &answer.body)?;
        if let Some(link) = page.next_link.filter(|link| !link.is_empty()) {
            self.next = Some(arm.same_host(self.ask, &link)?);
        }
        Ok(Some(page.value))
    }
}

/// When all attempts must have ended, if nothing has to be waited for.
pub(crate) fn patience(ask: &Ask<'_>) -> Instant {
    if ask.is_write() { ask.deadline } else { ask.deadline.min(Instant::now() + READ) }
}

fn later(moment: Instant, by: Duration) -> Instant {
    moment.checked_add(by).unwrap_or(moment)
}

/// Why an attempt has no answer.
pub(crate) enum Unanswered {
    /// It was not made: no token, or no time.
    Error(Error),
    /// It surely did not arrive.
    Unsent(TransportError),
    /// It may have arrived.
    Lost(TransportError),
}

fn arrived(answer: Response<Bytes>) -> Result<Answer, TransportError> {
    let (parts, body) = answer.into_parts();
    if parts.extensions.get::<AnswerLost>().is_some() {
        return Err(TransportError::lost("the connection broke before the answer"));
    }
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

/// `closed`: how long Azure refuses such requests, if its answer does not say.
fn refused(ask: &Ask<'_>, answer: &Answer, was_possible: bool, closed: Option<Duration>) -> Error {
    let fault = body::read(&answer.body);
    let kind = code::kind(answer.status.as_u16(), &fault, retry_after(&answer.headers).or(closed));
    // Whoever was not sure whether the request got through said so in `was_possible`.
    let is_definite = answer.status.is_client_error() && !was_possible;
    described(ask, kind, fault, if is_definite { Effect::None } else { Effect::Possible }, answer)
}

/// An error with what the answer says of it.
pub(crate) fn described(
    ask: &Ask<'_>,
    kind: ErrorKind,
    fault: Fault,
    effect: Effect,
    answer: &Answer,
) -> Error {
    let (request, correlation) =
        (answer.header("x-ms-request-id"), answer.header("x-ms-correlation-request-id"));
    // A failed operation was accepted with a status of success, which would say nothing here.
    let status = Some(answer.status).filter(|status| !status.is_success()).map(|status| status.as_u16());
    ask.error(kind, fault.message, effect).with_answer(status, fault.code, fault.target, request, correlation)
}

pub(crate) fn decode<T: DeserializeOwned>(ask: &Ask<'_>, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| unreadable(ask, error))
}

pub(crate) fn unreadable(ask: &Ask<'_>, error: serde_json::Error) -> Error {
    let text = format!("Azure's answer cannot be read: {error}");
    ask.error(ErrorKind::Protocol, text, Effect::Possible).caused_by(error)
}
