//! The threads of one version, which run the requests that are not known to be short.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tf_persist_core::Code;

use super::execute::execute;
use super::policy::BatchPolicy;
use super::task::BatchTask;
use crate::status::Status;

/// How long an idle thread waits for work before it ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many queued requests to search for batch members.
const LOOK_AHEAD: usize = 256;

/// The longest shared run, by the times of its requests alone. Other requests wait meanwhile, and combining runs that
/// are long already gains little.
const MAX_BATCH_TIME: Duration = Duration::from_millis(100);

/// The threads of a version and their queue. Dropping it ends them once the queue is empty.
pub(super) struct RunWorkers(Arc<Inner>);

struct Inner {
    name: String,
    policy: Arc<BatchPolicy>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<BatchTask>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// What a worker does next.
enum Next {
    Run(Vec<BatchTask>),
    /// Wait for more requests of a batch.
    Wait(Duration),
    Idle,
}

impl RunWorkers {
    pub(super) fn new(model: &str, policy: Arc<BatchPolicy>) -> Self {
        let (state, wake) = (Mutex::default(), Condvar::new());
        // The name of a thread cannot contain NUL.
        let name = format!("run {model}").replace('\0', "");
        Self(Arc::new(Inner { name, policy, state, wake }))
    }

    /// Queues a request for the next free thread. It fails with `UNAVAILABLE` if the queue is full or no thread can be
    /// started.
    pub(super) fn push(&self, task: BatchTask) {
        let inner = &self.0;
        let mut state = inner.lock();
        if let Err(full) = inner.check_capacity(&state, &task) {
            return task.finish(Err(full));
        }
        task.state.waiting_rows.fetch_add(task.rows.unwrap_or(0), Ordering::Relaxed);
        state.waiting.push_back(task);
        if state.idle >= state.waiting.len() {
            inner.wake.notify_one();
        } else if state.threads < inner.policy.runs_at_once {
            let worker = inner.clone();
            let spawned = std::thread::Builder::new().name(inner.name.clone()).spawn(move || worker.work());
            match spawned {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    if let Some(task) = state.waiting.pop_back() {
                        task.state.waiting_rows.fetch_sub(task.rows.unwrap_or(0), Ordering::Relaxed);
                        let text = format!("cannot start a thread to run the request: {error}");
                        task.finish(Err(Status::new(Code::Unavailable, text)));
                    }
                }
            }
        } else if !inner.policy.timeout.is_zero() {
            // Workers that wait for a full batch check again.
            inner.wake.notify_all();
        }
    }

    /// Whether a request runs or waits, even if its client has gone. Each keeps the model loaded.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.0.lock();
        !state.waiting.is_empty() || state.threads > state.idle
    }
}

impl Drop for RunWorkers {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

/// How TensorFlow Serving begins the error for a full queue.
const FULL: &str = "The batch scheduling queue to which this task was submitted is full; currently";

/// Error for a request that finds too many others waiting.
pub(super) fn too_many_waiting(waiting: usize, limit: usize) -> Status {
    Status::new(Code::Unavailable, format!("{FULL} {waiting} requests wait and at most {limit} may"))
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, so the queue is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_capacity(&self, state: &State, task: &BatchTask) -> Result<(), Status> {
        let (policy, waiting) = (&self.policy, state.waiting.len());
        if waiting >= policy.max_waiting {
            return Err(too_many_waiting(waiting, policy.max_waiting));
        }
        if let (Some(max), Some(rows)) = (policy.max_enqueued_batches, task.rows) {
            let waiting = task.state.waiting_rows.load(Ordering::Relaxed);
            let (batches, open) = (waiting.div_ceil(policy.max_run_rows).max(1), waiting % policy.max_run_rows);
            let is_open_full = open + rows > policy.max_run_rows || open == 0 && waiting > 0;
            if is_open_full && batches >= max {
                let text = format!("{FULL} {batches} batches enqueued and max_enqueued_batches is {max}");
                return Err(Status::new(Code::Unavailable, text));
            }
        }
        Ok(())
    }

    /// Runs requests until there is no work left.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            let idle = match state.next(&self.policy) {
                Next::Run(tasks) => {
                    drop(state);
                    // The client of a task that is dropped here receives an error.
                    if catch_unwind(AssertUnwindSafe(|| execute(tasks))).is_err() {
                        tracing::error!(thread = self.name, "a run panicked");
                    }
                    state = self.lock();
                    continue;
                }
                Next::Wait(time) => time,
                Next::Idle if state.closed => break,
                Next::Idle => IDLE_TIMEOUT,
            };
            state.idle += 1;
            let (woken, waited) = self.wake.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.waiting.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

impl State {
    /// The request that has waited longest, with the requests that can share its run.
    fn next(&mut self, policy: &BatchPolicy) -> Next {
        // Without a timeout the first request is always ready.
        let mut wait = policy.timeout;
        let mut ready = None;
        for index in 0..if wait.is_zero() { 1 } else { self.waiting.len().min(LOOK_AHEAD) } {
            let Some(task) = self.waiting.get(index) else { return Next::Idle };
            let left = policy.timeout.saturating_sub(task.since.elapsed());
            let is_full = || self.companions(index, policy).1;
            if left.is_zero() || task.rows.is_none() || self.closed || is_full() {
                ready = Some(index);
                break;
            }
            wait = wait.min(left);
        }
        let Some(index) = ready else {
            return if self.waiting.is_empty() { Next::Idle } else { Next::Wait(wait) };
        };
        let (indices, _) = self.companions(index, policy);
        let mut tasks = Vec::with_capacity(indices.len());
        // From the back, so that the indices before stay valid.
        for index in indices.into_iter().rev() {
            tasks.extend(self.waiting.remove(index));
        }
        tasks.reverse();
        for task in &tasks {
            task.state.waiting_rows.fetch_sub(task.rows.unwrap_or(0), Ordering::Relaxed);
        }
        Next::Run(tasks)
    }

    /// The indices of the request at `first` and of later ones that can share its run, and whether the batch is full.
    fn companions(&self, first: usize, policy: &BatchPolicy) -> (Vec<usize>, bool) {
        let mut indices = vec![first];
        let Some(task) = self.waiting.get(first) else { return (indices, true) };
        let max = task.max_rows();
        let Some(mut rows) = task.rows.filter(|rows| *rows < max) else { return (indices, true) };
        for (index, other) in self.waiting.iter().enumerate().skip(first + 1).take(LOOK_AHEAD) {
            let more = other.rows.unwrap_or(0);
            if !task.fits(other) {
                continue;
            }
            if rows + more > max {
                return (indices, true);
            }
            rows += more;
            indices.push(index);
        }
        (indices, rows >= policy.max_run_rows.min(max))
    }
}

impl BatchTask {
    /// The largest number of rows of a run that starts with this request.
    fn max_rows(&self) -> usize {
        let policy = &self.state.policy;
        let max = self.state.batchable.max_rows(policy);
        let expected = self.state.latency.estimate(self.request.bytes());
        match (expected, self.rows) {
            (Some(expected), Some(rows)) if !policy.explicit && !expected.is_zero() => {
                let times = MAX_BATCH_TIME.as_nanos() / expected.as_nanos();
                max.min(usize::try_from(times).unwrap_or(usize::MAX).saturating_mul(rows).max(1))
            }
            _ => max,
        }
    }
}
