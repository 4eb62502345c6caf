//! How long a signature's runs took lately.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How many runs are remembered.
const WINDOW: usize = 16;

/// How many runs must have been seen before anything is said of the next.
const MIN_SAMPLES: usize = 8;

/// A run that takes this long was slow of itself: no operating system keeps a thread waiting for so long as a rule. A connection's
/// thread that ran it was away from its other connections for all that time.
const SLOW_RUN: Duration = Duration::from_millis(50);

/// For so many requests after such a run a short one is not relied on: one in some hundred may be slow for what is in it.
const COOLDOWN_REQUESTS: usize = 1024;

/// The last runs: how long they took and how many bytes went in.
#[derive(Default)]
pub(super) struct LatencyEstimator {
    seen: AtomicUsize,
    /// Requests to come that are not relied on.
    cooldown: AtomicUsize,
    /// Nanoseconds in the upper half, bytes in the lower, both cut to 32 bits.
    runs: [AtomicU64; WINDOW],
}

impl LatencyEstimator {
    /// A run took so long, alone or with others, whatever came of it.
    pub(super) fn observe(&self, took: Duration) {
        // The first of all sets things up.
        if took >= SLOW_RUN && self.seen.load(Ordering::Relaxed) > 0 {
            self.cooldown.store(COOLDOWN_REQUESTS, Ordering::Relaxed);
        }
    }

    /// Remembers a run.
    pub(super) fn record(&self, took: Duration, bytes: usize) {
        let cut = |number: u64| number.clamp(1, u32::MAX.into());
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let run = cut(took) << 32 | cut(bytes as u64);
        let place = self.seen.fetch_add(1, Ordering::Relaxed);
        self.runs[place % WINDOW].store(run, Ordering::Relaxed);
    }

    /// How long a request's run with so many bytes may take: what three quarters of those remembered took at most, and longer in
    /// proportion if more goes in. The slowest are as a rule those during which the operating system ran something else. `None` if
    /// too few were seen.
    pub(super) fn estimate(&self, bytes: usize) -> Option<Duration> {
        self.quantile(4, bytes)
    }

    /// What half of the runs remembered took at least, whatever went in. `None` if too few were seen.
    pub(super) fn median(&self) -> Option<Duration> {
        self.quantile(2, 0)
    }

    /// Forgets all runs.
    pub(super) fn reset(&self) {
        self.seen.store(0, Ordering::Relaxed);
        self.runs.iter().for_each(|run| run.store(0, Ordering::Relaxed));
    }

    /// What one run in so many took at least.
    fn quantile(&self, one_in: usize, bytes: usize) -> Option<Duration> {
        let seen = self.seen.load(Ordering::Relaxed).min(WINDOW);
        if seen < MIN_SAMPLES {
            return None;
        }
        let mut times = [0; WINDOW];
        for (time, run) in times.iter_mut().zip(&self.runs) {
            let run = run.load(Ordering::Relaxed);
            // Where no run was written yet, both are 0.
            let (took, had) = (run >> 32, (run & u64::from(u32::MAX)).max(1));
            let bytes = bytes as u64;
            *time = if bytes > had { took.saturating_mul(bytes) / had } else { took };
        }
        // Those that are not there yet are 0, and so come first.
        let (_, time, _) = times.select_nth_unstable(WINDOW - 1 - seen / one_in);
        Some(Duration::from_nanos(*time))
    }

    /// Whether the next run may take long though it is expected to be short, as one lately did. To be asked once a request.
    pub(super) fn in_cooldown(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.cooldown.load(Ordering::Relaxed) > 0
            && self.cooldown.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_may_be_slower_and_more_takes_longer() {
        let latency = LatencyEstimator::default();
        for run in 0..7 {
            latency.record(Duration::from_micros(10 + run), 100);
        }
        assert_eq!(latency.estimate(100), None);
        latency.record(Duration::from_millis(9), 100);
        assert_eq!(latency.estimate(100), Some(Duration::from_micros(15)));
        assert_eq!(latency.estimate(10), Some(Duration::from_micros(15)));
        assert_eq!(latency.estimate(1000), Some(Duration::from_micros(150)));
        // More than a quarter are no accident, and what lies far back is forgotten.
        (0..3).for_each(|_| latency.record(Duration::from_millis(8), 100));
        assert_eq!(latency.estimate(100), Some(Duration::from_millis(8)));
        (0..WINDOW).for_each(|_| latency.record(Duration::from_micros(5), 100));
        assert_eq!(latency.estimate(100), Some(Duration::from_micros(5)));
        (0..WINDOW / 2).for_each(|_| latency.record(Duration::from_micros(9), 100));
        assert_eq!(latency.median(), Some(Duration::from_micros(5)));
        latency.record(Duration::from_micros(9), 100);
        assert_eq!(latency.median(), Some(Duration::from_micros(9)));
        latency.reset();
        assert_eq!((latency.median(), latency.estimate(100)), (None, None));
    }

    #[test]
    fn after_a_long_run_a_short_one_is_not_relied_on() {
        let latency = LatencyEstimator::default();
        // The first of all is as a rule a long one.
        latency.observe(SLOW_RUN);
        (0..8).for_each(|_| latency.record(Duration::from_micros(5), 100));
        latency.observe(SLOW_RUN - Duration::from_nanos(1));
        assert!(!latency.in_cooldown());
        for _ in 0..2 {
            latency.observe(SLOW_RUN);
            assert!((0..COOLDOWN_REQUESTS).all(|_| latency.in_cooldown()));
            assert!(!latency.in_cooldown());
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_cut() {
        let latency = LatencyEstimator::default();
        (0..8).for_each(|_| latency.record(Duration::from_secs(60), usize::MAX));
        assert_eq!(latency.estimate(0), Some(Duration::from_nanos(u32::MAX.into())));
        assert!(latency.estimate(usize::MAX) >= latency.estimate(0));
    }
}
