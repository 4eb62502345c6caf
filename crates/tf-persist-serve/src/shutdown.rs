//! Whether the server is stopping.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
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
        let mut cancelled = pin!(self.token.cancelled());
        let mut registered: Option<Waker> = None;
        // A connection polls this whenever it is woken, several times a request. A poll of the token takes locks that
        // all connections share, so it is polled only once the shutdown has begun, and to register a waker.
        poll_fn(|context| {
            let is_registered = registered.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
            if is_registered && self.started_at().is_none() {
                return Poll::Pending;
            }
            registered = Some(context.waker().clone());
            cancelled.as_mut().poll(context)
        })
        .await;
    }

    /// Completes when [`GRACE`] has passed since the shutdown began.
    pub(crate) async fn grace_over(&self) {
        self.started().await;
        let elapsed = self.started_at().map_or(Duration::ZERO, |started| started.elapsed());
        sleep(GRACE.saturating_sub(elapsed)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct WakeCount(AtomicUsize);

    impl Wake for WakeCount {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_last_waker_is_woken_when_the_shutdown_begins() {
        let shutdown = ShutdownSignal::default();
        let mut started = pin!(shutdown.started());
        let (first, last) = (Arc::new(WakeCount::default()), Arc::new(WakeCount::default()));
        for waker in [&first, &first, &last, &last] {
            let waker = Arc::clone(waker).into();
            assert!(started.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        shutdown.begin();
        assert_eq!((first.0.load(Ordering::Relaxed), last.0.load(Ordering::Relaxed)), (0, 1));
        assert!(started.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        let mut late = pin!(shutdown.started());
        assert!(late.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
