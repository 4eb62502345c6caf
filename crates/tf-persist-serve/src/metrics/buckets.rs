//! The limits of histograms.

use std::sync::LazyLock;

/// Limits of buckets: as they are counted with, and as they are shown.
pub(super) struct Buckets {
    /// In the unit of the histogram.
    pub(super) limits: Vec<u64>,
    /// As the page has them.
    pub(super) labels: Vec<String>,
}

/// Nanoseconds of a microsecond.
pub(super) const MICROSECOND: f64 = 1e3;
/// Nanoseconds of a second.
pub(super) const SECOND: f64 = 1e9;

/// Request, runtime and warm-up latencies of TensorFlow Serving: 33 from 10 µs on, each 1.8 times the one before
/// (`servables/tensorflow/util.cc`).
pub(super) static LATENCY: LazyLock<Buckets> = LazyLock::new(|| exponential(10.0, 1.8, 33, MICROSECOND));
/// Its queueing latencies: 52 from 100 µs on, each 1.2 times the one before (`batching/batching_session.cc`).
pub(super) static QUEUEING: LazyLock<Buckets> = LazyLock::new(|| exponential(100.0, 1.2, 52, MICROSECOND));
/// Its counts of examples: 15 powers of two.
pub(super) static EXAMPLES: LazyLock<Buckets> = LazyLock::new(|| exponential(1.0, 2.0, 15, 1.0));
/// Ours, of the parts of a request, in seconds: from a microsecond to over a minute, by doubling.
pub(super) static PHASE: LazyLock<Buckets> = LazyLock::new(|| exponential(1e-6, 2.0, 27, SECOND));

/// `count` limits that begin with `first`, each `factor` times the one before; in a histogram of values `unit` times as large.
fn exponential(first: f64, factor: f64, count: i32, unit: f64) -> Buckets {
    let shown = (0..count).map(|power| first * factor.powi(power));
    // Limits are compared with whole numbers: what is below a limit is below its whole part.
    let limits = shown.clone().map(|limit| (limit * unit) as u64).collect();
    Buckets { limits, labels: shown.map(six_digits).collect() }
}

/// A number with six significant digits, as C's `%g` writes it, which TensorFlow Serving shows limits with.
pub(super) fn six_digits(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let scientific = format!("{number:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |digits: &str| {
        if digits.contains('.') {
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            digits.to_owned()
        }
    };
    if (-4..6).contains(&exponent) {
        trimmed(&format!("{number:.*}", (5 - exponent).max(0) as usize))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
    }
}
