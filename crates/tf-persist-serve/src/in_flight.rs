//! How many there are of something, such as connections or requests under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

/// One that is counted, until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlightGuard(InFlight);

impl InFlight {
    /// How many there are at this moment.
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more.
    pub(crate) fn acquire(&self) -> InFlightGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(self.clone())
    }

    /// Counts one more, if there are fewer than so many.
    pub(crate) fn try_acquire(&self, most: usize) -> Option<InFlightGuard> {
        // It is counted first: dropping it takes that back.
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let counted = InFlightGuard(self.clone());
        (before < most).then_some(counted)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
