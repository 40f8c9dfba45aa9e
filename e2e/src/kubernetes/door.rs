//! From requests to the store and back, with the accidents that are switched on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::ApiServer;
use super::resource::{Resource, Target};
use super::store::Refusal;
use super::watching::{Asked, Watching};

/// An answer whose body comes piece by piece.
pub type Answer = Response<Body>;

/// The connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection broke, as the test wants")
    }
}

impl std::error::Error for Lost {}

/// The body of an answer.
pub struct Body(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Watch(Box<Watching>),
}

impl Body {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Lost>> {
        match &mut self.0 {
            Kind::Whole(bytes) => bytes.take().map(Ok),
            Kind::Watch(watching) => watching.next().await,
        }
    }
}

impl ApiServer {
    /// Answers one request; [`Lost`]: there is no connection.
    pub async fn handle(&self, request: Request<Bytes>) -> Result<Answer, Lost> {
        let pause = {
            let mut state = self.state();
            let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
            let line = format!("{} {}{query}", request.method(), request.uri().path());
            state.requests.push(line);
            self.shared.asked.send_replace(());
            state.faults.pause
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if self.state().faults.is_down {
            return Err(Lost);
        }
        Ok(self.answer(&request).unwrap_or_else(|refusal| whole(refusal.status, &refusal.body())))
    }

    fn answer(&self, request: &Request<Bytes>) -> Result<Answer, Refusal> {
        self.admit(request)?;
        let path = request.uri().path();
        let target = Target::of_path(path);
        let target = target.ok_or_else(|| Refusal::new(404, "NotFound", format!("no such path: {path}")))?;
        let query = query(request.uri().query().unwrap_or_default());
        let resource = target.resource;
        let key = target.name.as_ref().map(|name| resource.key(&target.namespace, name));
        match (request.method(), key) {
            (&Method::GET, Some(key)) => Ok(whole(200, &self.state().store.get(resource, &key)?)),
            (&Method::GET, None) if query.get("watch").is_some_and(|text| text == "1" || text == "true") => {
                self.watch(&target, &query)
            }
            (&Method::GET, None) => self.list(&target, &query),
            (&Method::POST, None) => {
                let mut object = json(request.body())?;
                if !target.namespace.is_empty() {
                    object["metadata"]["namespace"] = target.namespace.clone().into();
                }
                Ok(whole(201, &self.change(|state| state.store.create(resource, object))?))
            }
            (&Method::PATCH, Some(key)) => {
                let content_type = request.headers().get(http::header::CONTENT_TYPE);
                if content_type.is_none_or(|found| found != "application/merge-patch+json") {
                    return Err(Refusal::new(
                        415,
                        "UnsupportedMediaType",
                        "only merge patches are taken here",
                    ));
                }
                let patch = json(request.body())?;
                Ok(whole(200, &self.change(|state| state.store.patch(resource, &key, &patch))?))
            }
            (&Method::DELETE, Some(key)) => {
                Ok(whole(200, &self.change(|state| state.store.delete(resource, &key))?))
            }
            _ => Err(Refusal::new(405, "MethodNotAllowed", "not on this path")),
        }
    }

    fn admit(&self, request: &Request<Bytes>) -> Result<(), Refusal> {
        let mut state = self.state();
        if let Some(status) = state.faults.refusals.pop_front() {
            return Err(Refusal::new(status, "Scripted", "refused, as the test wants"));
        }
        let shown = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
        match &state.faults.token {
            Some(token) if shown != Some(token) => Err(Refusal::new(401, "Unauthorized", "Unauthorized")),
            _ => Ok(()),
        }
    }

    fn allow_to(&self, verb: &'static str, resource: Resource) -> Result<(), Refusal> {
        if !self.state().faults.forbidden.contains(&(verb, resource)) {
            return Ok(());
        }
        let message = format!("User \"driver\" cannot {verb} resource {:?}", resource.plural());
        Err(Refusal::new(403, "Forbidden", message))
    }

    fn list(&self, target: &Target, query: &BTreeMap<String, String>) -> Result<Answer, Refusal> {
        self.allow_to("list", target.resource)?;
        let limit = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(0);
        let token = query.get("continue").map_or("", String::as_str);
        let page = self.state().store.page(target.resource, &target.namespace, limit, token)?;
        let mut metadata = json!({"resourceVersion": page.version.to_string()});
        if !page.next.is_empty() {
            metadata["continue"] = page.next.into();
            metadata["remainingItemCount"] = page.left.into();
        }
        let kind = format!("{}List", target.resource.kind());
        Ok(whole(
            200,
            &json!({"kind": kind, "apiVersion": target.resource.api_version(),
            "metadata": metadata, "items": page.items}),
        ))
    }

    /// Only from a version: to begin with all objects is another thing, and not asked for here.
    fn watch(&self, target: &Target, query: &BTreeMap<String, String>) -> Result<Answer, Refusal> {
        self.allow_to("watch", target.resource)?;
        let version = query.get("resourceVersion").and_then(|text| text.parse().ok());
        let version =
            version.ok_or_else(|| Refusal::new(400, "BadRequest", "a watch needs a resourceVersion"))?;
        let lasting = query.get("timeoutSeconds").and_then(|text| text.parse().ok()).unwrap_or(1800);
        let asked = Asked {
            resource: target.resource,
            namespace: target.namespace.clone(),
            version,
            has_bookmarks: query.get("allowWatchBookmarks").is_some_and(|text| text == "true"),
            lasting: Duration::from_secs(lasting),
        };
        Ok(Response::new(Body(Kind::Watch(Box::new(Watching::new(self, asked))))))
    }
}

fn whole(status: u16, value: &Value) -> Answer {
    let mut answer = Response::new(Body(Kind::Whole(Some(value.to_string().into()))));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
    if status == 429 {
        answer.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("7"));
    }
    answer
}

fn json(body: &Bytes) -> Result<Value, Refusal> {
    let value: Result<Value, _> = serde_json::from_slice(body);
    let value = value.map_err(|error| Refusal::new(400, "BadRequest", error.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(Refusal::new(400, "BadRequest", "no object")) }
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
