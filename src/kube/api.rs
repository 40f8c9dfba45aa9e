//! The seam to the API server: one request there, the head of its answer back, and the body piece by piece,
//! because a watch is an answer that does not end. Nothing here repeats, decides or waits.

pub use azure::TransportError;
pub use azure::transport::BoxFuture;
use bytes::Bytes;

/// An answer whose body is still coming.
pub type Answer = http::Response<Box<dyn Body>>;

/// The rest of an answer.
pub trait Body: Send {
    /// The next piece; `None`: the server has ended the answer in good order.
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>>;
}

/// Carries one request to the API server. A status is never an error here.
pub trait Api: Send + Sync {
    /// Sends `request` and waits for the head of its answer.
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<Answer, TransportError>>;
}
