//! A limit of the requests that are answered at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tf_persist_core::Code;

use crate::status::Status;

/// Limits the requests in flight, over both interfaces. Cloning shares the count. Nobody waits for a permit, so a
/// counter does; a semaphore takes a lock for each permit that it gets back.
#[derive(Debug, Clone)]
pub(crate) struct ConcurrencyLimit {
    limit: usize,
    in_flight: Arc<AtomicUsize>,
}

/// Held by a request in flight.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConcurrencyLimit {
    /// A limit of this many requests at once.
    #[must_use]
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, in_flight: Arc::default() }
    }

    /// Admits a request.
    ///
    /// # Errors
    /// `UNAVAILABLE` if the limit is reached.
    pub(crate) fn try_acquire(&self) -> Result<Permit, Status> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        // Counts itself out again if the limit is reached.
        let permit = Permit(Arc::clone(&self.in_flight));
        if before < self.limit {
            return Ok(permit);
        }
        Err(Status::new(Code::Unavailable, format!("Too many requests are under way: {}", self.limit)))
    }

    /// The number of requests in flight.
    #[must_use]
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed).min(self.limit)
    }
}
