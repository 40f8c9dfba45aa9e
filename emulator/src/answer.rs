//! What goes back to the caller: a status, a JSON body, and the header set of the part of Azure that answers.
//!
//! The header *names* follow recordings of the real service: the ARM gateway, the disk provider (DiskRP), the
//! compute provider (CRP), scale sets and the network provider each put another set on their answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Map, Value};

use crate::call::Call;

/// What every answer carries.
static ALWAYS: [(HeaderName, HeaderValue); 6] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (header::PRAGMA, HeaderValue::from_static("no-cache")),
    (header::EXPIRES, HeaderValue::from_static("-1")),
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("x-cache"), HeaderValue::from_static("CONFIG_NOCACHE")),
];

/// The id of a request, and of all that it brings about.
static REQUEST: HeaderName = HeaderName::from_static("x-ms-request-id");
static CORRELATION: HeaderName = HeaderName::from_static("x-ms-correlation-request-id");
static JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Most documents are shorter, in bytes.
const USUAL: usize = 1000;

/// An answer under construction.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Option<Value>,
    headers: Vec<(&'static str, String)>,
    is_gateway: bool,
}

impl Answer {
    /// An answer with a body.
    pub(crate) fn json(status: StatusCode, body: Value) -> Self {
        Self { status, body: Some(body), headers: Vec::new(), is_gateway: false }
    }

    /// An answer without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, body: None, headers: Vec::new(), is_gateway: false }
    }

    /// 200 with a body.
    pub(crate) fn ok(body: Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// 200 with a list.
    pub(crate) fn list(items: Vec<Value>) -> Self {
        Self::ok(Value::Object(Map::from_iter([("value".to_owned(), Value::Array(items))])))
    }

    /// Adds one header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Answered by the ARM gateway itself: no provider headers.
    pub(crate) fn gateway(mut self) -> Self {
        self.is_gateway = true;
        self
    }

    /// Whether the ARM gateway answers, and no provider was asked.
    pub(crate) fn is_from_gateway(&self) -> bool {
        self.is_gateway
    }

    /// The mark of a call that a provider handled.
    pub(crate) fn handled(self, call: &Call, location: &str) -> Self {
        let subscription = call.segment(1).to_owned();
        self.with(
            "x-ms-operation-identifier",
            format!("tenantId={subscription},objectId=emulator/{location}"),
        )
    }

    /// The mark of the compute provider.
    pub(crate) fn compute(self) -> Self {
        self.with("x-ms-need-to-refresh-epl-cache", "False")
    }

    /// The mark of scale-set calls.
    pub(crate) fn charged(self) -> Self {
        self.with("x-ms-request-charge", "1")
    }

    /// The mark of a list that was gathered from a region.
    pub(crate) fn gathered(self, request: &str) -> Self {
        self.with("x-ms-original-request-ids", request)
    }

    /// The `ETag` of a VM or scale set.
    pub(crate) fn etag(self, etag: u64) -> Self {
        self.with("etag", format!("\"{etag}\""))
    }

    /// The finished response to `call`; `request_id` is the guid that this call is known by.
    pub(crate) fn finish(self, call: &Call, request_id: &str) -> Response<Bytes> {
        let bytes = self.body.as_ref().map_or_else(Bytes::new, written);
        let mut response = Response::new(bytes);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.reserve(ALWAYS.len() + self.headers.len() + 4);
        for (name, value) in &ALWAYS {
            headers.insert(name.clone(), value.clone());
        }
        if let Ok(id) = HeaderValue::try_from(request_id) {
            headers.insert(REQUEST.clone(), id.clone());
            headers.insert(CORRELATION.clone(), id);
        }
        if self.body.is_some() {
            headers.insert(header::CONTENT_TYPE, JSON.clone());
        }
        let mut set = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        // Of an answer that passed no throttle, such as a scripted one.
        if self.is_gateway {
            set("x-ms-failure-cause", "gateway".to_owned());
        } else {
            let (name, full) = match call.method {
                Method::GET | Method::HEAD => ("x-ms-ratelimit-remaining-subscription-global-reads", "3749"),
                Method::DELETE => ("x-ms-ratelimit-remaining-subscription-global-deletes", "2999"),
                _ => ("x-ms-ratelimit-remaining-subscription-global-writes", "2999"),
            };
            set(name, full.to_owned());
        }
        for (name, value) in self.headers {
            set(name, value);
        }
        response
    }
}

/// A document as it goes over the wire.
fn written(body: &Value) -> Bytes {
    let mut bytes = Vec::with_capacity(USUAL);
    // A document of ours has no keys but text, so writing it cannot fail.
    let is_written = serde_json::to_writer(&mut bytes, body).is_ok();
    if is_written { bytes.into() } else { Bytes::new() }
}
