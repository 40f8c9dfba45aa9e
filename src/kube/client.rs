//! What is asked of the API server: pages of lists, watches, merge patches, events. Each call is one request
//! with a bound in time; only a refused token is read again and sent once more.

use std::sync::Arc;
use std::time::Duration;

use azure::TransportError;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, StatusCode};
use serde::Serialize;
use url::Url;

use super::api::{Answer, Api, Body};
use super::lines::Lines;
use super::login::Login;
use super::wire::Status;

/// How long an answer may take, from the request to the end of its body, or to the begin of a watch.
const PATIENCE: Duration = Duration::from_mins(1);
/// A page is about a MiB; more than this is none.
const LARGEST: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig or the token cannot be used; says what is wrong, never what is in it.
    #[error("{0}")]
    Configuration(String),
    /// No answer came.
    #[error("the Kubernetes API cannot be reached: {0}")]
    Unreachable(#[source] TransportError),
    /// No answer came in time.
    #[error("the Kubernetes API has not answered in {} s", .0.as_secs())]
    Late(Duration),
    /// The API said no.
    #[error("the Kubernetes API says {status} ({reason}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Kubernetes' word for it, such as `Expired`.
        reason: String,
        /// For people.
        message: String,
        /// When to come back at the earliest.
        retry_after: Option<Duration>,
    },
    /// The answer is none that Kubernetes would give.
    #[error("the Kubernetes API cannot be understood: {0}")]
    Garbled(String),
}

impl Error {
    /// Whether what was known is too old to go on from: list again.
    pub fn is_gone(&self) -> bool {
        self.status() == Some(410)
    }

    /// What the API said, as a status of HTTP; `None`: it said nothing that counts.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the driver's account may not do this.
    pub fn is_forbidden(&self) -> bool {
        self.status() == Some(403)
    }

    /// When the server wants to be asked again at the earliest.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Which part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// At most so many objects.
    pub limit: u32,
    /// What the page before named as the next; empty: the first.
    pub next: String,
}

/// What happened to an object, for `kubectl describe`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Which object.
    #[serde(rename = "involvedObject")]
    pub regarding: Regarding,
    /// A word for machines, such as `DiskForceDetached`.
    pub reason: String,
    /// One line for people.
    pub message: String,
    /// `Normal` or `Warning`.
    pub r#type: &'static str,
    /// When, as RFC 3339.
    pub first_timestamp: String,
}

/// The object of an event.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Regarding {
    /// Such as `storage.k8s.io/v1`.
    pub api_version: String,
    /// Such as `VolumeAttachment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; empty for objects of the whole cluster, whose events are in `default`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// One API server, as one user. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    api: Arc<dyn Api>,
    server: Url,
    login: Login,
}

impl Client {
    /// Nothing is contacted yet.
    pub fn new(api: Arc<dyn Api>, server: Url, login: Login) -> Client {
        Client { api, server, login }
    }

    /// One page of the list at `path`, as it came.
    pub async fn list(&self, path: &str, page: &Page) -> Result<Bytes, Error> {
        let limit = page.limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        if !page.next.is_empty() {
            query.push(("continue", &page.next));
        }
        let call = Call { method: Method::GET, path, query: &query, body: None };
        self.whole(&call).await
    }

    /// Changes of the list at `path` after `resource_version`; the server ends the watch after `lasting`.
    pub async fn watch(&self, path: &str, resource_version: &str, lasting: Duration) -> Result<Lines, Error> {
        let seconds = lasting.as_secs().to_string();
        let query = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", &seconds),
        ];
        let call = Call { method: Method::GET, path, query: &query, body: None };
        let answer = in_time(self.answer(&call)).await?;
        Ok(Lines::new(answer.into_body()))
    }

    /// Changes the object at `path` by a merge patch; gives the object as it is then.
    pub async fn merge(&self, path: &str, patch: &impl Serialize) -> Result<Bytes, Error> {
        let body = Some(("application/merge-patch+json", encode(patch)?));
        let call = Call { method: Method::PATCH, path, query: &[], body };
        self.whole(&call).await
    }

    /// Tells people what happened. `component`: who tells it.
    pub async fn create_event(&self, event: &Event, component: &str) -> Result<(), Error> {
        let namespace = match event.regarding.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let mut body = serde_json::to_value(event).map_err(|error| Error::Garbled(error.to_string()))?;
        body["metadata"] =
            serde_json::json!({"generateName": format!("{}.", event.regarding.name), "namespace": namespace});
        body["lastTimestamp"] = body["firstTimestamp"].clone();
        body["count"] = 1.into();
        body["source"] = serde_json::json!({"component": component});
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let body = Some(("application/json", encode(&body)?));
        self.whole(&Call { method: Method::POST, path: &path, query: &[], body }).await.map(|_| ())
    }

    async fn whole(&self, call: &Call<'_>) -> Result<Bytes, Error> {
        in_time(async {
            let mut answer = self.answer(call).await?;
            whole(answer.body_mut().as_mut(), LARGEST).await
        })
        .await
    }

    /// The answer if it is a good one. A refused token is read again, once: it may have been rotated since.
    async fn answer(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let mut answer = self.exchange(call).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.login.may_change() {
            answer = self.exchange(call).await?;
        }
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let header = if self.login.may_change() {
            let login = self.login.clone();
            let read = tokio::task::spawn_blocking(move || login.header()).await;
            read.unwrap_or_else(|_| Err(Error::Configuration("reading the token panicked".to_owned())))?
        } else {
            self.login.header()?
        };
        let mut url = self.server.clone();
        // A server may have a path of its own.
        let path = format!("{}{}", url.path().trim_end_matches('/'), call.path);
        url.set_path(&path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut request = http::Request::builder().method(&call.method).uri(url.as_str());
        request = request.header(ACCEPT, "application/json");
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        if let Some((content_type, _)) = &call.body {
            request = request.header(CONTENT_TYPE, *content_type);
        }
        let body = call.body.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
        let request = request.body(body).map_err(|error| Error::Garbled(error.to_string()))?;
        self.api.send(request).await.map_err(Error::Unreachable)
    }
}

/// One request, as often as it is sent.
struct Call<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    body: Option<(&'static str, Bytes)>,
}

fn encode(body: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| Error::Garbled(error.to_string()))
}

async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(Error::Late(PATIENCE)))
}

async fn whole(body: &mut dyn Body, most: usize) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.chunk().await.map_err(Error::Unreachable)? {
        if whole.len() + chunk.len() > most {
            return Err(Error::Garbled(format!("an answer is longer than {most} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// A bad status with its reason; a body that is none is left aside.
async fn refusal(mut answer: Answer) -> Error {
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = whole(answer.body_mut().as_mut(), 64 << 10).await.unwrap_or_default();
    let said: Status<'_> = serde_json::from_slice(&body).unwrap_or_default();
    refused(status, &said, retry_after.map(Duration::from_secs))
}

/// The error of a status as Kubernetes tells it.
pub(super) fn refused(status: u16, said: &Status<'_>, retry_after: Option<Duration>) -> Error {
    Error::Refused {
        status,
        reason: said.reason.as_deref().unwrap_or("no reason").to_owned(),
        message: said.message.as_deref().unwrap_or("no message").to_owned(),
        retry_after,
    }
}
