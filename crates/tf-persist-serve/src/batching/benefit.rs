//! Whether requests that are run together are done sooner than one by one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::latency::LatencyEstimator;

/// What it takes to lay a request together with others and to hand out its answer.
const BATCH_OVERHEAD: Duration = Duration::from_micros(4);

/// After it did not pay, it is tried again after so many requests.
const RETRY_AFTER: u32 = 512;

/// What runs of several requests took. A batch is divided among the cores by TensorFlow, where one row is not: on a busy machine it may
/// take longer than its rows one by one.
#[derive(Default)]
pub(super) struct BatchBenefit {
    /// For each request of a run.
    batched: LatencyEstimator,
    retry_in: AtomicU32,
}

impl BatchBenefit {
    /// Remembers a run of so many requests.
    pub(super) fn record(&self, took: Duration, requests: usize) {
        self.batched.record(took / u32::try_from(requests.max(1)).unwrap_or(u32::MAX), 0);
    }

    /// Whether a request should wait for others, by what those took that ran alone. So long as too little is known, it should.
    pub(super) fn is_expected(&self, alone: &LatencyEstimator) -> bool {
        let retry_in = self.retry_in.load(Ordering::Relaxed);
        if retry_in > 0 {
            // Two at the same time may count one: nothing depends on it.
            self.retry_in.store(retry_in - 1, Ordering::Relaxed);
            return false;
        }
        let Some(batched) = self.batched.median() else { return true };
        let Some(alone) = alone.median() else { return true };
        // A quarter less at least: little that is gained is lost again where the answers are handed out.
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
    fn what_does_not_pay_is_tried_again_later() {
        let (benefit, alone) = (BatchBenefit::default(), LatencyEstimator::default());
        let micros = Duration::from_micros;
        assert!(benefit.is_expected(&alone));
        (0..16).for_each(|_| alone.record(micros(50), 1));
        assert!(benefit.is_expected(&alone));
        (0..16).for_each(|_| benefit.record(micros(80), 4));
        assert!(benefit.is_expected(&alone));
        // 35 for each of them.
        (0..16).for_each(|_| benefit.record(micros(140), 4));
        assert!(!benefit.is_expected(&alone));
        assert!((0..RETRY_AFTER).all(|_| !benefit.is_expected(&alone)));
        assert!(benefit.is_expected(&alone), "it is tried again");
        (0..16).for_each(|_| benefit.record(micros(80), 4));
        assert!(benefit.is_expected(&alone));
    }
}
