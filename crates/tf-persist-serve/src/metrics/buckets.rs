//! The bucket limits of histograms.

use std::sync::LazyLock;

/// Bucket limits: for counting and for the page.
pub(super) struct Buckets {
    /// In the unit of the histogram.
    pub(super) limits: Vec<u64>,
    /// As the page shows them.
    pub(super) labels: Vec<String>,
}

/// Nanoseconds per microsecond.
pub(super) const MICROSECOND: f64 = 1e3;
/// Nanoseconds per second.
pub(super) const SECOND: f64 = 1e9;

/// TensorFlow Serving's latencies of requests, runs and warm-up: 33 limits from 10 µs, each 1.8 times the one before
/// (`servables/tensorflow/util.cc`).
pub(super) static LATENCY: LazyLock<Buckets> = LazyLock::new(|| exponential(10.0, 1.8, 33, MICROSECOND));
/// TensorFlow Serving's queueing latencies: 52 limits from 100 µs, each 1.2 times the one before
/// (`batching/batching_session.cc`).
pub(super) static QUEUEING: LazyLock<Buckets> = LazyLock::new(|| exponential(100.0, 1.2, 52, MICROSECOND));
/// TensorFlow Serving's counts of examples: 15 powers of two.
pub(super) static EXAMPLES: LazyLock<Buckets> = LazyLock::new(|| exponential(1.0, 2.0, 15, 1.0));
/// TensorFlow Serving's batch sizes: 14 powers of two.
pub(super) static BATCHES: LazyLock<Buckets> = LazyLock::new(|| exponential(1.0, 2.0, 14, 1.0));
/// Our phases of a request, in seconds: from a microsecond to over a minute, doubling.
pub(super) static PHASE: LazyLock<Buckets> = LazyLock::new(|| exponential(1e-6, 2.0, 27, SECOND));

/// `count` limits from `first`, each `factor` times the one before. The values of the histogram are `unit` times as
/// large.
fn exponential(first: f64, factor: f64, count: i32, unit: f64) -> Buckets {
    let shown = (0..count).map(|power| first * factor.powi(power));
    // Values are integers, so a comparison with the integer part of a limit is enough.
    let limits = shown.clone().map(|limit| (limit * unit) as u64).collect();
    Buckets { limits, labels: shown.map(six_digits).collect() }
}

/// A number with six significant digits as C's `%g` writes it, which TensorFlow Serving uses for limits.
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
