//! The bounded queue between requests and the writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many records may wait. At 20,000 requests a second this is half a second.
const MAX_RECORDS: usize = 10_000;

/// How much memory they may hold, in bytes.
const MAX_BYTES: usize = 128 << 20;

/// How long the writer lets records gather. To wake a thread for each would cost the requests more than the record.
const GATHER: Duration = Duration::from_millis(20);

/// From here on it does not wait for more, in bytes.
const ENOUGH_BYTES: usize = 4 << 20;

/// The bounded queue between requests and the writer. A request never waits for it.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// The records that were refused since the writer looked.
    refused: AtomicU64,
}

struct State<T> {
    waiting: Vec<T>,
    bytes: usize,
    is_closed: bool,
}

/// What the writer finds.
pub(super) enum Taken<T> {
    /// Records in the order in which they came; none after a time limit.
    Records(Vec<T>),
    /// The last records.
    Closed(Vec<T>),
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let state = State { waiting: Vec::new(), bytes: 0, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), refused: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record that holds this much memory. Returns it if the queue is full or closed.
    pub(super) fn push(&self, record: T, bytes: usize) -> Result<(), T> {
        let mut state = self.lock();
        let is_full = state.waiting.len() >= MAX_RECORDS || (state.bytes > 0 && state.bytes + bytes > MAX_BYTES);
        if is_full || state.is_closed {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(record);
        }
        state.waiting.push(record);
        let before = state.bytes;
        state.bytes += bytes;
        let wakes = before == 0 || (before < ENOUGH_BYTES && state.bytes >= ENOUGH_BYTES);
        drop(state);
        if wakes {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for records until a time, and lets some gather.
    pub(super) fn take(&self, until: Option<Instant>) -> Taken<T> {
        let mut state = self.lock();
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        while state.waiting.is_empty() && !state.is_closed {
            state = match until {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) if left(until).is_zero() => return Taken::Records(Vec::new()),
                Some(until) => self.changed.wait_timeout(state, left(until)).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        let end = Instant::now() + GATHER;
        while !state.is_closed && state.bytes < ENOUGH_BYTES && !left(end).is_zero() {
            state = self.changed.wait_timeout(state, left(end)).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.bytes = 0;
        let records = std::mem::take(&mut state.waiting);
        if state.is_closed { Taken::Closed(records) } else { Taken::Records(records) }
    }

    /// How many records were refused since the last call.
    pub(super) fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// Takes no more records. The writer gets those that wait.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queue_returns_records_at_once() {
        let queue = Queue::new();
        for number in 0..MAX_RECORDS {
            queue.push(number, 1).unwrap();
        }
        assert_eq!(queue.push(7, 1), Err(7));
        assert_eq!((queue.take_refused(), queue.take_refused()), (1, 0));
        let Taken::Records(records) = queue.take(None) else { panic!("it is open") };
        assert!(records.into_iter().eq(0..MAX_RECORDS));
        queue.push(1, MAX_BYTES + 1).unwrap();
        assert_eq!(queue.push(2, 1), Err(2), "one large record fills it");
    }

    #[test]
    fn closed_queue_gives_what_waits() {
        let queue = Queue::new();
        queue.push("a", 1).unwrap();
        queue.close();
        assert_eq!(queue.push("b", 1), Err("b"));
        assert!(matches!(queue.take(None), Taken::Closed(records) if records == ["a"]));
        assert!(matches!(queue.take(None), Taken::Closed(records) if records.is_empty()));
    }

    #[test]
    fn waiting_ends_at_the_time_limit() {
        let queue = Queue::<u8>::new();
        assert!(matches!(queue.take(Some(Instant::now())), Taken::Records(records) if records.is_empty()));
    }
}
