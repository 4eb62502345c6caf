//! Whether the server is stopping.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

/// For so long a client that has a connection may still ask something once the server is stopping: it may have been about to.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// Where it is said that the server is stopping, and since when.
pub(crate) struct Shutdown(watch::Sender<Option<Instant>>);

/// Where that is heard.
#[derive(Clone)]
pub(crate) struct ShutdownSignal(watch::Receiver<Option<Instant>>);

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    pub(crate) fn begin(&self) {
        self.0.send_if_modified(|started| {
            let is_first = started.is_none();
            started.get_or_insert_with(Instant::now);
            is_first
        });
    }

    pub(crate) fn started_at(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    pub(crate) fn signal(&self) -> ShutdownSignal {
        ShutdownSignal(self.0.subscribe())
    }
}

impl ShutdownSignal {
    /// Returns once the server is stopping.
    pub(crate) async fn started(&mut self) {
        // If nobody can say so any more, it has stopped.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// Returns a moment after that.
    pub(crate) async fn grace_over(&mut self) {
        self.started().await;
        let started = *self.0.borrow();
        sleep(started.map_or(GRACE, |started| GRACE.saturating_sub(started.elapsed()))).await;
    }
}
