//! How many there are of something, such as connections or requests under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

/// One that is counted, until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Count);

impl Count {
    /// How many there are at this moment.
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more.
    pub(crate) fn one(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    /// Counts one more, if there are fewer than so many.
    pub(crate) fn one_of(&self, most: usize) -> Option<Counted> {
        // It is counted first: dropping it takes that back.
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(self.clone());
        (before < most).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
