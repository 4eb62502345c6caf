//! The distribution that a log is compared with: counts of every feature, not rows.

mod file;

use std::collections::HashMap;
use std::sync::Arc;

pub use file::REFERENCE_FILE;

use crate::plan::Plan;
use crate::tally::{CategoryTally, Edges, MAX_LISTED, NumberTally, Range, Tally, key_of};

/// Groups of a number, for the population stability index: tenths of the reference. A value that has a tenth of the
/// rows alone is a group of its own.
const GROUPS: usize = 10;

/// The fewest rows of a frequent value: of ten rows, each has a tenth.
const LEAST_FREQUENT: u64 = 2;

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
    /// The ends without those of frequent values: the groups of earlier versions.
    tenths: Vec<usize>,
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
        let tenths = tenths(&edges, &counts);
        let group_ends = with_frequent_values(&tenths, &edges, &counts);
        let group_of_bin = (0..counts.len()).map(|bin| group_ends.partition_point(|end| *end < bin) as u16).collect();
        Self { range, mean, deviation, edges, counts, group_ends, group_of_bin, tenths }
    }

    /// Counts of tenths, as earlier versions had them, as those of groups: in the proportions of the reference, so that
    /// the population stability index stays what it was.
    fn split(&self, of_tenths: &[u64]) -> Vec<u64> {
        let reference = self.groups(&self.counts);
        let mut split = Vec::with_capacity(reference.len());
        for (tenth, count) in of_tenths.iter().enumerate() {
            let end = self.tenths.get(tenth);
            let end = end.map_or(reference.len(), |end| self.group_ends.partition_point(|other| other <= end));
            let groups = reference.get(split.len()..end).unwrap_or_default();
            let (mut rows, mut left) = (groups.iter().sum::<u64>(), *count);
            for group in groups {
                // The last group with rows gets what is left, so that none is lost by rounding.
                let share = match rows {
                    0 => left,
                    rows => (u128::from(left) * u128::from(*group) / u128::from(rows)) as u64,
                };
                (left, rows) = (left - share, rows - group);
                split.push(share);
            }
        }
        split
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

/// The edges at the ends of the tenths: each is the first edge with at least its share of the rows.
fn tenths(edges: &Edges, counts: &[u64]) -> Vec<usize> {
    let total: u64 = counts.iter().sum();
    let (mut ends, mut below, mut tenth) = (Vec::new(), 0, 1);
    for (index, count) in counts.iter().take(edges.values().len()).enumerate() {
        below += count;
        let mut is_end = false;
        while tenth < GROUPS && u128::from(below) * GROUPS as u128 >= u128::from(total) * tenth as u128 {
            tenth += 1;
            is_end = true;
        }
        // All rows being below an edge, the group above it would be empty by definition.
        if is_end && below < total {
            ends.push(index);
        }
    }
    ends
}

/// The ends of groups, with those around frequent values. Of tenths alone, all that such a value fills would be one
/// group, with the numbers below it or above it: where it is the largest or the only one, nothing else was ever drift.
fn with_frequent_values(tenths: &[usize], edges: &Edges, counts: &[u64]) -> Vec<usize> {
    let total: u64 = counts.iter().sum();
    let mut ends = tenths.to_vec();
    for (bin, count) in counts.iter().enumerate() {
        let is_frequent = *count >= LEAST_FREQUENT && u128::from(*count) * GROUPS as u128 >= u128::from(total);
        if is_frequent && edges.has_one_value(bin) {
            ends.extend([bin - 1, bin]);
        }
    }
    ends.sort_unstable();
    ends.dedup();
    ends
}

impl Reference {
    /// Makes counts by group of what an earlier version wrote, whose groups were tenths alone.
    pub(crate) fn renew_groups(&self, counts: &mut Vec<u64>) {
        let tenths: usize = self.features.iter().map(FeatureReference::tenth_count).sum();
        let groups: usize = self.features.iter().map(FeatureReference::group_count).sum();
        if tenths == groups || counts.len() != tenths {
            return;
        }
        let mut rest = counts.as_slice();
        let mut renewed = Vec::with_capacity(groups);
        for feature in &self.features {
            let Some((own, others)) = rest.split_at_checked(feature.tenth_count()) else { return };
            match &feature.known {
                Known::Number(number) => renewed.extend(number.split(own)),
                Known::Nothing | Known::Category(_) => renewed.extend_from_slice(own),
            }
            rest = others;
        }
        *counts = renewed;
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
            Known::Number(number) => {
                let tally = NumberTally::in_bins(number.edges.clone(), number.range);
                Tally::Number(Box::new(tally.with_sketch(k)))
            }
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

    /// The number of groups in earlier versions.
    fn tenth_count(&self) -> usize {
        match &self.known {
            Known::Number(number) => number.tenths.len() + 1,
            Known::Nothing | Known::Category(_) => self.group_count(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_values_are_groups_and_tenths_of_earlier_versions_are_split() {
        let edges = Edges::from_quantiles(&[1.0, 2.0, 3.0, 4.0, 9.0, 9.0]).unwrap();
        let range = Range { min: 1.0, max: 9.0 };
        // The fifth is between 4 and 9, the sixth 9 alone.
        let counts = vec![10, 10, 5, 5, 10, 60, 0];
        let known = NumberReference::new(range, (6.0, 1.0), Arc::new(edges), counts.clone());
        assert_eq!((known.tenths.as_slice(), known.group_ends.as_slice()), (&[0, 1, 3, 4][..], &[0, 1, 3, 4, 5][..]));
        assert_eq!(known.groups(&counts), [10, 10, 10, 10, 60, 0]);
        assert_eq!(known.split(&[1, 2, 3, 4, 50]), [1, 2, 3, 4, 50, 0]);

        let counts = vec![10, 10, 5, 5, 5, 65, 0];
        let known = NumberReference::new(range, (6.0, 1.0), known.edges, counts.clone());
        assert_eq!((known.tenths.as_slice(), known.group_ends.as_slice()), (&[0, 1, 3][..], &[0, 1, 3, 4, 5][..]));
        assert_eq!(known.groups(&counts), [10, 10, 10, 5, 65, 0]);
        assert_eq!(known.split(&[1, 2, 3, 20]), [1, 2, 3, 1, 19, 0]);
        // Of ten rows, none is frequent.
        let known = NumberReference::new(range, (6.0, 1.0), known.edges, vec![2, 2, 2, 2, 1, 1, 0]);
        assert_eq!(known.tenths, known.group_ends);
    }
}
