//! How long a caller will wait: the `grpc-timeout` header, less a little, so that we answer with our
//! own words before the caller's library answers with its own (gRPC over HTTP/2, "Timeout").

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// What a call without a deadline gets: longer than any sidecar's default, not for ever.
const UNSAID: Duration = Duration::from_mins(2);

/// When a call with this metadata must be answered.
pub fn deadline(metadata: &MetadataMap) -> Instant {
    let said = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse);
    Instant::now() + said.map_or(UNSAID, shortened)
}

/// A twentieth less, between 10 ms and 500 ms less: time to carry the answer back.
fn shortened(timeout: Duration) -> Duration {
    let margin = (timeout / 20).clamp(Duration::from_millis(10), Duration::from_millis(500));
    timeout.saturating_sub(margin)
}

/// At most eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_nonsense() {
        let rows = [
            ("15S", Some(15_000)),
            ("2M", Some(120_000)),
            ("1H", Some(3_600_000)),
            ("250m", Some(250)),
            ("1000000u", Some(1000)),
            ("", None),
            ("S", None),
            ("123456789S", None),
            ("-1S", None),
            ("5x", None),
            ("5é", None),
        ];
        for (text, millis) in rows {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_leaves_before_the_caller_gives_up() {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", "10S".parse().unwrap());
        assert_eq!(deadline(&metadata) - Instant::now(), Duration::from_millis(9_500));
        assert_eq!(deadline(&MetadataMap::new()) - Instant::now(), UNSAID);
    }
}
