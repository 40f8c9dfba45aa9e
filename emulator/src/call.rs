//! One request, taken apart once: path segments, query, body as JSON, and the address the caller used.
//!
//! Azure reads paths without case but answers with the caller's spelling, so both spellings are kept.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use serde_json::Value;
use url::form_urlencoded;

use crate::gate::Gate;

/// The mark of a request that faults do not count and the log does not show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unseen;

/// A request as the handlers see it.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Path and query as they came.
    pub(crate) target: String,
    /// Path segments as spelled, percent-decoded.
    pub(crate) segments: Vec<String>,
    /// The same in lower case, for matching.
    pub(crate) lower: Vec<String>,
    /// Query parameters; names in lower case.
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) raw: Bytes,
    /// The body as JSON; `Null` when there is none or it is not JSON (see [`Call::is_malformed`]).
    pub(crate) body: Value,
    /// `scheme://authority` under which the caller reached us: poll URLs are built on it.
    pub(crate) base: String,
    /// The gate through which it came.
    pub(crate) gate: Gate,
    pub(crate) is_unseen: bool,
}

impl Call {
    pub(crate) fn new(request: Request<Bytes>) -> Self {
        let (head, raw) = request.into_parts();
        let path = head.uri.path().to_owned();
        let target = head.uri.path_and_query().map_or_else(|| path.clone(), ToString::to_string);
        let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(decoded).collect();
        let lower = segments.iter().map(|s| s.to_lowercase()).collect();
        let query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
            .map(|(name, value)| (name.to_lowercase(), value.into_owned()))
            .collect();
        let body = serde_json::from_slice(&raw).unwrap_or(Value::Null);
        let gate = head.extensions.get::<Gate>().copied().unwrap_or_default();
        let base = base(gate, &head.uri, &head.headers);
        Self {
            method: head.method,
            path,
            target,
            segments,
            lower,
            query,
            headers: head.headers,
            raw,
            body,
            base,
            gate,
            is_unseen: head.extensions.get::<Unseen>().is_some(),
        }
    }

    /// A body that is there but is not a JSON object.
    pub(crate) fn is_malformed(&self) -> bool {
        !self.raw.is_empty() && !self.body.is_object()
    }

    /// A request header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The segment at `index` as spelled.
    pub(crate) fn segment(&self, index: usize) -> &str {
        self.segments.get(index).map_or("", String::as_str)
    }

    /// The lower-case segments as a slice to match on.
    pub(crate) fn shape(&self) -> Vec<&str> {
        self.lower.iter().map(String::as_str).collect()
    }

    /// Resource calls are those under a subscription: they need a token and are what faults count.
    pub(crate) fn is_arm(&self) -> bool {
        matches!(self.lower.first().map(String::as_str), Some("subscriptions"))
    }
}

fn base(gate: Gate, uri: &http::Uri, headers: &HeaderMap) -> String {
    if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
        return format!("{scheme}://{authority}");
    }
    match headers.get(http::header::HOST).and_then(|host| host.to_str().ok()) {
        Some(host) => format!("{}://{host}", gate.scheme()),
        None => "https://management.azure.com".to_owned(),
    }
}

/// One path segment without its percent signs; a plus sign stays a plus sign.
fn decoded(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    let guarded = segment.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(guarded.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(uri: &str) -> Call {
        Call::new(Request::builder().uri(uri).body(Bytes::new()).unwrap())
    }

    #[test]
    fn segments_keep_their_spelling_and_have_a_lower_case_twin() {
        let call =
            call("http://h:1/subscriptions/S/resourceGroups/My%20Rg+1?%24expand=instanceView&API-version=1");
        assert_eq!(call.segments, ["subscriptions", "S", "resourceGroups", "My Rg+1"]);
        assert_eq!(call.lower[3], "my rg+1");
        assert_eq!(call.query("$expand"), Some("instanceView"));
        assert_eq!(call.query("api-version"), Some("1"));
        assert_eq!(call.base, "http://h:1");
    }
}
