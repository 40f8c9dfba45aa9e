//! One request as its caller means it, and how long it may take.
//!
//! | call | one attempt | with its repetitions |
//! |---|---|---|
//! | read of a resource | 5 s | 15 s |
//! | page of a list | 7 s | 15 s |
//! | poll of an operation | 5 s | not repeated: the next poll follows |
//! | write | 60 s | until the caller's deadline |
//!
//! Nothing outlives the caller's deadline, which is a later one for the polls of what Azure accepted, if he says
//! so. A read that hangs is given up and read again, so that one dead connection costs a call 5 s and no read more
//! than 15 s of it; what is not counted is the time that Azure asked us to wait (a closed gate, the `Retry-After`
//! of a 429) and the time that a new token takes.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::Method;
use serde::Serialize;

use crate::Deadline;
use crate::error::{Effect, Error, ErrorKind};

/// How long one attempt to read a resource may take.
pub(crate) const READ_ATTEMPT: Duration = Duration::from_secs(5);
/// How long one attempt to read a page of a list may take: Azure gathers it from many places.
const PAGE_ATTEMPT: Duration = Duration::from_secs(7);
/// How long all attempts of one read may take.
pub(crate) const READ: Duration = Duration::from_secs(15);
/// How long one attempt of a write may take.
const WRITE_ATTEMPT: Duration = Duration::from_mins(1);

/// One request as its caller means it.
pub(crate) struct Ask<'a> {
    /// In words, for errors and metrics.
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    /// The resource that it is about: what errors name, and what is read to see how far Azure is. The path,
    /// unless that is an action.
    pub(crate) subject: &'a str,
    /// Everything after the path: `api-version` and more.
    pub(crate) query: &'a str,
    pub(crate) body: Option<Vec<u8>>,
    /// The ETag that the resource must still have.
    pub(crate) if_match: Option<String>,
    /// How long one attempt may take.
    pub(crate) attempt: Duration,
    pub(crate) deadline: Deadline,
    /// Until when what Azure accepted is followed: the deadline, or later.
    pub(crate) follow: Deadline,
    /// It was given its turn among the subscription's requests, and did not use it yet.
    pub(crate) has_turn: AtomicBool,
    /// Whether it waits where Azure throttles; else its caller is told at once.
    pub(crate) is_patient: bool,
}

impl<'a> Ask<'a> {
    /// A read.
    pub(crate) fn get(operation: &'static str, path: &'a str, query: &'a str, deadline: Deadline) -> Self {
        Ask {
            operation,
            method: Method::GET,
            path,
            subject: path,
            query,
            body: None,
            if_match: None,
            attempt: READ_ATTEMPT,
            deadline,
            follow: deadline,
            has_turn: AtomicBool::new(false),
            is_patient: true,
        }
    }

    /// The read of a list.
    pub(crate) fn list(operation: &'static str, path: &'a str, query: &'a str, deadline: Deadline) -> Self {
        Ask { attempt: PAGE_ATTEMPT, ..Ask::get(operation, path, query, deadline) }
    }

    /// A look at how far Azure is with a write; its turn is waited for before.
    pub(crate) fn poll(path: &'a str, query: &'a str, deadline: Deadline) -> Self {
        Ask::get("poll operation on", path, query, deadline).in_turn()
    }

    /// The same, whose turn was waited for before: its first attempt goes at once.
    pub(crate) fn in_turn(self) -> Self {
        Ask { has_turn: AtomicBool::new(true), ..self }
    }

    /// A write.
    pub(crate) fn write(
        operation: &'static str,
        method: Method,
        path: &'a str,
        query: &'a str,
        body: Option<&impl Serialize>,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|error| {
            let text = "its body cannot be written as JSON";
            Error::new(ErrorKind::Protocol, operation, path, text, Effect::None).caused_by(error)
        })?;
        Ok(Ask { method, body, attempt: WRITE_ATTEMPT, ..Ask::get(operation, path, query, deadline) })
    }

    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    /// PUT, PATCH and DELETE say what shall be, and may be said twice. A POST may not.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.method != Method::POST
    }

    /// The error of a request that is not sent for so long, and why.
    pub(crate) fn throttled(&self, wait: Duration, why: &str) -> Error {
        self.error(ErrorKind::Throttled { retry_after: Some(wait) }, why, Effect::None)
    }

    pub(crate) fn error(&self, kind: ErrorKind, message: impl Into<String>, effect: Effect) -> Error {
        Error::new(kind, self.operation, self.subject, message, effect)
    }
}
