//! Tests whether two samples are of one distribution, by their counts.

use statrs::function::gamma::checked_gamma_ur;

/// A statistic with the probability of one at least as large where nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TestResult {
    pub(crate) statistic: f64,
    pub(crate) p_value: f64,
}

/// The two-sample test of Kolmogorov and Smirnov over the same bins: the largest distance of the two cumulative
/// distributions, which is exact but for distances within a bin.
pub(crate) fn kolmogorov_smirnov(reference: &[u64], current: &[u64]) -> Option<TestResult> {
    let (n, m): (u64, u64) = (reference.iter().sum(), current.iter().sum());
    if n == 0 || m == 0 {
        return None;
    }
    let (n, m) = (n as f64, m as f64);
    let (mut below_n, mut below_m, mut statistic) = (0, 0, 0.0_f64);
    for (a, b) in reference.iter().zip(current) {
        below_n += a;
        below_m += b;
        statistic = statistic.max((below_n as f64 / n - below_m as f64 / m).abs());
    }
    Some(TestResult { statistic, p_value: kolmogorov(statistic, n * m / (n + m)) })
}

/// The probability that Kolmogorov's statistic of `n` values is at least `d`: the limiting distribution with the
/// correction of J. Vrbik (2018), whose relative error is below 0.3% from ten values on.
fn kolmogorov(d: f64, n: f64) -> f64 {
    let root = n.sqrt();
    let x = d * root;
    let x = x + 1.0 / (6.0 * root) + (x - 1.0) / (4.0 * n);
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 0 { -1.0 } else { 1.0 };
        sign * (-2.0 * f64::from(k * k) * x * x).exp()
    };
    (2.0 * (1..=30).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// The least count that is expected of a group; rarer groups are pooled.
const LEAST_EXPECTED: f64 = 5.0;

/// Pearson's chi-squared test that two rows of counts have the same shares. Groups of which fewer than five are
/// expected in either are pooled, as the distribution of the statistic needs.
pub(crate) fn chi_squared(reference: &[u64], current: &[u64]) -> Option<TestResult> {
    let (n, m): (u64, u64) = (reference.iter().sum(), current.iter().sum());
    if n == 0 || m == 0 {
        return None;
    }
    let (n, m) = (n as f64, m as f64);
    let least = n.min(m) / (n + m);
    let (mut pooled, mut groups) = ((0.0, 0.0), Vec::new());
    for (a, b) in reference.iter().zip(current) {
        let (a, b) = (*a as f64, *b as f64);
        if (a + b) * least < LEAST_EXPECTED {
            pooled = (pooled.0 + a, pooled.1 + b);
        } else {
            groups.push((a, b));
        }
    }
    if pooled != (0.0, 0.0) {
        groups.push(pooled);
    }
    if groups.len() < 2 {
        return Some(TestResult { statistic: 0.0, p_value: 1.0 });
    }
    let term = |count: f64, all: f64, of_group: f64| {
        let expected = of_group * all / (n + m);
        (count - expected).powi(2) / expected
    };
    let statistic: f64 = groups.iter().map(|(a, b)| term(*a, n, a + b) + term(*b, m, a + b)).sum();
    let freedom = (groups.len() - 1) as f64;
    let p_value = if statistic > 0.0 { checked_gamma_ur(freedom / 2.0, statistic / 2.0).unwrap_or(1.0) } else { 1.0 };
    Some(TestResult { statistic, p_value })
}
