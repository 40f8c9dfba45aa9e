//! Azure's error bodies: with the `error` envelope or, from some services, without it.

use serde_json::Value;

/// What an error body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Option<String>,
    /// `innererror.internalErrorCode`: finer than the code.
    pub(crate) inner: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) message: String,
}

/// Reads an error body; one that is no JSON leaves its beginning as the message.
pub(crate) fn read(body: &[u8]) -> Fault {
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        return of(&value);
    }
    let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
    Fault { message: if text.is_empty() { "no body".to_owned() } else { text }, ..Fault::default() }
}

/// Reads an error object, in its envelope or bare.
pub(crate) fn of(value: &Value) -> Fault {
    let error = value.get("error").filter(|error| error.is_object()).unwrap_or(value);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let detail = error.get("details").and_then(|details| details.get(0));
    let message = text(error.get("message")).unwrap_or_else(|| "Azure gave no message".to_owned());
    Fault {
        code: text(error.get("code")).filter(|code| !code.is_empty()),
        inner: text(error.pointer("/innererror/internalErrorCode")),
        target: text(error.get("target")).or_else(|| text(detail.and_then(|detail| detail.get("target")))),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_in_every_form() {
        let rows = [
            (r#"{"error":{"code":"A","message":"m"}}"#, Some("A"), None, None, "m"),
            (r#"{"code":"A","message":"m","target":"t"}"#, Some("A"), None, Some("t"), "m"),
            (
                r#"{"innererror":{"internalErrorCode":"I"},"code":"A","message":"m"}"#,
                Some("A"),
                Some("I"),
                None,
                "m",
            ),
            (
                r#"{"code":"A","message":"m","details":[{"code":"B","target":"HighCostGet"}]}"#,
                Some("A"),
                None,
                Some("HighCostGet"),
                "m",
            ),
            (r#"{"error":{"code":"","message":""}}"#, None, None, None, ""),
            ("<html>", None, None, None, "<html>"),
            ("", None, None, None, "no body"),
        ];
        for (body, code, inner, target, message) in rows {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let expected = Fault {
                code: owned(code),
                inner: owned(inner),
                target: owned(target),
                message: message.into(),
            };
            assert_eq!(read(body.as_bytes()), expected, "{body}");
        }
    }
}
