//! The order in which large requests of one version are decoded and run.

use std::sync::Arc;

use tf_persist_core::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::policy::BatchPolicy;
use crate::status::Status;

/// Admits large requests, from decoding to the end of the run: one more than the version may run at once, so that a
/// decoded request is ready when a run ends. The others wait in order of arrival.
///
/// Decoding further ahead gains nothing: the threads that decode compete with those that run, and the decoded tensors
/// of waiting requests evict each other from the processor's cache.
#[derive(Debug)]
pub(crate) struct Turns {
    permits: Arc<Semaphore>,
    /// A permit for each request that may wait.
    waiting: Semaphore,
    max_waiting: usize,
}

/// Held by a large request until its run has ended.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Turns {
    pub(super) fn new(policy: &BatchPolicy) -> Self {
        Self::with_limits(policy.runs_at_once.saturating_add(1), policy.max_waiting)
    }

    fn with_limits(admitted: usize, max_waiting: usize) -> Self {
        let permits = Arc::new(Semaphore::new(admitted.min(Semaphore::MAX_PERMITS)));
        Self { permits, waiting: Semaphore::new(max_waiting.min(Semaphore::MAX_PERMITS)), max_waiting }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `UNAVAILABLE` if too many requests wait.
    pub(super) async fn acquire(&self) -> Result<Turn, Status> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(Turn(permit));
        }
        let too_many = |_| super::workers::too_many_waiting(self.max_waiting, self.max_waiting);
        let _waiting = self.waiting.try_acquire().map_err(too_many)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        // The semaphore is never closed.
        permit.map(Turn).map_err(|_| Status::new(Code::Unavailable, "The server is stopping"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::time::{Duration, timeout};

    use super::*;
    use crate::batching::RunSettings;

    #[tokio::test]
    async fn one_request_more_than_runs_is_admitted() {
        let settings = RunSettings::default().runs_at_once(1);
        let turns = Turns::new(&BatchPolicy::from_settings(&settings, Path::new("")).unwrap());
        let (running, _decoding) = (turns.acquire().await.unwrap(), turns.acquire().await.unwrap());
        let mut third = std::pin::pin!(turns.acquire());
        assert!(timeout(Duration::from_millis(1), third.as_mut()).await.is_err());
        drop(running);
        assert!(third.await.is_ok());
    }

    #[tokio::test]
    async fn requests_are_admitted_in_order_of_arrival() {
        let turns = Turns::with_limits(1, 8);
        let first = turns.acquire().await.unwrap();
        let order = std::sync::Mutex::new(Vec::new());
        let waiter = async |number: usize| {
            let _turn = turns.acquire().await.unwrap();
            order.lock().unwrap().push(number);
        };
        let release = async {
            assert_eq!(turns.waiting.available_permits(), 8 - 3);
            drop(first);
        };
        tokio::join!(waiter(1), waiter(2), waiter(3), release);
        assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
        assert_eq!(turns.waiting.available_permits(), 8);
    }

    #[tokio::test]
    async fn too_many_waiting_requests_are_rejected() {
        let turns = Turns::with_limits(1, 1);
        let _held = turns.acquire().await.unwrap();
        let (waits, refused) = (turns.acquire(), turns.acquire());
        let refused = tokio::select! {
            biased;
            _ = waits => panic!("the turn is taken"),
            refused = refused => refused.err().unwrap(),
        };
        assert_eq!(refused.code, Code::Unavailable);
        assert!(refused.message.contains("1 requests wait and at most 1 may"), "{}", refused.message);
    }
}
