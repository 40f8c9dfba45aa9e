//! Long-running operations: what an answer says about them. Pure; `follow` acts, at the pace of `pace`.
//!
//! ```text
//!  accepted ──▶ Azure-AsyncOperation given: poll it ──▶ status Succeeded | Failed | Canceled
//!          └──▶ 202 with Location:          poll it ──▶ anything but 202 ends it
//!          └──▶ neither, and not done: read the resource until it is settled, or gone if that is the goal
//! ```
//! Azure answers HTTP 200 to a poll whatever became of the operation: a Failed or Canceled in the body is
//! the failure. An operation that Azure no longer knows is judged by its resource. **Invariant:** what
//! cannot be read is never taken for the end.

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::error::ErrorKind;
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
    /// The resource, until there is none: a deletion is not over while it can be read.
    Absence,
}

impl Watch {
    /// What tells the end of a write of this method if nothing else does.
    fn of(method: &Method) -> Watch {
        if method == Method::DELETE { Watch::Absence } else { Watch::Resource }
    }
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

/// Reads the answer, one of success, to the write that started it.
pub(crate) fn accepted(method: &Method, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Progress {
    let url = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let is_pending = status == StatusCode::ACCEPTED;
    match (url("azure-asyncoperation"), url("location").filter(|_| is_pending)) {
        (Some(url), _) => Progress::Running(Watch::Operation(url)),
        (None, Some(url)) => Progress::Running(Watch::Location(url)),
        (None, None) if is_pending => Progress::Running(Watch::of(method)),
        (None, None) if method == Method::DELETE => Progress::Done(None),
        // The answer to an action shows the goal, and no state of the resource.
        (None, None) if method == Method::POST => Progress::Running(Watch::Resource),
        (None, None) => resource(body),
    }
}

/// Reads the answer, one of success, to a poll of `watch` for a write of `method`.
pub(crate) fn polled(watch: &Watch, method: &Method, status: StatusCode, body: &[u8]) -> Progress {
    match watch {
        Watch::Operation(_) => operation(watch, body),
        Watch::Location(_) if status == StatusCode::ACCEPTED => Progress::Running(watch.clone()),
        Watch::Location(_) if method == Method::DELETE => Progress::Done(None),
        Watch::Location(_) | Watch::Resource => resource(body),
        Watch::Absence => Progress::Running(Watch::Absence),
    }
}

/// Reads a refusal of a poll of `watch`; `None`: following it further is no use. Most of what is wrong with a
/// poll says nothing of the operation.
pub(crate) fn unpolled(watch: &Watch, method: &Method, kind: ErrorKind, fault: &Fault) -> Option<Progress> {
    match (watch, kind) {
        (Watch::Absence, ErrorKind::NotFound) => Some(Progress::Done(None)),
        (Watch::Operation(_) | Watch::Location(_), ErrorKind::NotFound) => {
            Some(Progress::Running(Watch::of(method)))
        }
        (
            _,
            ErrorKind::Transient | ErrorKind::Throttled { .. } | ErrorKind::Timeout | ErrorKind::Protocol,
        ) => Some(Progress::Running(watch.clone())),
        (_, ErrorKind::Unauthenticated | ErrorKind::Forbidden | ErrorKind::Policy) => None,
        // Here the answer is the outcome, with the status that the write itself would have had.
        (Watch::Location(_), _) => Some(Progress::Failed { fault: fault.clone(), is_canceled: false }),
        (_, ErrorKind::Conflict) => Some(Progress::Running(watch.clone())),
        _ => None,
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
    let document: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    if !document.is_object() {
        return Progress::Running(Watch::Resource);
    }
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
        let done_now = Progress::Done(serde_json::from_slice(done).ok());
        let (resource, absence) = (Progress::Running(Watch::Resource), Progress::Running(Watch::Absence));
        let rows = [
            ("PUT", 200, headers(&both), updating, operation.clone()),
            ("PUT", 202, headers(&both), b"".as_slice(), operation.clone()),
            ("PUT", 202, headers(&both[1..]), b"".as_slice(), location.clone()),
            ("PUT", 200, headers(&both[1..]), done, done_now.clone()),
            ("PUT", 200, headers(&[]), updating, resource.clone()),
            ("PUT", 202, headers(&[]), done, resource.clone()),
            ("PUT", 200, headers(&[]), b"<html>".as_slice(), resource.clone()),
            ("PATCH", 200, headers(&[]), done, done_now),
            ("POST", 200, headers(&both[..1]), b"{}".as_slice(), operation),
            ("POST", 200, headers(&[]), b"{}".as_slice(), resource),
            ("DELETE", 202, headers(&both[1..]), b"".as_slice(), location),
            ("DELETE", 202, headers(&[]), b"".as_slice(), absence),
            ("DELETE", 200, headers(&[]), b"".as_slice(), Progress::Done(None)),
            ("DELETE", 204, headers(&[]), b"".as_slice(), Progress::Done(None)),
        ];
        for (method, status, headers, body, expected) in rows {
            let (method, status) = (method.parse().unwrap(), StatusCode::from_u16(status).unwrap());
            assert_eq!(accepted(&method, status, &headers, body), expected, "{method} {status} {headers:?}");
        }
    }

    #[test]
    fn only_what_would_stay_wrong_ends_the_following() {
        let operation = || Watch::Operation("https://a/op".to_owned());
        let location = || Watch::Location("https://a/loc".to_owned());
        let fault = Fault { code: Some("C".to_owned()), ..Fault::default() };
        let failed = Progress::Failed { fault: fault.clone(), is_canceled: false };
        let throttled = ErrorKind::Throttled { retry_after: None };
        let running = |watch: Watch| Some(Progress::Running(watch));
        let rows = [
            (operation(), "PUT", ErrorKind::Transient, running(operation())),
            (location(), "PUT", throttled, running(location())),
            (Watch::Resource, "PUT", ErrorKind::Protocol, running(Watch::Resource)),
            (operation(), "PUT", ErrorKind::NotFound, running(Watch::Resource)),
            (location(), "POST", ErrorKind::NotFound, running(Watch::Resource)),
            (operation(), "DELETE", ErrorKind::NotFound, running(Watch::Absence)),
            (Watch::Absence, "DELETE", ErrorKind::NotFound, Some(Progress::Done(None))),
            (Watch::Resource, "PUT", ErrorKind::NotFound, None),
            (operation(), "PUT", ErrorKind::Conflict, running(operation())),
            (location(), "PUT", ErrorKind::Conflict, Some(failed.clone())),
            (location(), "PUT", ErrorKind::Quota, Some(failed)),
            (location(), "PUT", ErrorKind::Forbidden, None),
            (operation(), "PUT", ErrorKind::Unauthenticated, None),
            (operation(), "PUT", ErrorKind::Invalid, None),
        ];
        for (watch, method, kind, expected) in rows {
            let got = unpolled(&watch, &method.parse().unwrap(), kind, &fault);
            assert_eq!(got, expected, "{method} {watch:?} {kind:?}");
        }
    }

    #[test]
    fn a_result_is_read_like_the_resource_itself() {
        let location = Watch::Location("https://a/loc".to_owned());
        let ask = |watch: &Watch, method: &str, status: u16, body: &str| {
            let (method, status) = (method.parse().unwrap(), StatusCode::from_u16(status).unwrap());
            polled(watch, &method, status, body.as_bytes())
        };
        let failed = r#"{"properties":{"provisioningState":"Failed"}}"#;
        assert_eq!(ask(&location, "PUT", 202, ""), Progress::Running(location.clone()));
        assert_eq!(ask(&location, "PUT", 200, ""), Progress::Running(Watch::Resource));
        assert_eq!(ask(&location, "DELETE", 204, ""), Progress::Done(None));
        assert!(matches!(ask(&location, "PUT", 200, failed), Progress::Failed { is_canceled: false, .. }));
        assert_eq!(ask(&Watch::Resource, "PUT", 200, "<html>"), Progress::Running(Watch::Resource));
        assert_eq!(ask(&Watch::Absence, "DELETE", 200, failed), Progress::Running(Watch::Absence));
    }

    #[test]
    fn http_200_with_failed_is_a_failure() {
        let watch = Watch::Operation("https://a/op".to_owned());
        let ask = |body: &str| polled(&watch, &Method::PUT, StatusCode::OK, body.as_bytes());
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
}
