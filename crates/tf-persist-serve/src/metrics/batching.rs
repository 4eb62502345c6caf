//! Metrics of batching, which TensorFlow Serving has for all models together (`batching/batching_{session.cc,util.h}`).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buckets::{BATCHES, QUEUEING};
use super::histogram::Histogram;

/// How many batch sizes have a histogram of padding. Further sizes are not recorded; ordinary settings have fewer.
const MAX_BATCH_SIZES: usize = 4096;

/// Metrics of batching.
pub(super) struct BatchMetrics {
    /// How long requests waited, in nanoseconds.
    pub(super) queueing: Histogram,
    /// The rows of each input of a request.
    pub(super) input: Histogram,
    /// The rows of a run, including padding.
    pub(super) processed: Histogram,
    /// The rows of padding, by the rows of the run.
    pub(super) padding: Mutex<BTreeMap<usize, Histogram>>,
    runs: AtomicU64,
}

impl Default for BatchMetrics {
    fn default() -> Self {
        Self {
            queueing: Histogram::new(&QUEUEING.limits),
            input: Histogram::new(&BATCHES.limits),
            processed: Histogram::new(&BATCHES.limits),
            padding: Mutex::default(),
            runs: AtomicU64::new(0),
        }
    }
}

impl BatchMetrics {
    /// Records a run of this many rows, including the padding.
    pub(super) fn record_run(&self, rows: usize, padding: usize) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.processed.add(rows as u64);
        let mut sizes = self.padding.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if sizes.len() < MAX_BATCH_SIZES || sizes.contains_key(&rows) {
            sizes.entry(rows).or_insert_with(|| Histogram::new(&BATCHES.limits)).add(padding as u64);
        }
    }

    /// The number of runs.
    pub(super) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }
}
