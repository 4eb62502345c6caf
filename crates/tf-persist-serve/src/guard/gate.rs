//! How many requests are under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tf_persist_core::Code;

use crate::status::Status;

/// Counts requests under way, over both interfaces, and refuses those that are too many. Cloning shares the count.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    inside: AtomicUsize,
}

/// A request under way; it is no longer when this is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Inner>);

impl Gate {
    /// A gate that lets so many in at once.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { limit, inside: AtomicUsize::new(0) }))
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// `UNAVAILABLE` if too many are.
    pub fn enter(&self) -> Result<Permit, Status> {
        // The permit is made first: dropping it takes the count back.
        let before = self.0.inside.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Arc::clone(&self.0));
        if before < self.0.limit {
            return Ok(permit);
        }
        Err(Status::new(Code::Unavailable, format!("Too many requests are under way: {}", self.0.limit)))
    }

    /// How many are under way.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.0.inside.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}
