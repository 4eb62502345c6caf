//! Work that takes long, away from the threads that serve connections.

use tf_persist_core::Code;
use tokio::task::spawn_blocking;

use crate::status::Status;

/// Messages of more bytes are decoded and written elsewhere: other connections would wait meanwhile.
pub(crate) const LARGE: usize = 256 << 10;

/// Works in a thread where nobody waits.
pub(crate) async fn elsewhere<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Status> + Send + 'static,
{
    spawn_blocking(work).await.unwrap_or_else(|_| Err(failed().into()))
}

/// Works there if there is much to do, else here.
pub(crate) async fn elsewhere_if<T, E>(
    is_much: bool,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Status> + Send + 'static,
{
    if is_much { elsewhere(work).await } else { work() }
}

/// What is said of a panic, which the log has.
pub(crate) fn failed() -> Status {
    Status::new(Code::Internal, "The server failed; its log says where")
}
