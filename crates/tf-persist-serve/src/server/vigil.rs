//! A thread that has answered looks for the next request for a moment before it sleeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::offload::LongWait;

/// How long a moment is: at most so much of a core is lost after something came, and nothing while nothing comes.
const MOMENT: Duration = Duration::from_micros(150);

/// After so many moments in a row in which nothing came, none is spent
const PATIENCE: u32 = 4;

/// on the next so many occasions.
const REST: u32 = 64;

/// Keeps a thread awake.
#[derive(Default)]
pub(super) struct Vigil {
    has_come: AtomicBool,
    begin: Notify,
}

impl Vigil {
    /// Something has come for one of the thread's connections, or goes on.
    pub(super) fn noted(&self) {
        if !self.has_come.swap(true, Ordering::Relaxed) {
            self.begin.notify_one();
        }
    }

    /// Keeps the thread awake, for ever; to be run in it.
    pub(super) async fn keep(&self) {
        let mut occasions = Occasions::default();
        loop {
            self.begin.notified().await;
            self.has_come.store(false, Ordering::Relaxed);
            if !LongWait::is_on() && occasions.are_worth_it() {
                let any = self.moment().await;
                // A moment that was cut short says nothing.
                if any || !LongWait::is_on() {
                    occasions.spent(any);
                }
            }
        }
    }

    /// Looks for a moment, and for another one whenever something comes. Whether anything did.
    async fn moment(&self) -> bool {
        let (mut begun, mut any) = (Instant::now(), false);
        while begun.elapsed() < MOMENT && !LongWait::is_on() {
            // Whoever else wants the core has it.
            thread::yield_now();
            // Looks at all connections, and does what there is to do.
            tokio::task::yield_now().await;
            if self.has_come.swap(false, Ordering::Relaxed) {
                (begun, any) = (Instant::now(), true);
            }
        }
        any
    }
}

/// Whether to stay awake, from what came of it before.
#[derive(Default)]
struct Occasions {
    /// Moments in a row in which nothing came, and occasions that were passed over since.
    in_vain: u32,
}

impl Occasions {
    fn are_worth_it(&mut self) -> bool {
        if self.in_vain < PATIENCE {
            return true;
        }
        self.in_vain += 1;
        if self.in_vain > PATIENCE + REST {
            self.in_vain = 0;
        }
        self.in_vain == 0
    }

    fn spent(&mut self, any: bool) {
        self.in_vain = if any { 0 } else { self.in_vain + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_disappointed_rests() {
        let mut occasions = Occasions::default();
        for _ in 0..1000 {
            assert!(occasions.are_worth_it());
            occasions.spent(true);
        }
        for _ in 0..3 {
            for _ in 0..PATIENCE {
                assert!(occasions.are_worth_it());
                occasions.spent(false);
            }
            assert!((0..REST).all(|_| !occasions.are_worth_it()));
        }
        // One that was worth it wakes the hope again.
        assert!(occasions.are_worth_it());
        occasions.spent(true);
        assert!(occasions.are_worth_it());
    }

    #[tokio::test]
    async fn nobody_stays_awake_for_what_takes_long() {
        let vigil = Vigil::default();
        let waits = [LongWait::begin(), LongWait::begin()];
        vigil.noted();
        assert!(!vigil.moment().await);
        // Nothing was looked at.
        assert!(vigil.has_come.load(Ordering::Relaxed));
        drop(waits);
        assert!(vigil.moment().await);
    }

    #[tokio::test]
    async fn it_looks_as_long_as_something_comes() {
        let vigil = Vigil::default();
        assert!(!vigil.moment().await);
        let mut left = 100;
        let something = std::future::poll_fn(|context| {
            vigil.noted();
            left -= 1;
            context.waker().wake_by_ref();
            if left == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        let (any, ()) = tokio::join!(vigil.moment(), something);
        assert!(any);
        assert_eq!(left, 0);
    }
}
