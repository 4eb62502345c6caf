//! Counts of a window of time, or of a slice.

use serde::{Deserialize, Serialize};

use crate::quality::Quality;
use crate::sketch::Quantiles;

/// The `k` of a window's latency.
const LATENCY_K: u16 = 64;

/// Counts of a part of the rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) requests: u64,
    pub(crate) rows: u64,
    pub(crate) failures: u64,
    pub(crate) latency: Quantiles,
    /// Of each feature's groups in the reference, one feature after the other; empty without a reference.
    pub(crate) counts: Vec<u64>,
    pub(crate) quality: Quality,
}

impl Group {
    pub(crate) fn new() -> Self {
        Self {
            requests: 0,
            rows: 0,
            failures: 0,
            latency: Quantiles::new(LATENCY_K),
            counts: Vec::new(),
            quality: Quality::default(),
        }
    }

    /// Counts a row by the index of each feature's group among all groups, of which there are `all`.
    pub(crate) fn add_row(&mut self, groups: &[usize], all: usize) {
        self.rows += 1;
        self.counts.resize(all, 0);
        for group in groups {
            if let Some(count) = self.counts.get_mut(*group) {
                *count += 1;
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.rows += other.rows;
        self.failures += other.failures;
        self.latency.merge(&other.latency);
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own += other;
        }
        self.quality.merge(&other.quality);
    }
}
