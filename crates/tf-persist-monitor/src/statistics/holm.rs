//! Many tests at once: the chance of any false alarm among them is bounded.

/// Holm's adjusted p-values, in the order of the given ones. An adjusted one below α is significant, and the chance
/// that any of them is by accident is at most α, however they depend on each other.
pub(crate) fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let value = |index: usize| values.get(index).copied().unwrap_or(1.0);
    order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
    let mut adjusted = vec![1.0; values.len()];
    let mut largest: f64 = 0.0;
    for (rank, index) in order.iter().enumerate() {
        largest = largest.max(value(*index) * (values.len() - rank) as f64).min(1.0);
        if let Some(adjusted) = adjusted.get_mut(*index) {
            *adjusted = largest;
        }
    }
    adjusted
}
