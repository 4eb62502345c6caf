//! A histogram without locks.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of values by bucket, with fixed limits. Values are integers: counts, or nanoseconds.
pub(super) struct Histogram {
    limits: &'static [u64],
    /// One more than there are limits: the last bucket has the values beyond them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A snapshot of a histogram.
pub(super) struct Snapshot {
    /// Cumulative counts by limit; the last one is the total.
    pub(super) cumulative: Vec<u64>,
    /// The sum of all values, in the unit.
    pub(super) sum: u64,
}

impl Snapshot {
    /// The number of values.
    pub(super) fn count(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(0)
    }
}

impl Histogram {
    /// A histogram with these upper limits, in ascending order.
    pub(super) fn new(limits: &'static [u64]) -> Self {
        Self { limits, counts: (0..=limits.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Adds a value. A value equal to a limit belongs to the bucket below it, as in Prometheus.
    pub(super) fn add(&self, value: u64) {
        let bucket = self.limits.partition_point(|limit| *limit < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut total = 0;
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let cumulative = counts.map(|count| {
            total += count;
            total
        });
        Snapshot { cumulative: cumulative.collect(), sum: self.sum.load(Ordering::Relaxed) }
    }
}
