//! Counts of a feature that is a number.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Edges;
use crate::as_text;
use crate::sketch::{Distinct, Quantiles};

/// Counts of a number, in the bins of a reference if there is one, and a sketch of its quantiles: numbers outside of
/// the reference are all in one bin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NumberTally {
    pub(crate) rows: u64,
    pub(crate) missing: u64,
    pub(crate) absent: u64,
    /// Numbers outside of the reference's minimum and maximum.
    pub(crate) below: u64,
    pub(crate) above: u64,
    /// The least and the largest finite number.
    pub(crate) range: Option<Range>,
    moments: Moments,
    #[serde(skip)]
    bounds: Option<Range>,
    #[serde(skip)]
    edges: Option<Arc<Edges>>,
    pub(crate) bins: Vec<u64>,
    distinct: Distinct,
    /// Earlier versions had it without a reference only.
    quantiles: Option<Quantiles>,
}

/// A bin with a smaller share of the numbers than one of this many has quantiles as exact as the sketch's.
const FINE_BINS: u64 = 256;

/// The least and the largest number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    #[serde(with = "as_text")]
    pub(crate) min: f64,
    #[serde(with = "as_text")]
    pub(crate) max: f64,
}

impl Range {
    /// Of both.
    fn with(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// Sums of finite numbers about the first of them, so that large numbers lose no digits.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moments {
    count: u64,
    #[serde(with = "as_text")]
    center: f64,
    #[serde(with = "as_text")]
    sum: f64,
    #[serde(with = "as_text")]
    squares: f64,
}

impl Moments {
    #[inline]
    fn add(&mut self, value: f64) {
        if self.count == 0 {
            self.center = value;
        }
        self.count += 1;
        let from_center = value - self.center;
        self.sum += from_center;
        self.squares += from_center * from_center;
    }

    fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            *self = *other;
            return;
        }
        let moved = other.center - self.center;
        let count = other.count as f64;
        self.squares += other.squares + 2.0 * moved * other.sum + count * moved * moved;
        self.sum += other.sum + count * moved;
        self.count += other.count;
    }

    /// The mean and the standard deviation.
    fn mean_and_deviation(&self) -> Option<(f64, f64)> {
        if self.count == 0 {
            return None;
        }
        let count = self.count as f64;
        let mean = self.sum / count;
        let variance = (self.squares / count - mean * mean).max(0.0);
        Some((self.center + mean, variance.sqrt()))
    }
}

impl NumberTally {
    /// Counts in the bins of these edges. `bounds` are the reference's minimum and maximum.
    pub(crate) fn in_bins(edges: Arc<Edges>, bounds: Range) -> Self {
        let bins = vec![0; edges.bins()];
        Self { bins, edges: Some(edges), bounds: Some(bounds), ..Self::empty() }
    }

    /// A sketch of quantiles with this `k`.
    pub(crate) fn sketched(k: u16) -> Self {
        Self::empty().with_sketch(k)
    }

    /// The same, with a sketch of quantiles with this `k`.
    pub(crate) fn with_sketch(self, k: u16) -> Self {
        Self { quantiles: Some(Quantiles::new(k)), ..self }
    }

    fn empty() -> Self {
        Self {
            rows: 0,
            missing: 0,
            absent: 0,
            below: 0,
            above: 0,
            range: None,
            moments: Moments::default(),
            bounds: None,
            edges: None,
            bins: Vec::new(),
            distinct: Distinct::new(),
            quantiles: None,
        }
    }

    /// Gives counts that were read from a file the edges that they were made with.
    ///
    /// # Errors
    /// A sentence, if there are more or fewer bins, or nothing to take quantiles of.
    pub(crate) fn attach(&mut self, edges: Option<Arc<Edges>>, bounds: Option<Range>) -> Result<(), String> {
        let bins = edges.as_ref().map_or(0, |edges| edges.bins());
        if self.bins.len() != bins || edges.is_none() && self.quantiles.is_none() {
            return Err(format!("it has {} bins, and the reference {bins}", self.bins.len()));
        }
        (self.edges, self.bounds) = (edges, bounds);
        Ok(())
    }

