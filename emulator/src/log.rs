//! The list of ARM requests as they came, for tests that count them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;

/// Oldest entries go when there are more.
const MOST: usize = 10_000;

/// One ARM request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedRequest {
    /// Number since the start or the last reset, from 1.
    pub n: u64,
    /// Model time of its arrival, in milliseconds.
    pub at: Millis,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Status that was answered, or 0 if the connection was closed instead.
    pub status: u16,
    /// Guid of the operation that it started.
    pub operation: Option<String>,
    /// Drawn milliseconds from its arrival to its answer.
    pub accept_ms: Millis,
    /// Drawn milliseconds from its arrival to the end of that operation, if nothing preempts it.
    pub operation_ms: Option<Millis>,
}

/// The log. Invariant: numbers rise by one.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    pub(crate) entries: VecDeque<LoggedRequest>,
    count: u64,
}

impl RequestLog {
    /// Adds a request; its number is given here.
    pub(crate) fn add(&mut self, request: LoggedRequest) {
        self.count += 1;
        self.entries.push_back(LoggedRequest { n: self.count, ..request });
        if self.entries.len() > MOST {
            self.entries.pop_front();
        }
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
