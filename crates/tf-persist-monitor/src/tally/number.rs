//! Counts of a feature that is a number.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Edges;
use crate::as_text;
use crate::sketch::{Distinct, Quantiles};

/// Counts of a number, in the bins of a reference if there is one, and as a sketch of quantiles otherwise.
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
    quantiles: Option<Quantiles>,
}

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
        Self { quantiles: Some(Quantiles::new(k)), ..Self::empty() }
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
    /// A sentence, if there are more or fewer bins.
    pub(crate) fn attach(&mut self, edges: Option<Arc<Edges>>, bounds: Option<Range>) -> Result<(), String> {
        let bins = edges.as_ref().map_or(0, |edges| edges.bins());
        if self.bins.len() != bins || edges.is_none() != self.quantiles.is_some() {
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
        if let Some(bounds) = self.bounds {
            self.below += u64::from(value < bounds.min);
            self.above += u64::from(value > bounds.max);
        }
        self.distinct.add_bits((value + 0.0).to_bits());
        if let Some(quantiles) = &mut self.quantiles {
            quantiles.add(value);
        }
        let bin = self.edges.as_ref()?.bin(value);
        if let Some(count) = self.bins.get_mut(bin) {
            *count += 1;
        }
        Some(bin)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
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
        if let (Some(own), Some(other)) = (&mut self.quantiles, &other.quantiles) {
            own.merge(other);
        }
    }

    pub(crate) fn mean_and_deviation(&self) -> Option<(f64, f64)> {
        self.moments.mean_and_deviation()
    }

    pub(crate) fn distinct(&self) -> u64 {
        self.distinct.estimate()
    }

    /// The numbers at these ranks from 0 to 1: by the sketch, or as the upper edge of the bin where they are.
    pub(crate) fn quantiles(&self, ranks: &[f64]) -> Vec<f64> {
        if let Some(sketch) = &self.quantiles {
            return sketch.at(ranks);
        }
        let (Some(edges), Some(Range { min, max })) = (&self.edges, self.range) else { return Vec::new() };
        let total: u64 = self.bins.iter().sum();
        let at = |rank: &f64| {
            let wanted = (rank * total as f64).ceil().max(1.0);
            let mut below = 0;
            let bin = self.bins.iter().position(|count| {
                below += count;
                below as f64 >= wanted
            });
            bin.and_then(|bin| edges.values().get(bin)).map_or(max, |edge| edge.clamp(min, max))
        };
        ranks.iter().map(at).collect()
    }
}
