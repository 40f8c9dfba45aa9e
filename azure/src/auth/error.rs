//! Why there is no token: one line for the operator, made of what we know ourselves. Of a refusal only codes and
//! ids are taken over; free text of the identity service could repeat a secret that it was sent.

use http::StatusCode;
use serde_json::Value;

/// What went wrong, as far as a caller acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenErrorKind {
    /// The identity service refused; asking again changes nothing until someone acts.
    Unauthenticated,
    /// The identity service didn't answer in time, or not with sense; asking again may help.
    Unreachable,
    /// A key or a file that the credential needs is missing or wrong.
    Misconfigured,
}

/// There is no token. Display is one line that names the credential and what to do; never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    kind: TokenErrorKind,
    message: String,
}

impl TokenError {
    pub(crate) fn new(kind: TokenErrorKind, message: impl AsRef<str>) -> TokenError {
        let message = message.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        TokenError { kind, message }
    }

    pub(crate) fn unreachable(message: impl AsRef<str>) -> TokenError {
        TokenError::new(TokenErrorKind::Unreachable, message)
    }

    /// What went wrong.
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }
}

/// What AADSTS codes ask for. Source: Microsoft's list of Entra authentication error codes.
const ADVICE: &[(&str, &str)] = &[
    ("AADSTS7000215", "aadClientSecret is wrong: give the secret's value, not its id"),
    ("AADSTS7000222", "aadClientSecret has expired: make a new one"),
    ("AADSTS700016", "the tenant doesn't know this application: check aadClientId and tenantId"),
    ("AADSTS90002", "there is no such tenant: check tenantId"),
    ("AADSTS900023", "tenantId is not a tenant's id"),
    ("AADSTS70021", "no federated credential of the application matches the token file"),
    ("AADSTS700211", "no federated credential of the application has the token file's issuer"),
    ("AADSTS700212", "no federated credential of the application has the token file's audience"),
    ("AADSTS700213", "no federated credential of the application has the token file's subject"),
    ("AADSTS700024", "the token file holds an expired token, or a clock is wrong"),
];

/// The error for an answer other than 2xx to `credential`'s request; `advice` is what to do if Azure's code
/// doesn't say. 404 and 410 are what the metadata service answers while it is being updated.
pub(crate) fn refusal(credential: &str, advice: &str, status: StatusCode, body: &[u8]) -> TokenError {
    let is_passing = matches!(status.as_u16(), 404 | 408 | 410 | 429) || !status.is_client_error();
    if is_passing {
        return TokenError::unreachable(format!(
            "{credential}: the identity service answered {}; try again",
            status.as_u16()
        ));
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let codes = body["error_codes"].as_array().into_iter().flatten().filter_map(Value::as_u64);
    let codes: Vec<String> = codes.map(|code| format!("AADSTS{code}")).collect();
    let known = ADVICE.iter().find(|(code, _)| codes.iter().any(|given| given == code));
    let advice = known.map_or(advice, |(_, advice)| *advice);
    let mut facts = vec![status.as_u16().to_string()];
    facts.extend(codes);
    facts.extend(plain(&body["error"]));
    facts.extend(plain(&body["correlation_id"]).map(|id| format!("correlation id {id}")));
    TokenError::new(
        TokenErrorKind::Unauthenticated,
        format!("{credential}: the identity service refused ({}); {advice}", facts.join(", ")),
    )
}

/// A code or an id: short, and of letters, digits, `-` and `_` only. Anything else isn't repeated.
fn plain(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let is_plain = (1..=40).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    is_plain.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use TokenErrorKind::{Unauthenticated, Unreachable};

    #[test]
    fn refusals_say_what_to_do() {
        let secret_wrong = r#"{"error":"invalid_client","error_description":"AADSTS7000215: hunter2 is wrong.\r\nTrace ID: x","error_codes":[7000215],"correlation_id":"11111111-2222-3333-4444-555555555555"}"#;
        for (status, body, kind, wanted) in [
            (
                401,
                secret_wrong,
                Unauthenticated,
                "me: the identity service refused (401, AADSTS7000215, invalid_client, correlation id 11111111-2222-3333-4444-555555555555); aadClientSecret is wrong: give the secret's value, not its id",
            ),
            (
                400,
                r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
                Unauthenticated,
                "me: the identity service refused (400, invalid_request); do this",
            ),
            (
                400,
                r#"{"error":"hunter2 is no code"}"#,
                Unauthenticated,
                "me: the identity service refused (400); do this",
            ),
            (403, "<html>hunter2", Unauthenticated, "me: the identity service refused (403); do this"),
            (404, "", Unreachable, "me: the identity service answered 404; try again"),
            (410, "", Unreachable, "me: the identity service answered 410; try again"),
            (429, "", Unreachable, "me: the identity service answered 429; try again"),
            (503, "hunter2", Unreachable, "me: the identity service answered 503; try again"),
            (302, "", Unreachable, "me: the identity service answered 302; try again"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = refusal("me", "do this", status, body.as_bytes());
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, wanted), "{body}");
        }
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(TokenError::unreachable("a\r\n b").to_string(), "a b");
    }
}
