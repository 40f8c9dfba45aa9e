//! A caller as patient as Kubernetes' external-attacher: each call has its time-out, and one that fails is made
//! again after a pause that doubles, for each object on its own.
//!
//! The pauses are the attacher's own defaults (`--retry-interval-start` 1 s, `--retry-interval-max` 5 min, without
//! jitter), and it repeats whatever the code says: it computes which codes are final and goes on all the same.

use std::time::Duration;

use csi::v1;
use csi::v1::controller_client::ControllerClient;
use e2e::volume;
use tonic::body::Body;
use tonic::codegen::{Service, StdError};
use tonic::{Code, Request, Status};
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use crate::cases::Verb;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// A client of a controller, over a socket or in process.
pub(crate) type Client =
    ControllerClient<BoxCloneSyncService<http::Request<Body>, http::Response<Body>, StdError>>;

/// A client of the controller that `way` leads to.
pub(crate) fn client<W>(way: W) -> Client
where
    W: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + Sync + 'static,
    W::Error: Into<StdError>,
    W::Future: Send,
{
    ControllerClient::new(BoxCloneSyncService::new(way.map_err(Into::into)))
}

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For one call; the callee is told.
    pub(crate) timeout: Duration,
    /// As many failures end it.
    pub(crate) most_failures: usize,
}

/// It was given up.
#[derive(Debug)]
pub(crate) struct GaveUp {
    /// How each call failed.
    pub(crate) codes: Vec<Code>,
    /// The words of the last failure.
    pub(crate) message: String,
}

/// Asks for `verb` until it is done; answers how the calls before failed.
pub(crate) async fn ask(
    client: &Client,
    verb: Verb,
    volume: &v1::Volume,
    node: &str,
    patience: Patience,
) -> Result<Vec<Code>, GaveUp> {
    let call = async || {
        let mut client = client.clone();
        let timeout = patience.timeout;
        match verb {
            Verb::Publish => {
                let message = volume::attach(volume, node, &volume::block());
                client.controller_publish_volume(timed(message, timeout)).await.map(drop)
            }
            Verb::Unpublish => {
                let message = volume::detach(&volume.volume_id, node);
                client.controller_unpublish_volume(timed(message, timeout)).await.map(drop)
            }
        }
    };
    until_done(patience, call).await
}

fn timed<M>(message: M, timeout: Duration) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

async fn until_done(
    patience: Patience,
    call: impl AsyncFn() -> Result<(), Status>,
) -> Result<Vec<Code>, GaveUp> {
    let (mut codes, mut pause) = (Vec::new(), FIRST_PAUSE);
    loop {
        let message = match tokio::time::timeout(patience.timeout, call()).await {
            Ok(Ok(())) => return Ok(codes),
            Ok(Err(status)) => {
                codes.push(status.code());
                status.message().to_owned()
            }
            Err(_) => {
                codes.push(Code::DeadlineExceeded);
                format!("no answer in {:?}", patience.timeout)
            }
        };
        if codes.len() >= patience.most_failures {
            return Err(GaveUp { codes, message });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Patience = Patience { timeout: Duration::from_secs(15), most_failures: 12 };

    /// Fails `failures` times, each after `lasts`; answers the codes and the seconds that all of it took.
    async fn check(failures: usize, lasts: Duration, code: Code, seconds: u64) {
        let (began, calls) = (Instant::now(), Cell::new(0));
        let call = async || {
            calls.set(calls.get() + 1);
            if calls.get() > failures {
                return Ok(());
            }
            tokio::time::sleep(lasts).await;
            Err(csi::Error::unavailable("busy").into())
        };
        let codes = until_done(PATIENCE, call).await.unwrap_or_else(|gave_up| gave_up.codes);
        assert_eq!(codes, vec![code; failures.min(PATIENCE.most_failures)]);
        assert_eq!(began.elapsed(), Duration::from_secs(seconds), "{failures} failures after {lasts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest() {
        let busy = Duration::ZERO;
        check(0, busy, Code::Unavailable, 0).await;
        check(1, busy, Code::Unavailable, 1).await;
        check(3, busy, Code::Unavailable, 7).await;
        check(10, busy, Code::Unavailable, 511 + 300).await;
        // The twelfth failure ends it.
        check(99, busy, Code::Unavailable, 511 + 600).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_given_up_after_its_time() {
        check(1, Duration::from_mins(1), Code::DeadlineExceeded, 15 + 1).await;
    }
}
