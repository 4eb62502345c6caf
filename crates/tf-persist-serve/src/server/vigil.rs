//! A thread that has answered looks for the next request for a moment before it sleeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long.
const MOMENT: Duration = Duration::from_micros(100);

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
        let mut in_vain = 0;
        loop {
            self.begin.notified().await;
            self.has_come.store(false, Ordering::Relaxed);
            if in_vain >= PATIENCE {
                in_vain += 1;
                if in_vain >= PATIENCE + REST {
                    in_vain = 0;
                }
                continue;
            }
            in_vain = if self.moment().await { 0 } else { in_vain + 1 };
        }
    }

    /// Looks for a moment, and for another one whenever something comes. Whether anything did.
    async fn moment(&self) -> bool {
        let (mut begun, mut any) = (Instant::now(), false);
        while begun.elapsed() < MOMENT {
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
