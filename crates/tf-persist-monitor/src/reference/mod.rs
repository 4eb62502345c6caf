//! The distribution that a log is compared with: counts of every feature, not rows.

mod file;

use std::collections::HashMap;
use std::sync::Arc;

pub use file::REFERENCE_FILE;

use crate::plan::Plan;
use crate::tally::{CategoryTally, Edges, MAX_LISTED, NumberTally, Range, Tally, key_of};

/// Groups of a number, for the population stability index: deciles of the reference.
const GROUPS: usize = 10;

/// Sketches of training data or of a recorded window. `assets.extra/monitor_reference.json` of a model is the place for
/// the reference that belongs to it.
#[derive(Debug, Clone)]
pub struct Reference {
    pub(crate) model: String,
    pub(crate) signature: String,
    /// When it was made, as RFC 3339 has it.
    pub(crate) made: String,
    pub(crate) rows: u64,
    pub(crate) plan: Plan,
    /// In the order of the plan.
    pub(crate) features: Vec<FeatureReference>,
    /// SHA-256 of its contents.
    pub(crate) identity: String,
}

/// The distribution of a feature.
#[derive(Debug, Clone)]
pub(crate) struct FeatureReference {
    pub(crate) rows: u64,
    pub(crate) missing: u64,
    pub(crate) distinct: u64,
    pub(crate) known: Known,
}

#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It had no values.
    Nothing,
    Number(NumberReference),
    Category(CategoryReference),
}

#[derive(Debug, Clone)]
pub(crate) struct NumberReference {
    pub(crate) range: Range,
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    pub(crate) edges: Arc<Edges>,
    /// Of each bin.
    pub(crate) counts: Vec<u64>,
    /// The edges at the ends of the groups, by index; the last group has no end.
    pub(crate) group_ends: Vec<usize>,
    /// The group of each bin.
    group_of_bin: Vec<u16>,
}

#[derive(Debug, Clone)]
pub(crate) struct CategoryReference {
    /// The most frequent ones.
    pub(crate) listed: Vec<(String, u64)>,
    /// Of all others together.
    pub(crate) rest: u64,
    index: HashMap<String, usize>,
}

impl NumberReference {
    pub(crate) fn new(range: Range, (mean, deviation): (f64, f64), edges: Arc<Edges>, counts: Vec<u64>) -> Self {
        let total: u64 = counts.iter().sum();
        let (mut group_ends, mut below, mut tenth) = (Vec::new(), 0, 1);
        for (index, count) in counts.iter().take(edges.values().len()).enumerate() {
            below += count;
            // The decile is the first edge with at least its share of the rows.
            let mut is_end = false;
            while tenth < GROUPS && u128::from(below) * GROUPS as u128 >= u128::from(total) * tenth as u128 {
                tenth += 1;
                is_end = true;
            }
            // All rows being below an edge, the group above it would be empty by definition.
            if is_end && below < total {
                group_ends.push(index);
            }
        }
        let group_of_bin = (0..counts.len()).map(|bin| group_ends.partition_point(|end| *end < bin) as u16).collect();
        Self { range, mean, deviation, edges, counts, group_ends, group_of_bin }
    }

    /// The counts of bins as those of groups.
    pub(crate) fn groups(&self, bins: &[u64]) -> Vec<u64> {
        let mut groups = vec![0; self.group_ends.len() + 1];
        for (bin, count) in bins.iter().enumerate() {
            if let Some(group) = groups.get_mut(self.group_of(bin)) {
                *group += count;
            }
        }
        groups
    }

    #[inline]
    pub(crate) fn group_of(&self, bin: usize) -> usize {
        self.group_of_bin.get(bin).map_or(0, |group| usize::from(*group))
    }
}

impl CategoryReference {
    /// Lists the most frequent of these categories.
    pub(crate) fn new(mut counts: Vec<(String, u64)>, mut rest: u64) -> Self {
        for (_, count) in counts.drain(MAX_LISTED.min(counts.len())..) {
            rest += count;
        }
        let index = counts.iter().enumerate().map(|(index, (key, _))| (key.clone(), index)).collect();
        Self { listed: counts, rest, index }
    }

    /// The group of a category: its place in the list, or the one behind it.
    pub(crate) fn group_of(&self, key: &str) -> usize {
        self.index.get(key).copied().unwrap_or(self.listed.len())
    }

    /// The group of a text.
    pub(crate) fn group_of_text(&self, text: &[u8]) -> usize {
        self.group_of(&key_of(text))
    }

    /// Whether no category is listed twice.
    fn has_distinct_names(&self) -> bool {
        self.index.len() == self.listed.len()
    }

    pub(crate) fn reference_groups(&self) -> Vec<u64> {
        self.listed.iter().map(|(_, count)| *count).chain([self.rest]).collect()
    }

    /// The counts of categories as those of groups.
    pub(crate) fn groups(&self, counts: &[(String, u64)], pooled: u64) -> Vec<u64> {
        let mut groups = vec![0; self.listed.len() + 1];
        for (key, count) in counts {
            if let Some(group) = groups.get_mut(self.group_of(key)) {
                *group += count;
            }
        }
        if let Some(rest) = groups.last_mut() {
            *rest += pooled;
        }
        groups
    }
}

impl FeatureReference {
    /// The distribution that was counted.
    pub(crate) fn from_tally(tally: &Tally, edges: Option<&Arc<Edges>>) -> Self {
        let (distinct, known) = match tally {
            Tally::Number(number) => {
                let known = match (edges, number.range, number.mean_and_deviation()) {
                    (Some(edges), Some(range), Some(moments)) => {
                        Known::Number(NumberReference::new(range, moments, edges.clone(), number.bins.clone()))
                    }
                    _ => Known::Nothing,
                };
                (number.distinct(), known)
            }
            Tally::Category(category) => {
                let (counts, pooled) = category.counts();
                (category.distinct(), Known::Category(CategoryReference::new(counts, pooled)))
            }
        };
        Self { rows: tally.rows(), missing: tally.missing(), distinct, known }
    }

    /// Empty counts of a current window.
    pub(crate) fn tally(&self, is_category: bool, k: u16) -> Tally {
        match &self.known {
            Known::Number(number) => Tally::Number(Box::new(NumberTally::in_bins(number.edges.clone(), number.range))),
            _ => empty_tally(is_category, k),
        }
    }

    /// The number of groups; 0 without a distribution.
    pub(crate) fn group_count(&self) -> usize {
        match &self.known {
            Known::Nothing => 0,
            Known::Number(number) => number.group_ends.len() + 1,
            Known::Category(category) => category.listed.len() + 1,
        }
    }

    /// The counts of the reference by group.
    pub(crate) fn groups(&self) -> Vec<u64> {
        match &self.known {
            Known::Nothing => Vec::new(),
            Known::Number(number) => number.groups(&number.counts),
            Known::Category(category) => category.reference_groups(),
        }
    }
}

/// Empty counts of a feature without a reference.
pub(crate) fn empty_tally(is_category: bool, k: u16) -> Tally {
    match is_category {
        true => Tally::Category(Box::new(CategoryTally::new())),
        false => Tally::Number(Box::new(NumberTally::sketched(k))),
    }
}
