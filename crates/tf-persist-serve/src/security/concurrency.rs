//! How many requests are under way at once.

use tf_persist_core::Code;

use crate::in_flight::{InFlight, InFlightGuard};
use crate::status::Status;

/// Counts requests under way, over both interfaces, and refuses those that are too many. Cloning shares the count.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimit {
    limit: usize,
    in_flight: InFlight,
}

/// A request under way; it is no longer when this is dropped.
#[derive(Debug)]
pub struct Permit {
    _guard: InFlightGuard,
}

impl ConcurrencyLimit {
    /// A gate that lets so many in at once.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, in_flight: InFlight::default() }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// `UNAVAILABLE` if too many are.
    pub fn try_acquire(&self) -> Result<Permit, Status> {
        let too_many = || Status::new(Code::Unavailable, format!("Too many requests are under way: {}", self.limit));
        self.in_flight.try_acquire(self.limit).map(|guard| Permit { _guard: guard }).ok_or_else(too_many)
    }

    /// How many are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }
}
