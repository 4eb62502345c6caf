//! A histogram that any thread may add to.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of values by the buckets they fall into, of fixed limits. Values are whole numbers of a unit: a count, or nanoseconds.
pub(super) struct Histogram {
    limits: &'static [u64],
    /// One more than there are limits: the last is of what is beyond them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram held at one moment.
pub(super) struct Snapshot {
    /// By limit, with all that is below it; the last is of everything.
    pub(super) cumulative: Vec<u64>,
    /// The sum of all values, in the unit.
    pub(super) sum: u64,
}

impl Snapshot {
    /// How many values there were.
    pub(super) fn count(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(0)
    }
}

impl Histogram {
    /// A histogram of these upper limits, which rise.
    pub(super) fn new(limits: &'static [u64]) -> Self {
        Self { limits, counts: (0..=limits.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Adds a value. What stands on a limit is below it, as Prometheus has it.
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
