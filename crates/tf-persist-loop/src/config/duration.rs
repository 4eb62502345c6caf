//! Lengths of time such as `30s`, `10m`, `1h` or `7d`.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};

/// A length of time, in whole seconds or milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(Duration);

impl Length {
    /// Of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library has it.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }

    /// As times have it.
    #[must_use]
    pub fn signed(self) -> SignedDuration {
        SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX)
    }

    fn parse(text: &str) -> Option<Self> {
        let split = text.find(|character: char| !character.is_ascii_digit())?;
        let (number, unit) = text.split_at(split);
        let number = u64::from(number.parse::<u32>().ok()?);
        let seconds = |length: u64| Duration::from_secs(number * length);
        Some(Self(match unit {
            "ms" => Duration::from_millis(number),
            "s" => seconds(1),
            "m" => seconds(60),
            "h" => seconds(3600),
            "d" => seconds(24 * 3600),
            _ => return None,
        }))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let units = [(24 * 3_600_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        match units.iter().find(|(length, _)| milliseconds >= *length && milliseconds.is_multiple_of(*length)) {
            Some((length, unit)) => write!(f, "{}{unit}", milliseconds / length),
            None if milliseconds == 0 => f.write_str("0s"),
            None => write!(f, "{milliseconds}ms"),
        }
    }
}

impl<'d> Deserialize<'d> for Length {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refuse =
            || serde::de::Error::custom(format!("`{text}` is not a length of time such as 30s, 10m, 1h or 7d"));
        Self::parse(&text).ok_or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_a_unit() {
        for text in ["250ms", "30s", "10m", "1h", "7d", "0s"] {
            assert_eq!(Length::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Length::parse("90s").unwrap().to_string(), "90s");
        for wrong in ["", "s", "10", "-1h", "1.5h", "1w", "99999999999s"] {
            assert!(Length::parse(wrong).is_none(), "{wrong}");
        }
    }
}