    /// Counts a number; returns its bin, or `None` if it is missing or there are no bins.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) -> Option<usize> {
        self.rows += 1;
        if value.is_nan() {
            self.missing += 1;
            return None;
        }
        if value.is_finite() {
            self.moments.add(value);
            let here = Range { min: value, max: value };
            self.range = Some(self.range.map_or(here, |range| range.with(here)));
        }
        self.distinct.add_bits((value + 0.0).to_bits());
        if let Some(quantiles) = &mut self.quantiles {
            quantiles.add(value);
        }
        let edges = self.edges.as_ref()?;
        let bin = edges.bin(value);
        // A number that counts as a frequent value is within the range.
        if let Some(bounds) = self.bounds.filter(|it| (value < it.min || value > it.max) && !edges.has_one_value(bin)) {
            self.below += u64::from(value < bounds.min);
            self.above += u64::from(value > bounds.max);
        }
        if let Some(count) = self.bins.get_mut(bin) {
            *count += 1;
        }
        Some(bin)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.quantiles = match (self.quantiles.take(), &other.quantiles) {
            (Some(mut own), Some(other)) => {
                own.merge(other);
                Some(own)
            }
            // The sketch of a part would not be that of all.
            (own, None) if other.rows == other.missing => own,
            (None, Some(other)) if self.rows == self.missing => Some(other.clone()),
            _ => None,
        };
        self.rows += other.rows;
        self.missing += other.missing;
        self.absent += other.absent;
        self.below += other.below;
        self.above += other.above;
        self.range = match (self.range, other.range) {
            (Some(own), Some(other)) => Some(own.with(other)),
            (own, other) => own.or(other),
        };
        self.moments.merge(&other.moments);
        for (own, other) in self.bins.iter_mut().zip(&other.bins) {
            *own += other;
        }
        self.distinct.merge(&other.distinct);
    }

    pub(crate) fn mean_and_deviation(&self) -> Option<(f64, f64)> {
        self.moments.mean_and_deviation()
    }

    pub(crate) fn distinct(&self) -> u64 {
        self.distinct.estimate()
    }

    /// The numbers at these ranks from 0 to 1: the upper edge of the bin where they are, or by the sketch if the bin
    /// has much of the numbers or there are none.
    pub(crate) fn quantiles(&self, ranks: &[f64]) -> Vec<f64> {
        let sketched = self.quantiles.as_ref().map(|sketch| sketch.at(ranks)).unwrap_or_default();
        let (Some(edges), Some(Range { min, max })) = (&self.edges, self.range) else { return sketched };
        let total: u64 = self.bins.iter().sum();
        let edge = |bin: usize| edges.values().get(bin).map(|edge| edge.max(min).min(max));
        let at = |(index, rank): (usize, &f64)| {
            let wanted = (rank * total as f64).ceil().max(1.0);
            let (mut before, mut count) = (0, 0);
            let bin = self.bins.iter().position(|of_bin| {
                (before, count) = (before + count, *of_bin);
                (before + count) as f64 >= wanted
            });
            let Some(bin) = bin else { return max };
            let (start, end) = (edge(bin.wrapping_sub(1)).unwrap_or(min), edge(bin).unwrap_or(max));
            if count <= total / FINE_BINS || edges.has_one_value(bin) {
                return end;
            }
            match sketched.get(index) {
                Some(value) => value.max(start).min(end),
                // An earlier version counted. Beyond the edges, its numbers lie anywhere up to the least or largest.
                None if bin == 0 || bin == edges.values().len() => {
                    start + (end - start) * (wanted - before as f64) / count as f64
                }
                None => end,
            }
        };
        ranks.iter().enumerate().map(at).collect()
    }
}
