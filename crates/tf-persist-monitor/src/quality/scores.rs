//! The area under the ROC curve, out of counts of scores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Models with more classes have no area: each class has counts of its own.
const MAX_CLASSES: usize = 50;

/// Counts of scores by class and bin. Bins are narrow near 0 and 1, where scores of good models are: each is a 128th of
/// an octave of the distance to the nearer of the two.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Scores {
    /// By class and bin, the rows of other classes and of this one.
    counts: BTreeMap<u32, [u64; 2]>,
    has_too_many: bool,
}

/// The bin of a probability. It rises with the probability.
fn bin(probability: f64) -> u32 {
    let upper = |value: f64| (value as f32).to_bits() >> 16;
    if probability <= 0.5 { upper(probability.max(0.0)) } else { 0x7f00 - upper((1.0 - probability).max(0.0)) }
}

impl Scores {
    #[inline]
    pub(crate) fn add(&mut self, class: usize, probability: f64, is_class: bool) {
        if class >= MAX_CLASSES {
            self.has_too_many = true;
            return;
        }
        let counts = self.counts.entry((class as u32) << 16 | bin(probability)).or_default();
        let [others, own] = counts;
        *(if is_class { own } else { others }) += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, [others, own]) in &other.counts {
            let counts = self.counts.entry(*key).or_default();
            counts[0] += others;
            counts[1] += own;
        }
        self.has_too_many |= other.has_too_many;
    }

    /// The mean area of all classes; `None` if a class has no rows, or has all.
    pub(crate) fn auc(&self) -> Option<f64> {
        if self.has_too_many {
            return None;
        }
        let entries: Vec<(u32, [u64; 2])> = self.counts.iter().map(|(key, counts)| (*key, *counts)).collect();
        let classes = entries.chunk_by(|a, b| a.0 >> 16 == b.0 >> 16);
        let areas: Option<Vec<f64>> = classes.map(area).collect();
        let areas = areas.filter(|areas| !areas.is_empty())?;
        Some(areas.iter().sum::<f64>() / areas.len() as f64)
    }
}

/// The chance that a row of the class scores higher than one of another; equal scores count half.
fn area(bins: &[(u32, [u64; 2])]) -> Option<f64> {
    let (mut below, mut sum, mut own_total) = (0.0, 0.0, 0.0);
    for (_, [others, own]) in bins {
        let (others, own) = (*others as f64, *own as f64);
        sum += own * (below + others / 2.0);
        below += others;
        own_total += own;
    }
    (below > 0.0 && own_total > 0.0).then(|| sum / (below * own_total))
}
