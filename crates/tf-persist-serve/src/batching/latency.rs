//! How long the next run of a signature will take, by the last ones.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Runs that are remembered.
const WINDOW: usize = 16;

/// Runs before there is an estimate.
const MIN_SAMPLES: usize = 8;

/// A run of this length was slow by itself: an operating system rarely suspends a thread for that long. If it ran in a
/// connection's thread, the other connections of that thread waited.
const SLOW_RUN: Duration = Duration::from_millis(50);

/// Requests after a slow run that do not run inline, whatever the estimate: one request in some hundred may be slow
/// because of its values.
const COOLDOWN_REQUESTS: usize = 1024;

/// The last runs: how long they took, and the bytes of their inputs.
#[derive(Default)]
pub(super) struct LatencyEstimator {
    seen: AtomicUsize,
    /// Requests left in the cooldown.
    cooldown: AtomicUsize,
    /// Nanoseconds in the upper half, bytes in the lower, both cut to 32 bits.
    runs: [AtomicU64; WINDOW],
}

impl LatencyEstimator {
    /// Notes how long a run took, shared or not, successful or not. A slow one starts the cooldown.
    pub(super) fn observe(&self, took: Duration) {
        // The first run initializes the session and is slow for every model.
        if took >= SLOW_RUN && self.seen.load(Ordering::Relaxed) > 0 {
            self.cooldown.store(COOLDOWN_REQUESTS, Ordering::Relaxed);
        }
    }

    /// Records a run of one request.
    pub(super) fn record(&self, took: Duration, bytes: usize) {
        let cut = |number: u64| number.clamp(1, u32::MAX.into());
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let run = cut(took) << 32 | cut(bytes as u64);
        let place = self.seen.fetch_add(1, Ordering::Relaxed);
        self.runs[place % WINDOW].store(run, Ordering::Relaxed);
    }

    /// The expected run time of a request with this many bytes of inputs: the upper quartile of the recorded times,
    /// scaled up for larger inputs. During the slowest runs the operating system usually ran something else. `None` if
    /// too few runs are recorded.
    pub(super) fn estimate(&self, bytes: usize) -> Option<Duration> {
        self.quantile(4, bytes)
    }

    /// Median of the recorded run times, whatever their inputs. `None` if too few runs are recorded.
    pub(super) fn median(&self) -> Option<Duration> {
        self.quantile(2, 0)
    }

    /// Forgets all runs.
    pub(super) fn reset(&self) {
        self.seen.store(0, Ordering::Relaxed);
        self.runs.iter().for_each(|run| run.store(0, Ordering::Relaxed));
    }

    /// The time that one run in `one_in` took at least.
    fn quantile(&self, one_in: usize, bytes: usize) -> Option<Duration> {
        let seen = self.seen.load(Ordering::Relaxed).min(WINDOW);
        if seen < MIN_SAMPLES {
            return None;
        }
        let mut times = [0; WINDOW];
        for (time, run) in times.iter_mut().zip(&self.runs) {
            let run = run.load(Ordering::Relaxed);
            // Empty entries are 0 in both halves.
            let (took, had) = (run >> 32, (run & u64::from(u32::MAX)).max(1));
            let bytes = bytes as u64;
            *time = if bytes > had { took.saturating_mul(bytes) / had } else { took };
        }
        // Empty entries are 0 and sort first.
        let (_, time, _) = times.select_nth_unstable(WINDOW - 1 - seen / one_in);
        Some(Duration::from_nanos(*time))
    }

    /// Whether a run was slow lately, so that the estimate is not to be relied on. Counts the cooldown down: call it
    /// once a request.
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
    fn estimate_is_the_upper_quartile_scaled_by_bytes() {
        let latency = LatencyEstimator::default();
        for run in 0..7 {
            latency.record(Duration::from_micros(10 + run), 100);
        }
        assert_eq!(latency.estimate(100), None);
        latency.record(Duration::from_millis(9), 100);
        assert_eq!(latency.estimate(100), Some(Duration::from_micros(15)));
        assert_eq!(latency.estimate(10), Some(Duration::from_micros(15)));
        assert_eq!(latency.estimate(1000), Some(Duration::from_micros(150)));
        // More than a quarter of the runs count, and old ones are forgotten.
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
    fn slow_run_starts_the_cooldown() {
        let latency = LatencyEstimator::default();
        // The first run does not count.
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
    fn large_numbers_are_clamped() {
        let latency = LatencyEstimator::default();
        (0..8).for_each(|_| latency.record(Duration::from_secs(60), usize::MAX));
        assert_eq!(latency.estimate(0), Some(Duration::from_nanos(u32::MAX.into())));
        assert!(latency.estimate(usize::MAX) >= latency.estimate(0));
    }
}
