//! One token for all, under a paused clock: first use, joins, renewal, refusal, failure.

use std::sync::atomic::{AtomicUsize, Ordering};

use azure_core::credentials::{AccessToken, TokenRequestOptions};
use time::OffsetDateTime;
use tokio::time::advance;

use super::*;

/// An identity service: each answer takes a second. Its `plan` says, by the number of the request, what comes:
/// a token of so many seconds, or an error.
#[derive(Debug)]
struct Service {
    asked: AtomicUsize,
    plan: fn(usize) -> Result<i64, TokenErrorKind>,
}

#[async_trait::async_trait]
impl TokenCredential for Service {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["scope"]);
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        sleep(Duration::from_secs(1)).await;
        match (self.plan)(number) {
            Ok(seconds) => {
                let ends = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
                Ok(AccessToken::new(format!("hunter{number}"), ends))
            }
            Err(kind) => Err(TokenError::new(kind, format!("no {number}")).into_azure()),
        }
    }
}

fn tokens(plan: fn(usize) -> Result<i64, TokenErrorKind>) -> (Tokens, Arc<Service>) {
    let service = Arc::new(Service { asked: AtomicUsize::new(0), plan });
    (Tokens::new(Arc::clone(&service) as _, "scope".to_owned()), service)
}

/// What a call with a deadline in `seconds` gets.
async fn got(tokens: &Tokens, seconds: u64) -> Result<String, TokenErrorKind> {
    let token = tokens.get(Instant::now() + Duration::from_secs(seconds)).await;
    token.map(|token| token.secret().to_owned()).map_err(|error| error.kind())
}

fn asked(service: &Service) -> usize {
    service.asked.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn many_callers_make_one_request_and_the_first_makes_it() {
    let (tokens, service) = tokens(|_| Ok(3600));
    tokio::task::yield_now().await;
    assert_eq!(asked(&service), 0);
    let calls = futures::future::join_all((0..20).map(|_| got(&tokens, 5))).await;
    assert!(calls.iter().all(|call| call.as_deref() == Ok("hunter1")), "{calls:?}");
    assert_eq!((got(&tokens, 0).await.as_deref(), asked(&service)), (Ok("hunter1"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_or_runs_out_of_time_cancels_nothing() {
    let (tokens, service) = tokens(|_| Ok(3600));
    let late = tokens.get(Instant::now() + Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(late.kind(), TokenErrorKind::Unreachable);
    drop(timeout(Duration::from_millis(300), got(&tokens, 9)).await);
    assert_eq!((got(&tokens, 9).await.as_deref(), asked(&service)), (Ok("hunter1"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_in_the_background() {
    let (tokens, service) = tokens(|_| Ok(3600));
    got(&tokens, 5).await.unwrap();
    advance(Duration::from_secs(3290)).await;
    assert_eq!((got(&tokens, 0).await.as_deref(), asked(&service)), (Ok("hunter1"), 1));
    advance(Duration::from_secs(15)).await;
    assert_eq!(got(&tokens, 0).await.as_deref(), Ok("hunter1"));
    sleep(Duration::from_secs(2)).await;
    assert_eq!((got(&tokens, 0).await.as_deref(), asked(&service)), (Ok("hunter2"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_leaves_the_old_token_until_its_end() {
    let (tokens, service) = tokens(|number| match number {
        1 => Ok(3600),
        _ => Err(TokenErrorKind::Unauthenticated),
    });
    got(&tokens, 5).await.unwrap();
    advance(Duration::from_secs(3400)).await;
    for (seconds, requests) in [(2, 2), (20, 2), (20, 2), (2, 3)] {
        assert_eq!(got(&tokens, 0).await.as_deref(), Ok("hunter1"));
        sleep(Duration::from_secs(seconds)).await;
        assert_eq!(asked(&service), requests);
    }
    advance(Duration::from_secs(200)).await;
    assert_eq!(got(&tokens, 5).await, Err(TokenErrorKind::Unauthenticated));
}

#[tokio::test(start_paused = true)]
async fn only_what_may_pass_is_asked_again_within_a_call() {
    let (lost, service) = tokens(|number| if number < 3 { Err(TokenErrorKind::Unreachable) } else { Ok(60) });
    assert_eq!((got(&lost, 9).await.as_deref(), asked(&service)), (Ok("hunter3"), 3));
    let (down, service) = tokens(|_| Err(TokenErrorKind::Unreachable));
    let (first, second) = tokio::join!(got(&down, 9), got(&down, 9));
    assert_eq!((first, second), (Err(TokenErrorKind::Unreachable), Err(TokenErrorKind::Unreachable)));
    assert_eq!(asked(&service), 3);
    for kind in [TokenErrorKind::Unauthenticated, TokenErrorKind::Misconfigured] {
        let (refused, service) = match kind {
            TokenErrorKind::Unauthenticated => tokens(|_| Err(TokenErrorKind::Unauthenticated)),
            _ => tokens(|_| Err(TokenErrorKind::Misconfigured)),
        };
        assert_eq!((got(&refused, 9).await, asked(&service)), (Err(kind), 1));
        assert_eq!((got(&refused, 9).await, asked(&service)), (Err(kind), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_fetched_anew_once() {
    let (tokens, service) = tokens(|_| Ok(3600));
    let until = Instant::now() + Duration::from_mins(1);
    let refused = tokens.get(until).await.unwrap();
    for _ in 0..3 {
        tokens.rejected(&refused);
        assert_eq!((got(&tokens, 5).await.as_deref(), asked(&service)), (Ok("hunter2"), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_service_that_hangs_does_not_hold_the_next_call_for_ever() {
    #[derive(Debug)]
    struct Hangs;
    #[async_trait::async_trait]
    impl TokenCredential for Hangs {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            std::future::pending().await
        }
    }
    let tokens = Tokens::new(Arc::new(Hangs), "scope".to_owned());
    let begin = Instant::now();
    assert_eq!(got(&tokens, 3600).await, Err(TokenErrorKind::Unreachable));
    assert_eq!(begin.elapsed().as_secs(), 3 * 15 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_fetch_is_an_error_and_the_next_call_asks_again() {
    let (tokens, _) = tokens(|number| {
        assert_ne!(number, 1, "the fetch breaks");
        Ok(3600)
    });
    assert_eq!(got(&tokens, 5).await, Err(TokenErrorKind::Unreachable));
    assert_eq!(got(&tokens, 5).await.as_deref(), Ok("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_seems_to_be_over_is_tried_for_a_while() {
    let (tokens, service) = tokens(|_| Ok(-7200));
    for _ in 0..3 {
        assert_eq!((got(&tokens, 5).await.as_deref(), asked(&service)), (Ok("hunter1"), 1));
    }
    advance(Duration::from_secs(55)).await;
    assert_eq!((got(&tokens, 5).await.as_deref(), asked(&service)), (Ok("hunter2"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_fixed_token_stays_and_nothing_prints_tokens() {
    let fixed = Tokens::fixed("hunter0");
    let token = fixed.get(Instant::now()).await.unwrap();
    fixed.rejected(&token);
    assert_eq!(got(&fixed, 0).await.as_deref(), Ok("hunter0"));
    let (fetched, _) = tokens(|_| Ok(3600));
    let other = fetched.get(Instant::now() + Duration::from_secs(5)).await.unwrap();
    let printed = format!("{fixed:?} {token:?} {fetched:?} {other:?}");
    assert!(!printed.contains("hunter"), "{printed}");
}
