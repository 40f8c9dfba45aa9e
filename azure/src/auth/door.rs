//! The way of azure_identity's requests through our [`Transport`]. It judges every answer itself, so that its
//! callers see a token or a [`TokenError`], and azure_identity's own retries (by the wall clock, blind to
//! deadlines) never begin.

use std::fmt;
use std::sync::Arc;

use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use super::error::{TokenError, refusal};
use crate::transport::Transport;

/// The way to one identity service, for one credential.
pub(crate) struct Door {
    pub(crate) transport: Arc<dyn Transport>,
    /// The credential, for messages.
    pub(crate) name: String,
    /// What to do if the service refuses it.
    pub(crate) advice: String,
    /// Requests to the origin of the first go below the second: azure_identity knows one metadata address and
    /// no authority without TLS, a test or an emulator has its own on this machine.
    pub(crate) detour: Option<(Url, Url)>,
}

impl Door {
    /// Sends `request` and gives the body of an answer that is a success.
    pub(crate) async fn ask(&self, request: http::Request<Bytes>) -> Result<Bytes, TokenError> {
        let answer = self.transport.send(request).await.map_err(|error| {
            TokenError::unreachable(format!("{}: the identity service is not reached: {error}", self.name))
        })?;
        if !answer.status().is_success() {
            return Err(refusal(&self.name, &self.advice, answer.status(), answer.body()));
        }
        Ok(answer.into_body())
    }

    /// The error for a success that holds no token.
    pub(crate) fn nonsense(&self) -> TokenError {
        TokenError::unreachable(format!("{}: the identity service answered, but not with a token", self.name))
    }

    fn request(&self, request: &Request) -> azure_core::Result<http::Request<Bytes>> {
        let uri = detoured(request.url(), self.detour.as_ref());
        let mut sent = http::Request::builder().method(request.method().as_str()).uri(uri.as_str());
        for (name, value) in request.headers().iter() {
            sent = sent.header(name.as_str(), value.as_str());
        }
        let Body::Bytes(body) = request.body() else {
            return Err(other("a request for a token has no stream"));
        };
        sent.body(body.clone()).map_err(|_| other("a request for a token cannot be made"))
    }
}

fn other(message: &'static str) -> azure_core::Error {
    azure_core::Error::with_message(azure_core::error::ErrorKind::Other, message)
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpClient for Door {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let body = self.ask(self.request(request)?).await.map_err(TokenError::into_azure)?;
        let headers = Headers::new();
        Ok(AsyncRawResponse::from_bytes(azure_core::http::StatusCode::Ok, headers, legible(&body)))
    }
}

/// `url`, below the other address if it is of the origin that has a detour.
fn detoured(url: &Url, detour: Option<&(Url, Url)>) -> Url {
    let Some((from, to)) = detour.filter(|(from, _)| from.origin() == url.origin()) else {
        return url.clone();
    };
    debug_assert!(from.path() == "/", "a detour begins at an origin");
    let mut there = to.clone();
    there.set_path(&format!("{}{}", to.path().trim_end_matches('/'), url.path()));
    there.set_query(url.query());
    there
}

/// A token's answer as azure_identity reads it: services differ in which numbers they send as text, and leave
/// out what nobody needs.
fn legible(body: &Bytes) -> Bytes {
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(body) else {
        return body.clone();
    };
    if let Some(seconds) = answer.get("expires_in").and_then(number) {
        answer.insert("expires_in".to_owned(), seconds.into());
    }
    if let Some(ext) = answer.get("ext_expires_in").and_then(number) {
        answer.insert("ext_expires_in".to_owned(), ext.into());
    }
    if let Some(end) = answer.get("expires_on").and_then(number) {
        answer.insert("expires_on".to_owned(), end.to_string().into());
    }
    answer.entry("token_type").or_insert_with(|| json!("Bearer"));
    answer.entry("resource").or_insert_with(|| json!(""));
    Value::Object(answer).to_string().into()
}

/// A whole number, sent as a number or as text.
pub(crate) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_both_spellings() {
        for (body, wanted) in [
            (
                r#"{"access_token":"t","expires_in":"3599","expires_on":1586984735}"#,
                json!({"access_token":"t","expires_in":3599,"expires_on":"1586984735","token_type":"Bearer","resource":""}),
            ),
            (
                r#"{"expires_in":3599,"expires_on":"5","token_type":"x","resource":"y"}"#,
                json!({"expires_in":3599,"expires_on":"5","token_type":"x","resource":"y"}),
            ),
        ] {
            let body = legible(&Bytes::from_static(body.as_bytes()));
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), wanted);
        }
        assert_eq!(legible(&Bytes::from_static(b"<html>")), "<html>");
    }

    #[test]
    fn detours() {
        let url = |text: &str| Url::parse(text).unwrap();
        let detour = (url("http://169.254.169.254"), url("http://127.0.0.1:8/vms/a/"));
        for (from, wanted) in [
            ("http://169.254.169.254/metadata/x?a=b", "http://127.0.0.1:8/vms/a/metadata/x?a=b"),
            ("https://169.254.169.254/metadata", "https://169.254.169.254/metadata"),
            ("https://login.microsoftonline.com/t", "https://login.microsoftonline.com/t"),
        ] {
            assert_eq!(detoured(&url(from), Some(&detour)).as_str(), wanted);
        }
    }
}
