//! How many requests are under way at once.

use tf_persist_core::Code;

use crate::in_flight::{InFlight, InFlightGuard};
use crate::status::Status;

/// Counts requests under way, over both interfaces, and refuses those that are too many. Cloning shares the count.
#[derive(Debug, Clone)]
pub struct Gate {
    limit: usize,
    inside: InFlight,
}

/// A request under way; it is no longer when this is dropped.
#[derive(Debug)]
pub struct Permit {
    _counted: InFlightGuard,
}

impl Gate {
    /// A gate that lets so many in at once.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, inside: InFlight::default() }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// `UNAVAILABLE` if too many are.
    pub fn enter(&self) -> Result<Permit, Status> {
        let too_many = || Status::new(Code::Unavailable, format!("Too many requests are under way: {}", self.limit));
        self.inside.try_acquire(self.limit).map(|counted| Permit { _counted: counted }).ok_or_else(too_many)
    }

    /// How many are under way.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.inside.get()
    }
}
