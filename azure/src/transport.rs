//! The seam to the network: requests and answers as bytes, so that URLs, signing, retries, long-running
//! operations and decoding are exercised by every test. The emulator's door is a plain async function from
//! request to answer; the blanket impl makes such a function a [`Transport`], and neither crate knows the other.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

/// A boxed future, as trait objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// No answer came: the request may or may not have been taken.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    message: String,
    /// Whether the request surely never reached the other side (no connection was made).
    unsent: bool,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// The connection failed or broke; the request may have been taken.
    pub fn lost(message: impl Into<String>) -> Self {
        TransportError { message: message.into(), unsent: false, source: None }
    }

    /// No connection could be made, so the request was surely not taken.
    pub fn unsent(message: impl Into<String>) -> Self {
        TransportError { message: message.into(), unsent: true, source: None }
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Whether the request surely never reached the other side.
    pub fn is_unsent(&self) -> bool {
        self.unsent
    }
}

/// Carries one request to its host and brings the answer back, whatever its status. No retries, no redirects.
pub trait Transport: Send + Sync {
    /// Sends `request`; a status is never an error here.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>>;
}

/// Marks an answer of an in-process service as one whose connection broke before it arrived.
#[derive(Clone, Copy, Debug)]
pub struct AnswerLost;

impl<F, Fut> Transport for F
where
    F: Fn(http::Request<Bytes>) -> Fut + Send + Sync,
    Fut: Future<Output = http::Response<Bytes>> + Send + 'static,
{
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let answer = self(request);
        Box::pin(async move { Ok(answer.await) })
    }
}
