//! Requests and the tokens that sign them: renewed when Azure refuses one, never waited for beyond the deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use azure::{ErrorKind, Tokens};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind as Refusal;
use azure_emulator::{Action, Fault};
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::world::{World, answer, disk, premium, refused, within};

/// An identity service: gives so many tokens, `token-1` and on, then refuses; or never answers.
#[derive(Debug)]
struct Service {
    given: AtomicUsize,
    most: usize,
    is_silent: bool,
}

#[async_trait::async_trait]
impl TokenCredential for Service {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if self.is_silent {
            return std::future::pending().await;
        }
        let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        if number > self.most {
            let status = azure_core::http::StatusCode::Unauthorized;
            let refusal = Refusal::HttpResponse { status, error_code: None, raw_response: None };
            return Err(azure_core::Error::with_message(refusal, "the secret has expired"));
        }
        let ends = OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap();
        Ok(AccessToken::new(format!("token-{number}"), ends))
    }
}

fn signed_by(most: usize, is_silent: bool) -> World {
    let service = Service { given: AtomicUsize::new(0), most, is_silent };
    let tokens = Tokens::new(Arc::new(service), "scope".to_owned());
    World::with(tokens, Box::new(|_| None), Box::new(|_, _| {}))
}

fn unaccepted() -> Action {
    answer(401, json!({ "error": { "code": "ExpiredAuthenticationToken", "message": "" } }), &[])
}

#[tokio::test(start_paused = true)]
async fn a_token_that_azure_refused_is_not_sent_again() {
    let world = signed_by(9, false);
    world.script("PUT", "disks/", unaccepted());
    world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await.unwrap();
    let tokens: Vec<_> = world.seen().into_iter().map(|seen| seen.authorization).collect();
    assert_eq!(tokens, ["Bearer token-1", "Bearer token-2", "Bearer token-2"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_nothing_is_asked_and_nothing_was_done() {
    let rows = [(signed_by(0, false), ErrorKind::Unauthenticated), (signed_by(0, true), ErrorKind::Timeout)];
    for (world, kind) in rows {
        let begun = Instant::now();
        let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(10)).await);
        assert_eq!((error.kind(), error.is_definite_refusal()), (kind, true), "{error}");
        assert!(begun.elapsed() <= Duration::from_secs(10) && world.seen().is_empty(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_may_have_arrived_stays_so_when_the_tokens_run_out() {
    let world = signed_by(1, false);
    world.script("PUT", "disks/", Action::LoseAnswer);
    world.emulator.script(Fault::on("PUT", "disks/", unaccepted()).nth(2));
    let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await);
    assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Unauthenticated, false), "{error}");
    assert_eq!(world.methods(), "PUT PUT");
    assert_eq!(world.emulator.disks().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_cannot_be_followed_for_want_of_a_token_stays_open() {
    let world = signed_by(1, false);
    world.script("GET", "perations/", unaccepted());
    let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await);
    assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Unauthenticated, false), "{error}");
    assert_eq!(error.operation(), "create disk");
}
