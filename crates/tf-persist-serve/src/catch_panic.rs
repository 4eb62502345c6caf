//! A panic of a request handler is a defect of this program. It fails one request and nothing else.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::offload::internal_error;
use crate::status::Status;

/// The output of a request handler; `INTERNAL` if it panics. The log has the panic.
// Not an `async fn`, which would copy the handler, several kilobytes, once more.
pub(crate) fn catch_panic<T>(handler: impl Future<Output = T>) -> impl Future<Output = Result<T, Status>> {
    AssertUnwindSafe(handler).catch_unwind().map(|outcome| {
        outcome.map_err(|_| {
            tracing::error!("a request made the server panic");
            internal_error()
        })
    })
}

#[cfg(test)]
mod tests {
    use tf_persist_core::Code;

    use super::*;

    #[tokio::test]
    async fn panic_becomes_error() {
        assert_eq!(catch_panic(async { 7 }).await, Ok(7));
        let late = async {
            tokio::task::yield_now().await;
            panic!("a test");
        };
        assert_eq!(catch_panic::<()>(late).await.unwrap_err().code, Code::Internal);
    }
}
