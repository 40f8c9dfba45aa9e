//! Long-running operations: what an answer says about them, and how often to ask. Pure; `client` acts.
//!
//! ```text
//!  accepted ──▶ Azure-AsyncOperation given: poll it ──▶ status Succeeded | Failed | Canceled
//!          └──▶ 202 with Location:          poll it ──▶ anything but 202 ends it
//!          └──▶ provisioningState not final: read the resource until it is
//! ```
//! Azure answers HTTP 200 to a poll whatever became of the operation: a Failed or Canceled in the body is
//! the failure. An operation that Azure no longer knows is judged by its resource.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::error::body::{self, Fault};
use crate::model::ProvisioningState;

/// Where to ask next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// The operation's own document, at this URL.
    Operation(String),
    /// The result, at this URL, once there is one.
    Location(String),
    /// The resource's `provisioningState`.
    Resource,
}

/// What an answer says of the operation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Progress {
    /// It goes on; ask here.
    Running(Watch),
    /// It ended well, with this document if the answer has it.
    Done(Option<Value>),
    /// It ended otherwise.
    Failed {
        /// What Azure says of it.
        fault: Fault,
        /// Whether it was ended from outside.
        is_canceled: bool,
    },
}

/// Reads the answer to the write that started it.
pub(crate) fn accepted(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Progress {
    let url = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let Some(url) = url("azure-asyncoperation") {
        return Progress::Running(Watch::Operation(url));
    }
    if status == StatusCode::ACCEPTED
        && let Some(url) = url("location")
    {
        return Progress::Running(Watch::Location(url));
    }
    resource(body)
}

/// Reads the answer, one of success, to a poll of `watch`.
pub(crate) fn polled(watch: &Watch, status: StatusCode, body: &[u8]) -> Progress {
    match watch {
        Watch::Operation(_) => operation(watch, body),
        Watch::Location(_) if status == StatusCode::ACCEPTED => Progress::Running(watch.clone()),
        Watch::Location(_) => Progress::Done(serde_json::from_slice(body).ok()),
        Watch::Resource => resource(body),
    }
}

/// The operation's own document.
fn operation(watch: &Watch, body: &[u8]) -> Progress {
    let document: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let status = document.get("status").and_then(Value::as_str).map(ProvisioningState::from);
    match status {
        Some(ProvisioningState::Succeeded) => Progress::Done(document.pointer("/properties/output").cloned()),
        Some(state @ (ProvisioningState::Failed | ProvisioningState::Canceled)) => {
            failed(&document, state == ProvisioningState::Canceled)
        }
        _ => Progress::Running(watch.clone()),
    }
}

/// A resource: its `provisioningState`; none means that it is as it should be.
fn resource(body: &[u8]) -> Progress {
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return Progress::Done(None) };
    let state = document.pointer("/properties/provisioningState").and_then(Value::as_str);
    match state.map(ProvisioningState::from) {
        None | Some(ProvisioningState::Succeeded) => Progress::Done(Some(document)),
        Some(ProvisioningState::Failed) => failed(&document, false),
        Some(ProvisioningState::Canceled) => failed(&document, true),
        Some(_) => Progress::Running(Watch::Resource),
    }
}

fn failed(document: &Value, is_canceled: bool) -> Progress {
    let mut fault = document.get("error").map_or_else(Fault::default, body::of);
    if fault.message.is_empty() {
        let word = if is_canceled { "canceled" } else { "failed" };
        fault.message = format!("the operation was {word}; Azure gave no reason");
    }
    Progress::Failed { fault, is_canceled }
}

/// When to poll next: as often as Azure's bucket of polls per operation allows (45, and 15 more per minute:
/// "Compute throttling limits"), so a short operation is seen to end within 0.3 s and a long one never gets a 429.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    tokens: f64,
    polled: bool,
}

/// Polls that Azure allows at once.
const BUCKET: f64 = 45.0;
/// Polls that it gives back each second.
const REFILL: f64 = 0.25;
/// Kept back: another process may watch the same operation.
const RESERVE: f64 = 15.0;
/// Between two polls while the bucket lasts.
const QUICK: Duration = Duration::from_millis(300);
/// Between two polls that the refill sustains.
const STEADY: Duration = Duration::from_secs(4);

