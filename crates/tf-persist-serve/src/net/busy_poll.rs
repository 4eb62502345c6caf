//! After a response, a thread polls its connections for a moment before it sleeps: waking it would take longer than a
//! short run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::offload::LongWait;

/// How long a spin lasts: the CPU time that is wasted at most after an event. An idle server wastes none.
const SPIN: Duration = Duration::from_micros(150);

/// Fruitless spins before backing off.
const MAX_MISSES: u32 = 4;

/// Wake-ups to skip while backing off.
const SKIPS: u32 = 64;

/// Keeps a thread awake while its connections are busy.
#[derive(Default)]
pub(super) struct BusyPoller {
    is_woken: AtomicBool,
    notify: Notify,
}

impl BusyPoller {
    /// Notes an event of one of the thread's connections.
    pub(super) fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }

    /// Spins after each event, unless the back-off forbids it. Never returns; must run in the thread itself.
    pub(super) async fn run(&self) {
        let mut backoff = SpinBackoff::default();
        loop {
            self.notify.notified().await;
            self.is_woken.store(false, Ordering::Relaxed);
            if !LongWait::is_on() && backoff.should_spin() {
                let any = self.spin().await;
                // A spin that a long wait cut short does not count.
                if any || !LongWait::is_on() {
                    backoff.record(any);
                }
            }
        }
    }

    /// Polls the connections until nothing has happened for [`SPIN`]. Returns whether anything happened.
    async fn spin(&self) -> bool {
        let (mut start, mut any) = (Instant::now(), false);
        while start.elapsed() < SPIN && !LongWait::is_on() {
            // Other threads have precedence.
            thread::yield_now();
            // Runs all tasks of this thread that are ready.
            tokio::task::yield_now().await;
            if self.is_woken.swap(false, Ordering::Relaxed) {
                (start, any) = (Instant::now(), true);
            }
        }
        any
    }
}

/// Whether to spin, by the success of the last spins.
#[derive(Default)]
struct SpinBackoff {
    /// Fruitless spins in a row, and wake-ups skipped since.
    misses: u32,
}

impl SpinBackoff {
    fn should_spin(&mut self) -> bool {
        if self.misses < MAX_MISSES {
            return true;
        }
        self.misses += 1;
        if self.misses > MAX_MISSES + SKIPS {
            self.misses = 0;
        }
        self.misses == 0
    }

    fn record(&mut self, any: bool) {
        self.misses = if any { 0 } else { self.misses + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_after_misses() {
        let mut backoff = SpinBackoff::default();
        for _ in 0..1000 {
            assert!(backoff.should_spin());
            backoff.record(true);
        }
        for _ in 0..3 {
            for _ in 0..MAX_MISSES {
                assert!(backoff.should_spin());
                backoff.record(false);
            }
            assert!((0..SKIPS).all(|_| !backoff.should_spin()));
        }
        // A useful spin resets the back-off.
        assert!(backoff.should_spin());
        backoff.record(true);
        assert!(backoff.should_spin());
    }

    #[tokio::test]
    async fn long_wait_prevents_spinning() {
        let poller = BusyPoller::default();
        let waits = [LongWait::begin(), LongWait::begin()];
        poller.wake();
        assert!(!poller.spin().await);
        // The event is still unhandled.
        assert!(poller.is_woken.load(Ordering::Relaxed));
        drop(waits);
        assert!(poller.spin().await);
    }

    #[tokio::test]
    async fn spins_while_events_arrive() {
        let poller = BusyPoller::default();
        assert!(!poller.spin().await);
        let mut left = 100;
        let something = std::future::poll_fn(|context| {
            poller.wake();
            left -= 1;
            context.waker().wake_by_ref();
            if left == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        let (any, ()) = tokio::join!(poller.spin(), something);
        assert!(any);
        assert_eq!(left, 0);
    }
}
