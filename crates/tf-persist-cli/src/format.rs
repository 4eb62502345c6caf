//! Numbers in text reports.

use serde_json::{Map, Value};
use tf_persist_savedmodel::printable;

/// `1 variable`, `12 variables`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// `1 entry`, `2 entries`.
pub(crate) fn entries(number: usize) -> String {
    let ending = if number == 1 { "y" } else { "ies" };
    format!("{} entr{ending}", grouped(number as u64))
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `1.4 MB`: powers of 1,000.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A number with six significant digits: `0.5`, `-12.3457`, `1.5e-9`.
pub(crate) fn short(number: f64) -> String {
    let scientific = format!("{number:.5e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return number.to_string() };
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match exponent.parse::<i32>() {
        Ok(exponent @ -4..6) => trimmed(&format!("{number:.*}", (5 - exponent) as usize)),
        _ => format!("{}e{exponent}", trimmed(digits)),
    }
}

/// Named numbers in parentheses, ` (rows 12, accuracy 0.9)`; nothing without any.
pub(crate) fn numbers(numbers: &Map<String, Value>) -> String {
    if numbers.is_empty() {
        return String::new();
    }
    let number = |(name, value): (&String, &Value)| format!("{} {}", printable(&name.replace('_', " ")), shown(value));
    format!(" ({})", numbers.iter().map(number).collect::<Vec<_>>().join(", "))
}

/// A text without quotation marks, and the values in a list or an object.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(" "),
        Value::Object(values) => {
            let inside = values.iter().map(|(name, value)| format!("{} {}", name.replace('_', " "), shown(value)));
            inside.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((count(1, "op"), count(2, "op")), ("1 op".into(), "2 ops".into()));
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, -0.5, 1.0 / 3.0, 100.0, 999_999.5, 123_456.7, 0.000_123_456_78, 1.5e-9, -2e30, f64::MAX];
        let expected =
            ["0", "-0.5", "0.333333", "100", "1e6", "123457", "0.000123457", "1.5e-9", "-2e30", "1.79769e308"];
        assert_eq!(numbers.map(short), expected);
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(
            [0, 999, 1000, 999_949, 999_950, 1_400_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.4 MB"]
        );
    }
}
