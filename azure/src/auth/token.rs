//! An access token that cannot be printed, and how long it is good for.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::credentials::{AccessToken, Secret};
use tokio::time::Instant;

/// An access token; a cheap clone. Debug shows which one it is, not what it is.
#[derive(Clone)]
pub struct Token {
    secret: Arc<Secret>,
    /// Counts the tokens of one [`super::Tokens`].
    pub(crate) number: u64,
}

impl Token {
    pub(crate) fn new(secret: Secret, number: u64) -> Token {
        Token { secret: Arc::new(secret), number }
    }

    /// The text for the `Authorization` header, after `Bearer `.
    pub fn secret(&self) -> &str {
        self.secret.secret()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, hidden)", self.number)
    }
}

/// Until when a token is used, and from when on a better one is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) token: Token,
    pub(crate) ends: Instant,
    pub(crate) renew: Instant,
}

/// Long before its end a token is renewed in the background.
const EARLY: Duration = Duration::from_mins(5);
/// A request takes time to reach Azure, and must be there before the token's end.
const TRAVEL: Duration = Duration::from_secs(10);
/// A token that is over when it comes means that a clock is wrong. It is tried for so long: Azure says if it is
/// good, and asking for each request would help nobody.
const DOUBTFUL: Duration = Duration::from_mins(1);

impl Lease {
    /// The lease of a token that came `now`, of which `life` was left then.
    pub(crate) fn new(token: Token, now: Instant, life: Duration) -> Lease {
        let life = if life.is_zero() { DOUBTFUL } else { life };
        let ends = now + life.saturating_sub(TRAVEL.min(life / 10));
        let renew = now + life.saturating_sub(EARLY).max(life / 2);
        Lease { token, ends, renew }
    }
}

/// What is left of `answer`'s life: the identity service tells an end by the wall clock, everything after goes
/// by the steady one.
#[expect(clippy::disallowed_methods, reason = "the one place that compares an expiry with the wall clock")]
pub(crate) fn life(answer: &AccessToken) -> Duration {
    let ends = SystemTime::from(answer.expires_on);
    ends.duration_since(SystemTime::now()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn leases() {
        for (life, renew, ends) in [
            (3600, 3300, 3590),
            (86_400, 86_100, 86_390),
            (600, 300, 590),
            (60, 30, 54),
            (20, 10, 18),
            (0, 30, 54),
        ] {
            let now = Instant::now();
            let lease = Lease::new(Token::new(Secret::new("t"), 1), now, Duration::from_secs(life));
            assert_eq!(
                ((lease.renew - now).as_secs(), (lease.ends - now).as_secs()),
                (renew, ends),
                "{life}"
            );
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        let token = Token::new(Secret::new("hunter2"), 3);
        assert_eq!((format!("{token:?}").as_str(), token.secret()), ("Token(3, hidden)", "hunter2"));
    }
}