impl Pace {
    /// A full bucket.
    pub(crate) fn new() -> Pace {
        Pace { tokens: BUCKET, polled: false }
    }

    /// How long to wait before the next poll: not at all before the first, never less than Azure asked.
    pub(crate) fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let pause = match (self.polled, self.tokens - 1.0 > RESERVE) {
            (false, _) => Duration::ZERO,
            (true, true) => QUICK,
            (true, false) => STEADY,
        };
        let pause = pause.max(asked.unwrap_or_default());
        self.polled = true;
        self.tokens = (self.tokens - 1.0 + pause.as_secs_f64() * REFILL).min(BUCKET);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        rows.iter().map(pair).collect()
    }

    #[test]
    fn an_accepted_write_says_where_to_ask() {
        let updating = br#"{"properties":{"provisioningState":"Updating"}}"#.as_slice();
        let done = br#"{"properties":{"provisioningState":"Succeeded"}}"#.as_slice();
        let both = [("azure-asyncoperation", "https://a/op"), ("location", "https://a/loc")];
        let operation = Progress::Running(Watch::Operation("https://a/op".to_owned()));
        let location = Progress::Running(Watch::Location("https://a/loc".to_owned()));
        let rows = [
            (200, headers(&both), updating, operation.clone()),
            (202, headers(&both), b"".as_slice(), operation),
            (202, headers(&both[1..]), b"".as_slice(), location),
            (200, headers(&[]), updating, Progress::Running(Watch::Resource)),
            (200, headers(&[]), done, Progress::Done(serde_json::from_slice(done).ok())),
            (204, headers(&[]), b"".as_slice(), Progress::Done(None)),
        ];
        for (status, headers, body, expected) in rows {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(accepted(status, &headers, body), expected, "{status} {headers:?}");
        }
    }

    #[test]
    fn http_200_with_failed_is_a_failure() {
        let watch = Watch::Operation("https://a/op".to_owned());
        let ask = |body: &str| polled(&watch, StatusCode::OK, body.as_bytes());
        assert_eq!(ask(r#"{"status":"InProgress"}"#), Progress::Running(watch.clone()));
        assert_eq!(ask(r#"{"status":"Unheard"}"#), Progress::Running(watch.clone()));
        assert_eq!(ask("not json"), Progress::Running(watch.clone()));
        assert_eq!(ask(r#"{"status":"succeeded"}"#), Progress::Done(None));
        let failed = ask(r#"{"status":"Failed","error":{"code":"OperationPreempted","message":"m"}}"#);
        let Progress::Failed { fault, is_canceled: false } = failed else { panic!("{failed:?}") };
        assert_eq!((fault.code.as_deref(), fault.message.as_str()), (Some("OperationPreempted"), "m"));
        let canceled = ask(r#"{"status":"Canceled"}"#);
        assert!(matches!(canceled, Progress::Failed { is_canceled: true, .. }), "{canceled:?}");
    }

    #[test]
    fn polling_is_quick_at_first_and_never_more_than_azure_sustains() {
        let mut pace = Pace::new();
        assert_eq!(pace.pause(None), Duration::ZERO);
        assert_eq!(pace.pause(None), QUICK);
        let (mut spent, mut clock) = (2.0, 0.3);
        for _ in 0..1000 {
            clock += pace.pause(None).as_secs_f64();
            spent += 1.0;
            assert!(spent <= BUCKET + clock * REFILL, "{spent} polls in {clock} s");
        }
        assert_eq!(pace.pause(None), STEADY);
    }

    #[test]
    fn retry_after_is_the_earliest_next_poll() {
        let asked = Some(Duration::from_secs(9));
        let mut pace = Pace::new();
        assert_eq!(pace.pause(asked), Duration::from_secs(9));
        assert_eq!(pace.pause(asked), Duration::from_secs(9));
        assert_eq!(pace.pause(Some(Duration::from_millis(1))), QUICK);
    }
}
