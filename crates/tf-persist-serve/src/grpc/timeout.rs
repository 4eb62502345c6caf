//! The header `grpc-timeout`: how long the client waits.

use std::time::{Duration, Instant};

use http::HeaderMap;

/// The time until which the client waits; `None` if it waits forever.
pub(super) fn deadline(headers: &HeaderMap) -> Option<Instant> {
    let timeout = parse(headers.get("grpc-timeout")?.to_str().ok()?)?;
    Instant::now().checked_add(timeout)
}

/// Parses at most eight digits and a unit. A malformed value counts as missing.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_parsed_and_malformed_values_ignored() {
        assert_eq!(parse("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse("99999999M"), Some(Duration::from_secs(99_999_999 * 60)));
        assert_eq!(parse("10S"), Some(Duration::from_secs(10)));
        assert_eq!(parse("999971u"), Some(Duration::from_micros(999_971)));
        assert_eq!(parse("5m"), Some(Duration::from_millis(5)));
        assert_eq!(parse("7n"), Some(Duration::from_nanos(7)));
        for nonsense in ["", "S", "1", "-1S", "+1S", "1 S", "123456789S", "1h", "1€", "€"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
