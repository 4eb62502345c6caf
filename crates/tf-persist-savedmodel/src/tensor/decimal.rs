//! Floats as text for people.

use std::fmt::{Display, LowerExp};

/// A float in the fewest digits that parse to the same float, with an exponent below 1e-5 and from 1e16 on.
pub(crate) fn decimal<T: Display + LowerExp + Copy + Into<f64>>(value: T) -> String {
    let magnitude: f64 = value.into().abs();
    if magnitude == 0.0 || !magnitude.is_finite() || (1e-5..1e16).contains(&magnitude) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_numbers_have_an_exponent() {
        let texts = [0.0, -0.5, 1e-5, 9.5e-6, -1.25e-30, 123_456.75, 1e16, f64::INFINITY].map(decimal);
        assert_eq!(texts, ["0", "-0.5", "0.00001", "9.5e-6", "-1.25e-30", "123456.75", "1e16", "inf"]);
        assert_eq!([1e-7_f32, 0.1].map(decimal), ["1e-7", "0.1"]);
    }
}
