//! Distances of two distributions over the same groups.

/// The population stability index: `Σ (q − p) ln(q / p)`. Each count is raised by a half, so that an empty group has a
/// share; among thousands of rows that changes nothing. One that is empty in both is no group, such as that of numbers
/// below a frequent value that is the least.
pub(crate) fn population_stability(reference: &[u64], current: &[u64]) -> Option<f64> {
    let filled = reference.iter().zip(current).filter(|(reference, current)| **reference + **current > 0);
    let (reference, current): (Vec<u64>, Vec<u64>) = filled.unzip();
    let (reference, current) = (reference.as_slice(), current.as_slice());
    let (p, q) = (shares(reference, 0.5)?, shares(current, 0.5)?);
    Some(p.iter().zip(&q).map(|(p, q)| (q - p) * (q / p).ln()).sum())
}

/// The Jensen-Shannon distance with logarithms to base 2: the root of the divergence, from 0 to 1.
pub(crate) fn jensen_shannon(reference: &[u64], current: &[u64]) -> Option<f64> {
    let (p, q) = (shares(reference, 0.0)?, shares(current, 0.0)?);
    let of = |own: f64, other: f64| if own > 0.0 { own * (2.0 * own / (own + other)).log2() } else { 0.0 };
    let sum: f64 = p.iter().zip(&q).map(|(p, q)| of(*p, *q) + of(*q, *p)).sum();
    Some((sum / 2.0).max(0.0).sqrt())
}

/// The shares of counts that are raised by a number; `None` if there is nothing.
fn shares(counts: &[u64], raised: f64) -> Option<Vec<f64>> {
    let total: u64 = counts.iter().sum();
    let all = total as f64 + raised * counts.len() as f64;
    (total > 0).then(|| counts.iter().map(|count| (*count as f64 + raised) / all).collect())
}
