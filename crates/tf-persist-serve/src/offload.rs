//! Moves long work off the threads that serve connections.

use std::cell::Cell;

use tf_persist_core::Code;
use tokio::task::spawn_blocking;

use crate::status::Status;

/// Larger messages are decoded and encoded in a blocking thread, because the other connections of the thread would
/// wait.
pub(crate) const OFFLOAD_BYTES: usize = 256 << 10;

thread_local! {
    /// The number of this thread's requests that wait for long work.
    static LONG_WAITS: Cell<usize> = const { Cell::new(0) };
}

/// Held in a connection's thread while a request waits for long work. Busy polling would only take a core from that
/// work.
pub(crate) struct LongWait(());

impl LongWait {
    pub(crate) fn begin() -> Self {
        LONG_WAITS.set(LONG_WAITS.get() + 1);
        Self(())
    }

    /// Whether a request of this thread waits for long work.
    pub(crate) fn is_on() -> bool {
        LONG_WAITS.get() > 0
    }
}

impl Drop for LongWait {
    fn drop(&mut self) {
        LONG_WAITS.set(LONG_WAITS.get().saturating_sub(1));
    }
}

/// Runs `work` in a blocking thread.
pub(crate) async fn offload<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Status> + Send + 'static,
{
    let _long = LongWait::begin();
    spawn_blocking(work).await.unwrap_or_else(|_| Err(internal_error().into()))
}

/// Runs `work` in a blocking thread if it is long, and in this thread otherwise.
pub(crate) async fn offload_if<T, E>(
    is_long: bool,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Status> + Send + 'static,
{
    if is_long { offload(work).await } else { work() }
}

/// The error of a request whose handler panicked. The log has the panic.
pub(crate) fn internal_error() -> Status {
    Status::new(Code::Internal, "The server failed; its log says where")
}
