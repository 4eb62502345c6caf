//! The measures of batching, which TensorFlow Serving keeps over all models together (`batching/batching_{session.cc,util.h}`).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buckets::{BATCHES, QUEUEING};
use super::histogram::Histogram;

/// So many sizes of runs are told apart in what was added to them; larger ones are not measured. It is the size that batches have
/// at most in all but strange settings.
const MAX_BATCH_SIZES: usize = 4096;

/// The measures of batching.
pub(super) struct BatchMetrics {
    /// How long requests waited, in nanoseconds.
    pub(super) queueing: Histogram,
    /// The rows of each input of a request.
    pub(super) input: Histogram,
    /// The rows of a run, with those that were added.
    pub(super) processed: Histogram,
    /// The rows that were added to a run, by how many it had then.
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
    /// A run of so many rows, of which `padding` were added.
    pub(super) fn record_run(&self, rows: usize, padding: usize) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.processed.add(rows as u64);
        let mut sizes = self.padding.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if sizes.len() < MAX_BATCH_SIZES || sizes.contains_key(&rows) {
            sizes.entry(rows).or_insert_with(|| Histogram::new(&BATCHES.limits)).add(padding as u64);
        }
    }

    /// How many runs there were.
    pub(super) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }
}
