//! Whether the server is stopping.

use tokio::sync::watch;

/// Where it is said that the server is stopping.
pub(super) struct Drainage(watch::Sender<bool>);

/// Where that is heard.
#[derive(Clone)]
pub(crate) struct Drain(watch::Receiver<bool>);

impl Drainage {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn begin(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn has_begun(&self) -> bool {
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
        let _ = self.0.wait_for(|begun| *begun).await;
    }
}
