//! A thread that has answered looks for the next request for a moment before it sleeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::offload::LongWait;

/// How long a moment is: at most so much of a core is lost after something came, and nothing while nothing comes.
const SPIN: Duration = Duration::from_micros(150);

/// After so many moments in a row in which nothing came, none is spent
const MAX_MISSES: u32 = 4;

/// on the next so many occasions.
const SKIPS: u32 = 64;

/// Keeps a thread awake.
#[derive(Default)]
pub(super) struct BusyPoller {
    is_woken: AtomicBool,
    notify: Notify,
}

impl BusyPoller {
    /// Something has come for one of the thread's connections, or goes on.
    pub(super) fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }

    /// Keeps the thread awake, for ever; to be run in it.
    pub(super) async fn run(&self) {
        let mut backoff = SpinBackoff::default();
        loop {
            self.notify.notified().await;
            self.is_woken.store(false, Ordering::Relaxed);
            if !LongWait::is_on() && backoff.should_spin() {
                let any = self.spin().await;
                // A moment that was cut short says nothing.
                if any || !LongWait::is_on() {
                    backoff.record(any);
                }
            }
        }
    }

    /// Looks for a moment, and for another one whenever something comes. Whether anything did.
    async fn spin(&self) -> bool {
        let (mut begun, mut any) = (Instant::now(), false);
        while begun.elapsed() < SPIN && !LongWait::is_on() {
            // Whoever else wants the core has it.
            thread::yield_now();
            // Looks at all connections, and does what there is to do.
            tokio::task::yield_now().await;
            if self.is_woken.swap(false, Ordering::Relaxed) {
                (begun, any) = (Instant::now(), true);
            }
        }
        any
    }
}

/// Whether to stay awake, from what came of it before.
#[derive(Default)]
struct SpinBackoff {
    /// Moments in a row in which nothing came, and occasions that were passed over since.
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
    fn who_is_disappointed_rests() {
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
        // One that was worth it wakes the hope again.
        assert!(backoff.should_spin());
        backoff.record(true);
        assert!(backoff.should_spin());
    }

    #[tokio::test]
    async fn nobody_stays_awake_for_what_takes_long() {
        let poller = BusyPoller::default();
        let waits = [LongWait::begin(), LongWait::begin()];
        poller.wake();
        assert!(!poller.spin().await);
        // Nothing was looked at.
        assert!(poller.is_woken.load(Ordering::Relaxed));
        drop(waits);
        assert!(poller.spin().await);
    }

    #[tokio::test]
    async fn it_looks_as_long_as_something_comes() {
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
