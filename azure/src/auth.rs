//! Tokens for Resource Manager: fetched when first needed, shared by all callers, renewed before they end.
//!
//! Owner of the state is [`Tokens`]: at most one token in use and one fetch in flight. A fetch is a task of its own,
//! so a caller that hangs up cancels nothing and its next call joins.
//!
//! ```text
//!          get                        answer
//! nothing ─────► fetch in flight ───────────────► token in use ─┐ from `renew` on: fetch in the background,
//!    ▲                │ error: to all who wait         │        │ the old token is used on; if that fails,
//!    └────────────────┴────────────────────────────────┘ ◄──────┘ again after a pause
//!                       the token ended, or `rejected`
//! ```
//!
//! **Invariants:** no call waits beyond its deadline; a token that is still good is never given up because a newer
//! one cannot be had; secrets are never printed.

mod door;
mod error;
mod identity;
mod token;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure_core::credentials::{Secret, TokenCredential};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use error::{TokenError, TokenErrorKind};
pub(crate) use identity::{Identity, Source, UserAssigned};
pub use token::Token;
use token::{Lease, life};

/// One request to an identity service; they answer in milliseconds.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Pauses between the attempts of one fetch: a lost connection should not fail a call.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1500)];
/// From a failed renewal to the next one, while the old token is good.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

type Outcome = Result<Token, TokenError>;
type Flight = watch::Receiver<Option<Outcome>>;

/// Where tokens come from; a cheap clone, all clones share one token.
#[derive(Clone)]
pub struct Tokens {
    shared: Shared,
}

#[derive(Clone)]
enum Shared {
    /// The token never changes.
    Fixed(Token),
    Fetched(Arc<Fetched>),
}

struct Fetched {
    credential: Arc<dyn TokenCredential>,
    scope: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lease: Option<Lease>,
    flight: Option<Flight>,
    /// How many tokens there have been.
    count: u64,
}

/// What a caller does.
enum Step {
    Use(Token),
    Wait(Flight),
}

impl Tokens {
    /// Tokens of `credential` for `scope`. Nothing is asked before the first [`Tokens::get`].
    pub fn new(credential: Arc<dyn TokenCredential>, scope: String) -> Tokens {
        Tokens { shared: Shared::Fetched(Arc::new(Fetched { credential, scope, state: Mutex::default() })) }
    }

    /// Always the same token, for services that don't look at it.
    pub fn fixed(token: &str) -> Tokens {
        Tokens { shared: Shared::Fixed(Token::new(Secret::new(token.to_owned()), 0)) }
    }

    /// A token that is good now. Waits for a fetch if there is none, but not beyond `until`; the fetch goes on
    /// then, and the next call joins it.
    ///
    /// # Errors
    /// The fetch failed ([`TokenError::kind`] says how), or wasn't over in time (`Unreachable`).
    pub async fn get(&self, until: Instant) -> Result<Token, TokenError> {
        let fetched = match &self.shared {
            Shared::Fixed(token) => return Ok(token.clone()),
            Shared::Fetched(fetched) => fetched,
        };
        let mut flight = match fetched.step(Instant::now()) {
            Step::Use(token) => return Ok(token),
            Step::Wait(flight) => flight,
        };
        let landed = timeout_at(until, flight.wait_for(Option::is_some)).await;
        let outcome = match landed {
            Err(_) => {
                return Err(TokenError::unreachable("no token yet: the identity service is still asked"));
            }
            Ok(landed) => landed.ok().and_then(|outcome| outcome.clone()),
        };
        outcome.unwrap_or_else(|| Err(TokenError::unreachable("no token: the request for it was dropped")))
    }

    /// Azure refused `token` (401): the next [`Tokens::get`] fetches anew, unless that has happened already.
    pub fn rejected(&self, token: &Token) {
        if let Shared::Fetched(fetched) = &self.shared {
            let mut state = fetched.lock();
            state.lease = state.lease.take().filter(|lease| lease.token.number != token.number);
        }
    }
}

impl Fetched {
    fn step(self: &Arc<Self>, now: Instant) -> Step {
        let mut state = self.lock();
        let good = state.lease.as_ref().filter(|lease| now < lease.ends);
        let token = good.map(|lease| lease.token.clone());
        if let Some(lease) = good.filter(|lease| now < lease.renew) {
            return Step::Use(lease.token.clone());
        }
        // A flight whose task is gone without an outcome counts for nothing.
        let flying = state.flight.clone().filter(|flight| flight.has_changed().is_ok());
        let flight = flying.unwrap_or_else(|| self.take_off(&mut state));
        token.map_or(Step::Wait(flight), Step::Use)
    }

    fn take_off(self: &Arc<Self>, state: &mut State) -> Flight {
        let (landed, flight) = watch::channel(None);
        let fetched = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = fetched.fetch().await;
            fetched.lock().flight = None;
            landed.send_replace(Some(outcome));
        });
        state.flight = Some(flight.clone());
        flight
    }

    /// A panic while the lock is held leaves the state whole: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Outcome {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match self.attempt().await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            if error.kind() == TokenErrorKind::Unreachable
                && let Some(pause) = pauses.next()
            {
                sleep(*pause).await;
                continue;
            }
            tracing::warn!(%error, "no new access token");
            if let Some(lease) = &mut self.lock().lease {
                lease.renew = Instant::now() + RENEWAL_PAUSE;
            }
            return Err(error);
        }
    }

    async fn attempt(&self) -> Outcome {
        let scopes = [self.scope.as_str()];
        let answer = timeout(ATTEMPT, self.credential.get_token(&scopes, None)).await;
        let answer = answer.map_err(|_| {
            TokenError::unreachable(format!(
                "the identity service gave no answer within {} s",
                ATTEMPT.as_secs()
            ))
        })?;
        let answer = answer.map_err(|error| identity::told(&error))?;
        let mut state = self.lock();
        state.count += 1;
        let token = Token::new(answer.token.clone(), state.count);
        state.lease = Some(Lease::new(token.clone(), Instant::now(), life(&answer)));
        Ok(token)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.shared {
            Shared::Fixed(_) => "Tokens(fixed)",
            Shared::Fetched(_) => "Tokens(fetched)",
        })
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod wire;
