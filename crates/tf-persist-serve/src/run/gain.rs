//! Whether requests that are run together are done sooner than one by one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::recent::Recent;

/// What it takes to lay a request together with others and to hand out its answer.
const TOGETHER: Duration = Duration::from_micros(4);

/// After it did not pay, it is tried again after so many requests.
const REST: u32 = 512;

/// What runs of several requests took. A batch is divided among the cores by TensorFlow, where one row is not: on a busy machine it may
/// take longer than its rows one by one.
#[derive(Default)]
pub(super) struct Gain {
    /// For each request of a run.
    together: Recent,
    rest: AtomicU32,
}

impl Gain {
    /// Remembers a run of so many requests.
    pub(super) fn note(&self, took: Duration, requests: usize) {
        self.together.note(took / u32::try_from(requests.max(1)).unwrap_or(u32::MAX), 0);
    }

    /// Whether a request should wait for others, by what those took that ran alone. So long as too little is known, it should.
    pub(super) fn is_expected(&self, alone: &Recent) -> bool {
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            // Two at the same time may count one: nothing depends on it.
            self.rest.store(rest - 1, Ordering::Relaxed);
            return false;
        }
        let Some(together) = self.together.median() else { return true };
        let Some(alone) = alone.median() else { return true };
        // A quarter less at least: little that is gained is lost again where the answers are handed out.
        let pays = (together + TOGETHER) * 4 < alone * 3;
        if !pays {
            self.together.forget();
            self.rest.store(REST, Ordering::Relaxed);
        }
        pays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_pay_is_tried_again_later() {
        let (gain, alone) = (Gain::default(), Recent::default());
        let micros = Duration::from_micros;
        assert!(gain.is_expected(&alone));
        (0..16).for_each(|_| alone.note(micros(50), 1));
        assert!(gain.is_expected(&alone));
        (0..16).for_each(|_| gain.note(micros(80), 4));
        assert!(gain.is_expected(&alone));
        // 35 for each of them.
        (0..16).for_each(|_| gain.note(micros(140), 4));
        assert!(!gain.is_expected(&alone));
        assert!((0..REST).all(|_| !gain.is_expected(&alone)));
        assert!(gain.is_expected(&alone), "it is tried again");
        (0..16).for_each(|_| gain.note(micros(80), 4));
        assert!(gain.is_expected(&alone));
    }
}
