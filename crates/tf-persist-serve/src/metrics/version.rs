//! The metrics of one version of a model, where traffic is split between versions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tf_persist_core::Code;

use super::buckets::PHASE;
use super::histogram::Histogram;
use super::model::{CODES, code_index};
use super::nanos;

/// The number of outcomes of a request to a shadow.
const OUTCOMES: usize = 4;

/// What became of a request to a shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ShadowOutcome {
    /// Its answer is that of the version that answered, within the tolerance.
    Same,
    /// Its answer is another one.
    Differs,
    /// It could not answer.
    Failed,
    /// It was not asked: too many requests waited for shadows.
    Dropped,
}

/// The metrics of one version.
pub(crate) struct VersionMetrics {
    /// Requests by the number of their status code.
    pub(super) requests: [AtomicU64; CODES as usize],
    /// The latency of successful requests, in nanoseconds.
    pub(super) latency: Histogram,
    shadows: Mutex<BTreeMap<i64, ShadowMetrics>>,
}

/// The answers of a shadow to the requests that the version answered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ShadowMetrics {
    outcomes: [u64; OUTCOMES],
    /// The largest absolute difference of a floating-point number; `None` if none was compared.
    pub(super) largest_difference: Option<f64>,
}

impl VersionMetrics {
    pub(super) fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| AtomicU64::new(0)),
            latency: Histogram::new(&PHASE.limits),
            shadows: Mutex::default(),
        }
    }

    /// Records a request that succeeded, or failed with this code.
    pub(crate) fn record_request(&self, refused: Option<Code>, elapsed: Duration) {
        self.requests[code_index(refused)].fetch_add(1, Ordering::Relaxed);
        if refused.is_none() {
            self.latency.add(nanos(elapsed));
        }
    }

    /// Records what became of a request to a shadow, and the largest difference of a floating-point number, if any were
    /// compared. Returns how many requests had the same outcome before.
    pub(crate) fn record_shadow(&self, shadow: i64, outcome: ShadowOutcome, difference: Option<f64>) -> u64 {
        let mut shadows = self.lock();
        let metrics = shadows.entry(shadow).or_default();
        let count = &mut metrics.outcomes[outcome as usize];
        let before = *count;
        *count += 1;
        if let Some(difference) = difference {
            metrics.largest_difference = Some(metrics.largest_difference.unwrap_or(0.0).max(difference));
        }
        before
    }

    pub(super) fn shadows(&self) -> BTreeMap<i64, ShadowMetrics> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, ShadowMetrics>> {
        self.shadows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShadowMetrics {
    /// The counts with the labels of their outcomes.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ["same", "differs", "failed", "dropped"].into_iter().zip(self.outcomes)
    }
}
