//! A limit of the requests that are answered at once.

use std::sync::Arc;

use tf_persist_core::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::status::Status;

/// Limits the requests in flight, over both interfaces. Cloning shares the count.
#[derive(Debug, Clone)]
pub(crate) struct ConcurrencyLimit {
    limit: usize,
    permits: Arc<Semaphore>,
}

/// Held by a request in flight.
#[derive(Debug)]
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl ConcurrencyLimit {
    /// A limit of this many requests at once.
    #[must_use]
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { limit, permits: Arc::new(Semaphore::new(limit)) }
    }

    /// Admits a request.
    ///
    /// # Errors
    /// `UNAVAILABLE` if the limit is reached.
    pub(crate) fn try_acquire(&self) -> Result<Permit, Status> {
        let reached = |_| Status::new(Code::Unavailable, format!("Too many requests are under way: {}", self.limit));
        Arc::clone(&self.permits).try_acquire_owned().map(|permit| Permit { _permit: permit }).map_err(reached)
    }

    /// The number of requests in flight.
    #[must_use]
    pub(crate) fn in_flight(&self) -> usize {
        self.limit - self.permits.available_permits()
    }
}
