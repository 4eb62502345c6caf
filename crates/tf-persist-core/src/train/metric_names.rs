//! What the numbers of batches say of all their rows, by the names that Keras gives metrics.

/// Square roots of means over rows: the mean of their squares is exact.
const ROOTS: [&str; 2] = ["root_mean_squared_error", "rmse"];

/// Metrics of Keras that are neither means over rows nor roots of such, with names that users give them.
const OF_BATCHES: [&str; 33] = [
    "auc",
    "precision",
    "recall",
    "f1",
    "f1_score",
    "fbeta_score",
    "r2",
    "r2_score",
    "iou",
    "io_u",
    "mean_iou",
    "mean_io_u",
    "binary_iou",
    "binary_io_u",
    "one_hot_iou",
    "one_hot_io_u",
    "one_hot_mean_iou",
    "one_hot_mean_io_u",
    "true_positives",
    "true_negatives",
    "false_positives",
    "false_negatives",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
    "precision_at_recall",
    "recall_at_precision",
    "pearson_correlation",
    "concordance_correlation",
    "roc",
    "prc",
    "roc_auc",
    "pr_auc",
    "auc_pr",
];

/// Whether the number of an epoch with this name is a mean of the numbers of its batches, and not what the metric is
/// over all rows: of AUC or precision, for example, one cannot be computed from the other.
///
/// The name decides, since a signature does not say what its outputs are: that which Keras gives a metric, also with
/// the name of an output in front or a number behind.
#[must_use]
pub fn is_mean_of_batches(name: &str) -> bool {
    is_one_of(&OF_BATCHES, name)
}

/// Whether the number with this name is the square root of a mean over rows.
pub(super) fn is_root_of_mean(name: &str) -> bool {
    is_one_of(&ROOTS, name)
}

fn is_one_of(known: &[&str], name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // Keras counts metrics of the same name: `auc_1`.
    let numbered = name.rsplit_once('_').filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let name = numbered.map_or(name.as_str(), |(before, _)| before);
    known.iter().any(|known| name.strip_suffix(known).is_some_and(|before| before.is_empty() || before.ends_with('_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_known_by_the_names_of_keras() {
        for name in ["auc", "AUC", "auc_1", "p_precision", "weighted_f1_score_12", "mean_io_u", "true_positives_2"] {
            assert!(is_mean_of_batches(name), "{name}");
        }
        for name in ["loss", "accuracy", "mae", "cosine_similarity", "root_mean_squared_error", "fauc", "auc_b", ""] {
            assert!(!is_mean_of_batches(name), "{name}");
        }
        assert!(is_root_of_mean("q_root_mean_squared_error_3") && is_root_of_mean("rmse"));
        assert!(!is_root_of_mean("mean_squared_error") && !is_root_of_mean("auc"));
    }
}
