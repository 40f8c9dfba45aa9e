//! What every call passes on its way in and out: the table of calls in flight, a span, the counters, the
//! log line of a failure, and the wall against panics.
//!
//! **Invariants:** each call is counted exactly once, also when its caller hangs up; a panic in a handler
//! becomes INTERNAL and harms no other call; no request is printed, only the id of its volume.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field};

use crate::calls::{Calls, Entered};
use crate::methods::{self, Method};
use crate::metrics::Metrics;

/// How much later than [`csi::deadline`] a call is answered for a handler that has forgotten its deadline.
const OVERDUE: Duration = Duration::from_millis(5);

/// Puts the wall around a service.
#[derive(Clone, Debug)]
pub struct RpcLayer {
    /// Where calls in flight are noted.
    pub calls: Calls,
    /// Where they are counted.
    pub metrics: Metrics,
}

impl<S> Layer<S> for RpcLayer {
    type Service = Rpc<S>;

    fn layer(&self, inner: S) -> Rpc<S> {
        Rpc { inner, layer: self.clone() }
    }
}

/// A service behind the wall.
#[derive(Clone, Debug)]
pub struct Rpc<S> {
    inner: S,
    layer: RpcLayer,
}

type Answer = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for Rpc<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = methods::find(request.uri().path());
        let entered = match self.layer.calls.enter(method) {
            Ok(entered) => entered,
            Err(refusal) => {
                self.layer.metrics.rpc_answered(method, refusal.kind().code(), Duration::ZERO);
                let answer = Status::from(refusal).into_http();
                return Box::pin(async { Ok(answer) });
            }
        };
        // Only the service that was polled ready may be called; its clone waits for the next call.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let span = tracing::info_span!("rpc", method = method.name, id = entered.id, volume = field::Empty);
        let ending = Ending::new(method, entered, &self.layer.metrics);
        let overdue = request
            .headers()
            .contains_key("grpc-timeout")
            .then(|| csi::deadline(&tonic::metadata::MetadataMap::from_headers(request.headers().clone())));
        let request = watched(request, method, &ending.entered, &span);
        let work = Caught(Box::pin(async move { ready.call(request).await }));
        let answered = async move {
            let outcome = match overdue {
                None => work.await,
                Some(deadline) => tokio::time::timeout_at(deadline + OVERDUE, work)
                    .await
                    .unwrap_or_else(|_| Ok(Ok(forgotten(method)))),
            };
            let response = match outcome {
                Ok(Ok(response)) => response,
                Err(Panicked) => broken(method),
            };
            ending.answered(&response);
            Ok(response)
        };
        Box::pin(answered.instrument(span))
    }
}

fn broken(method: &Method) -> Response<Body> {
    let error = csi::Error::internal(format!(
        "{} ended in a panic of the driver; this is a bug, its log tells where",
        method.name
    ));
    Status::from(error).into_http()
}

fn forgotten(method: &Method) -> Response<Body> {
    let error = csi::Error::timeout(format!(
        "{} is still going on at its deadline; repeat the call to wait for its end",
        method.name
    ));
    Status::from(error).into_http()
}

/// The request with a look at its first bytes: the volume's id goes to the span and to the table.
fn watched(
    request: Request<Body>,
    method: &'static Method,
    entered: &Arc<Entered>,
    span: &Span,
) -> Request<Body> {
    if !method.names_its_volume {
        return request;
    }
    let (entered, span) = (Arc::downgrade(entered), span.clone());
    let mut first = true;
    request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            if let Some(bytes) = frame.data_ref()
                && std::mem::take(&mut first)
                && let Some(volume) = first_string(bytes)
            {
                span.record("volume", volume);
                if let Some(entered) = entered.upgrade() {
                    entered.concerns(volume);
                }
            }
            frame
        }))
    })
}

/// Field 1 of the message in a gRPC frame, if it is a short text without control characters.
fn first_string(frame: &Bytes) -> Option<&str> {
    // Five bytes of gRPC (not compressed, length), then the tag of a length-delimited field 1.
    let [0, _, _, _, _, 0x0a, rest @ ..] = frame.as_ref() else { return None };
    let (length, text) = match rest {
        [low @ 0..=0x7f, text @ ..] => (usize::from(*low), text),
        [low, high @ 1..=0x7f, text @ ..] => ((usize::from(*high) << 7) | usize::from(*low & 0x7f), text),
        _ => return None,
    };
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
}

/// Counts and logs the end of a call: its answer, or, when it is dropped without one, that nobody waits.
struct Ending {
    method: &'static Method,
    metrics: Metrics,
    entered: Arc<Entered>,
    told: bool,
}

impl Ending {
    fn new(method: &'static Method, entered: Entered, metrics: &Metrics) -> Ending {
        metrics.rpc_started();
        Ending { method, metrics: metrics.clone(), entered: Arc::new(entered), told: false }
    }

    fn answered(mut self, response: &Response<Body>) {
        let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
        let ms = self.count(code);
        if code != Code::Ok {
            let status = response.extensions().get::<Status>();
            let (message, cause) = status.map_or_else(Default::default, |status| {
                (status.message().to_owned(), status.source().map(chain).unwrap_or_default())
            });
            tracing::warn!(?code, ms, cause, "failed: {message}");
        } else if self.method.changes {
            tracing::info!(ms, "done");
        } else {
            tracing::debug!(ms, "done");
        }
    }

    /// Returns the milliseconds that the call took.
    fn count(&mut self, code: Code) -> u64 {
        self.told = true;
        let took = self.entered.since.elapsed();
        self.metrics.rpc_ended(self.method, code, took);
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.told {
            let ms = self.count(Code::Cancelled);
            tracing::info!(ms, "the caller is gone; what was begun goes on");
        }
    }
}

/// An error and what caused it, outermost first.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// The handler panicked; the hook has logged where.
#[derive(Debug)]
struct Panicked;

/// A future whose panic is a value. It isn't polled again after one, so broken state in it is never seen;
/// locks shared with other calls recover from poison on their own.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = &mut self.0;
        match std::panic::catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_volume_is_read_from_the_first_field() {
        use prost::Message as _;
        let long = "/subscriptions/s/".to_owned() + &"x".repeat(200);
        for (id, seen) in [("disk-a", true), (long.as_str(), true), ("", false), ("a\nb", false)] {
            let message = csi::v1::DeleteVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
            let mut frame = vec![0];
            frame.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
            frame.extend(message.encode_to_vec());
            assert_eq!(first_string(&Bytes::from(frame.clone())), seen.then_some(id), "{id:?}");
            // A frame cut anywhere gives nothing, and no panic.
            for end in 0..frame.len().min(20) {
                let cut = Bytes::copy_from_slice(&frame[..end]);
                assert!(first_string(&cut).is_none_or(|text| id.starts_with(text)));
            }
        }
        assert_eq!(first_string(&Bytes::from_static(&[1, 0, 0, 0, 3, 0x0a, 1, b'x'])), None, "compressed");
    }

    #[test]
    fn a_chain_tells_every_cause() {
        let inner = std::io::Error::other("no route");
        let middle = csi::Error::unavailable("azure did not answer").caused_by(inner);
        let outer = csi::Error::unavailable("disk a").caused_by(middle);
        assert_eq!(chain(&outer), "disk a: azure did not answer: no route");
    }
}
