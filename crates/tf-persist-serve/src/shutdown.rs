//! Whether the server is stopping.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long after the shutdown began a connected client may still send a request: it may have been about to.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// Tells connections that the server is stopping, and since when. Cloning shares the signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShutdownSignal {
    token: CancellationToken,
    started_at: Arc<OnceLock<Instant>>,
}

impl ShutdownSignal {
    /// Begins the shutdown; does nothing if it has begun already.
    pub(crate) fn begin(&self) {
        self.started_at.get_or_init(Instant::now);
        self.token.cancel();
    }

    /// When the shutdown began; `None` if it has not.
    pub(crate) fn started_at(&self) -> Option<Instant> {
        self.started_at.get().copied()
    }

    /// Completes when the shutdown begins.
    pub(crate) async fn started(&self) {
        self.token.cancelled().await;
    }

    /// Completes when [`GRACE`] has passed since the shutdown began.
    pub(crate) async fn grace_over(&self) {
        self.started().await;
        let elapsed = self.started_at().map_or(Duration::ZERO, |started| started.elapsed());
        sleep(GRACE.saturating_sub(elapsed)).await;
    }
}
