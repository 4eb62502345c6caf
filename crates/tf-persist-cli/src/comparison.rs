//! A comparison of tensors in JSON, as docs/cli.md documents it.

use serde_json::{Value, json};
use tf_persist_savedmodel::tensor::Comparison;

pub(crate) fn json(comparison: &Comparison) -> Value {
    let worst = comparison.worst.as_ref();
    json!({
        "elements": comparison.elements,
        "differing": comparison.differing,
        "outside_tolerance": comparison.outside,
        "not_finite": comparison.not_finite,
        "largest_absolute": comparison.largest_absolute,
        "largest_relative": comparison.largest_relative,
        "worst": worst.map(|worst| json!({
            "index": worst.index, "found": worst.found, "expected": worst.expected,
        })),
    })
}
