//! What the feeds say in the log. What they make of the view is tested beside the API server that tests have.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use azure::TransportError;
use azure::transport::BoxFuture;
use bytes::Bytes;

use super::*;
use crate::kube::Login;
use crate::kube::api::{Answer, Api, Body};

/// Cannot be reached by the first requests, one of each feed, and lets nobody in from then on.
#[derive(Default)]
struct Closed(AtomicUsize);

impl Api for Closed {
    fn send(&self, _: http::Request<Bytes>) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let before = self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if before < Kind::ALL.len() {
                return Err(TransportError::unsent("nobody is there"));
            }
            let mut answer = http::Response::new(Box::new(Nothing) as Box<dyn Body>);
            *answer.status_mut() = http::StatusCode::FORBIDDEN;
            Ok(answer)
        })
    }
}

struct Nothing;

impl Body for Nothing {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>> {
        Box::pin(async { Ok(None) })
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_in_the_log_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let client = Client::new(Arc::<Closed>::default(), "https://10.0.0.1".parse().unwrap(), Login::None);
    let (view, feeds) = Feeds::of_client(client, "disk.csi.azure.com", 7);
    let running = tokio::spawn(feeds.run());
    tokio::time::sleep(Duration::from_hours(1)).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for kind in Kind::ALL {
        let permission = format!("list and watch {} ", resource(kind));
        assert_eq!(text.matches(&permission).count(), 1, "{permission}\n{text}");
        assert!(view.borrow().is_forbidden(kind));
    }
    assert_eq!(
        text.lines().count(),
        2 * Kind::ALL.len(),
        "that nobody was there, once each, as well:\n{text}"
    );
    running.abort();
}
