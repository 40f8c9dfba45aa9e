//! Where the bearer tokens come from.

use std::fmt;

use tokio::time::Instant;

/// Gives tokens. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Token);

/// A bearer token; it cannot be printed.
#[derive(Clone)]
pub struct Token(String);

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenErrorKind {
    /// The identity service refused.
    Unauthenticated,
    /// The identity service was not reached.
    Unreachable,
    /// The configuration lacks something.
    Misconfigured,
}

/// There is no token.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    kind: TokenErrorKind,
    message: String,
}

impl TokenError {
    /// Why.
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }
}

impl Token {
    /// The token itself.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl Tokens {
    /// Always this one, for an emulator and for tests.
    pub fn fixed(token: &str) -> Tokens {
        Tokens(Token(token.to_owned()))
    }

    /// A token that is valid now.
    #[expect(clippy::unused_async, reason = "other sources ask a service")]
    pub async fn get(&self, _until: Instant) -> Result<Token, TokenError> {
        Ok(self.0.clone())
    }

    /// Azure did not accept this one.
    pub fn rejected(&self, _token: &Token) {}
}
