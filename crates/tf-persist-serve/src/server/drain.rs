//! Whether the server is stopping.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

/// For so long a client that has a connection may still ask something once the server is stopping: it may have been about to.
pub(crate) const MOMENT: Duration = Duration::from_secs(1);

/// Where it is said that the server is stopping, and since when.
pub(super) struct Drainage(watch::Sender<Option<Instant>>);

/// Where that is heard.
#[derive(Clone)]
pub(crate) struct Drain(watch::Receiver<Option<Instant>>);

impl Drainage {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(super) fn begin(&self) {
        self.0.send_if_modified(|begun| {
            let is_first = begun.is_none();
            begun.get_or_insert_with(Instant::now);
            is_first
        });
    }

    pub(super) fn begun(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    pub(super) fn drain(&self) -> Drain {
        Drain(self.0.subscribe())
    }
}

impl Drain {
    /// Returns once the server is stopping.
    pub(crate) async fn begun(&mut self) {
        // If nobody can say so any more, it has stopped.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// Returns a moment after that.
    pub(crate) async fn begun_a_moment_ago(&mut self) {
        self.begun().await;
        let begun = *self.0.borrow();
        sleep(begun.map_or(MOMENT, |begun| MOMENT.saturating_sub(begun.elapsed()))).await;
    }
}
