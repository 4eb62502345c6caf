//! Panics: a defect of this program that takes one request with it, and no more.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// What a future gives; nothing if it panics, which the log has then.
pub(crate) async fn catch_panic<T>(future: impl Future<Output = T>) -> Result<T, ()> {
    let mut future = pin!(future);
    std::future::poll_fn(move |context| {
        // It is not polled again after a panic.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => {
                tracing::error!("a request made the server panic");
                Poll::Ready(Err(()))
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_becomes_error() {
        assert_eq!(catch_panic(async { 7 }).await, Ok(7));
        let late = async {
            tokio::task::yield_now().await;
            panic!("a test");
        };
        assert_eq!(catch_panic::<()>(late).await, Err(()));
    }
}
