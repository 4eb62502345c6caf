//! Work that takes long, away from the threads that serve connections.

use std::cell::Cell;

use tf_persist_core::Code;
use tokio::task::spawn_blocking;

use crate::status::Status;

/// Messages of more bytes are decoded and written elsewhere: other connections would wait meanwhile.
pub(crate) const OFFLOAD_BYTES: usize = 256 << 10;

thread_local! {
    /// How many of the requests of this thread's connections wait for something that takes long.
    static LONG_WAITS: Cell<usize> = const { Cell::new(0) };
}

/// Held while a request waits for something that takes long, by the thread that serves its connection: to stay awake for that would only
/// take a core from who does it.
pub(crate) struct LongWait(());

impl LongWait {
    pub(crate) fn begin() -> Self {
        LONG_WAITS.set(LONG_WAITS.get() + 1);
        Self(())
    }

    /// Whether a request of this thread is in one.
    pub(crate) fn is_on() -> bool {
        LONG_WAITS.get() > 0
    }
}

impl Drop for LongWait {
    fn drop(&mut self) {
        LONG_WAITS.set(LONG_WAITS.get().saturating_sub(1));
    }
}

/// Works in a thread where nobody waits.
pub(crate) async fn offload<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Status> + Send + 'static,
{
    let _long = LongWait::begin();
    spawn_blocking(work).await.unwrap_or_else(|_| Err(internal_error().into()))
}

/// Works there if there is much to do, else here.
pub(crate) async fn offload_if<T, E>(
    is_much: bool,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Status> + Send + 'static,
{
    if is_much { offload(work).await } else { work() }
}

/// What is said of a panic, which the log has.
pub(crate) fn internal_error() -> Status {
    Status::new(Code::Internal, "The server failed; its log says where")
}
