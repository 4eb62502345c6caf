//! Whether a shared run costs less than its requests one by one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::latency::LatencyEstimator;

/// The cost of combining one request with others and distributing its outputs.
pub(super) const BATCH_OVERHEAD: Duration = Duration::from_micros(4);

/// Requests until sharing is tried again after it did not pay.
const RETRY_AFTER: u32 = 512;

/// Run times of shared runs. TensorFlow divides a batch among the cores, but not a single row: on a busy machine a
/// batch may take longer than its rows one by one.
#[derive(Default)]
pub(super) struct BatchBenefit {
    /// Time a request.
    batched: LatencyEstimator,
    retry_in: AtomicU32,
}

impl BatchBenefit {
    /// Records a run that several requests shared.
    pub(super) fn record(&self, took: Duration, requests: usize) {
        self.batched.record(took / u32::try_from(requests.max(1)).unwrap_or(u32::MAX), 0);
    }

    /// Whether a request should wait for others, compared with `alone`, the run times of requests that ran alone.
    /// `true` while too little is known.
    pub(super) fn is_expected(&self, alone: &LatencyEstimator) -> bool {
        let retry_in = self.retry_in.load(Ordering::Relaxed);
        if retry_in > 0 {
            // Two threads may count down by one together: nothing depends on the exact number.
            self.retry_in.store(retry_in - 1, Ordering::Relaxed);
            return false;
        }
        let Some(batched) = self.batched.median() else { return true };
        let Some(alone) = alone.median() else { return true };
        // It must save a quarter at least: a smaller gain is lost again when the outputs are distributed.
        let pays = (batched + BATCH_OVERHEAD) * 4 < alone * 3;
        if !pays {
            self.batched.reset();
            self.retry_in.store(RETRY_AFTER, Ordering::Relaxed);
        }
        pays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_after_a_pause_when_batching_does_not_pay() {
        let (benefit, alone) = (BatchBenefit::default(), LatencyEstimator::default());
        let micros = Duration::from_micros;
        assert!(benefit.is_expected(&alone));
        (0..16).for_each(|_| alone.record(micros(50), 1));
        assert!(benefit.is_expected(&alone));
        (0..16).for_each(|_| benefit.record(micros(80), 4));
        assert!(benefit.is_expected(&alone));
        // 35 µs a request.
        (0..16).for_each(|_| benefit.record(micros(140), 4));
        assert!(!benefit.is_expected(&alone));
        assert!((0..RETRY_AFTER).all(|_| !benefit.is_expected(&alone)));
        assert!(benefit.is_expected(&alone), "it is tried again");
        (0..16).for_each(|_| benefit.record(micros(80), 4));
        assert!(benefit.is_expected(&alone));
    }
}
