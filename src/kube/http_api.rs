//! The real network under [`Api`]. Connections are prepared by the first request; after one that could not
//! even be sent, and after a 401 to a certificate from a file, they are prepared anew, so that a rotated
//! certificate or authority needs no restart.
//!
//! **Invariants:** only the authority of the configuration is trusted where there is one; plain http goes to
//! this machine only; redirects are not followed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure::TransportError;
use azure::transport::BoxFuture;
use bytes::Bytes;

use super::api::{Answer, Api, Body};
use super::login::{Pem, Trust};

/// Connections to one API server; clones share them.
#[derive(Clone, Debug)]
pub struct HttpApi {
    trust: Arc<Trust>,
    user_agent: String,
    client: Arc<Mutex<Option<reqwest::Client>>>,
}

impl HttpApi {
    /// Nothing is read or opened yet.
    pub fn new(trust: Trust, user_agent: impl Into<String>) -> HttpApi {
        HttpApi { trust: Arc::new(trust), user_agent: user_agent.into(), client: Arc::default() }
    }

    async fn client(&self) -> Result<reqwest::Client, TransportError> {
        let slot = || self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot() {
            return Ok(client.clone());
        }
        let (trust, user_agent) = (Arc::clone(&self.trust), self.user_agent.clone());
        let built = tokio::task::spawn_blocking(move || build(&trust, &user_agent)).await;
        let client = built.unwrap_or_else(|_| Err("preparing connections panicked".to_owned()));
        let client = client.map_err(TransportError::unsent)?;
        Ok(slot().insert(client).clone())
    }

    async fn exchange(&self, request: http::Request<Bytes>) -> Result<Answer, TransportError> {
        let request = reqwest::Request::try_from(request)
            .map_err(|error| TransportError::unsent("the request cannot be sent").caused_by(error))?;
        let answer = self.client().await?.execute(request).await.map_err(failure);
        // An API server takes a certificate that has ended at first, and then says who it does not know.
        let is_stale = match &answer {
            Ok(answer) => answer.status() == http::StatusCode::UNAUTHORIZED && self.trust.may_change(),
            Err(error) => error.is_unsent(),
        };
        if is_stale {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let mut answer = answer?;
        let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        let mut response = http::Response::new(Box::new(Rest(answer)) as Box<dyn Body>);
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}

impl Api for HttpApi {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(self.exchange(request))
    }
}

struct Rest(reqwest::Response);

impl Body for Rest {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>> {
        Box::pin(async { self.0.chunk().await.map_err(failure) })
    }
}

/// What is wrong is told without what is in the files.
fn build(trust: &Trust, user_agent: &str) -> Result<reqwest::Client, String> {
    // Fails if the program has installed a provider already, and then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        // A watch may be silent for long; this tells a quiet connection from a dead one.
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(Duration::from_secs(10));
    if trust.is_direct {
        builder = builder.no_proxy();
    }
    if trust.is_direct && trust.authority.is_none() {
        // Plain http: no reading of the machine's certificates.
        builder = builder.tls_certs_only([]);
    }
    if let Some(authority) = &trust.authority {
        let pem = read(authority)?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem);
        let certificates = certificates.map_err(|_| format!("{authority} has no certificates"))?;
        if certificates.is_empty() {
            return Err(format!("{authority} has no certificates"));
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let Some((certificate, key)) = &trust.identity {
        let mut pem = read(certificate)?;
        pem.push(b'\n');
        pem.extend_from_slice(&read(key)?);
        let identity = reqwest::Identity::from_pem(&pem);
        let identity =
            identity.map_err(|_| format!("{certificate} and {key} are no certificate and its key"))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| cause(&error))
}

fn read(pem: &Pem) -> Result<Vec<u8>, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{pem} cannot be read: {error}"));
    match pem {
        Pem::File(path) => read(path),
        Pem::Inline(bytes) => Ok(bytes.clone()),
    }
}

/// Which side of the wire the request is on decides what may be repeated; the address is left out, its query is long.
fn failure(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let reason = cause(&error);
    if error.is_connect() || error.is_builder() {
        return TransportError::unsent(format!("no connection: {reason}")).caused_by(error);
    }
    TransportError::lost(format!("the connection broke: {reason}")).caused_by(error)
}

/// The innermost cause: the outer ones only say that something failed.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
