//! The place where requests for one signature wait for each other, and are run.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tf_persist_core::Signature;
use tokio::sync::oneshot;

use super::execute::{execute, run_panicked, run_single};
use super::policy::BatchPolicy;
use super::task::{BatchTask, SignatureState, deadline_exceeded};
use super::workers::RunWorkers;
use super::{InferenceRequest, InferenceResponse};
use crate::api::Api;
use crate::metrics::Metrics;
use crate::status::Status;

/// A run that is expected to take less is run where the request was decoded. To hand it to another thread and back costs some ten
/// microseconds, and up to a hundred where that thread has to be woken on a busy machine; a connection's thread that runs it is
/// away from its other connections for that long.
const INLINE_MAX: Duration = Duration::from_micros(200);

/// A short run that takes less is not worth waiting for others: to lay requests together and to hand out the answers costs some
/// microseconds for each.
const MIN_BATCHABLE_RUN: Duration = Duration::from_micros(8);

/// If the last looks for others found nobody, only each so-manieth request looks.
const PROBE_EVERY: u32 = 16;

/// So many requests may join one that gathers; what comes then runs by itself. The thread that gathers is away from its other
/// connections until all of them have run.
const MAX_FOLLOWERS: usize = 256;

thread_local! {
    /// Whether requests are run in this thread, whatever they take.
    static FORCE_INLINE: Cell<bool> = const { Cell::new(false) };
}

/// Runs all requests in this thread meanwhile. Runners that a thread of low priority starts would have that priority for as long as
/// they live.
pub(crate) fn run_inline<T>(work: impl FnOnce() -> T) -> T {
    FORCE_INLINE.set(true);
    let done = work();
    FORCE_INLINE.set(false);
    done
}

/// The place where requests for one signature of one version wait for each other, and are run.
pub struct BatchQueue {
    state: Arc<SignatureState>,
    workers: Arc<RunWorkers>,
    open_batch: Mutex<OpenBatch>,
}

/// Short requests of other connections that join one which is about to run.
#[derive(Default)]
struct OpenBatch {
    /// Whether a request waits for others to join.
    is_open: bool,
    followers: Vec<BatchTask>,
    /// Requests to come that need not look for others.
    skip: u32,
}

impl BatchQueue {
    pub(crate) fn new(model: &str, signature: &Signature, shared: &VersionWorkers, metrics: &Metrics) -> Self {
        let state = Arc::new(SignatureState::new(model, signature, shared.policy.clone(), metrics));
        Self { state, workers: shared.workers.clone(), open_batch: Mutex::default() }
    }

    /// Runs a request, alone or with others that wait.
    ///
    /// # Errors
    /// What TensorFlow says; `DEADLINE_EXCEEDED` if it takes too long; `UNAVAILABLE` if too many wait; `INVALID_ARGUMENT` if it has
    /// more rows than the batching parameters allow.
    pub async fn run(&self, signature: &Signature, mut request: InferenceRequest) -> Result<InferenceResponse, Status> {
        if request.is_past_deadline() {
            return Err(deadline_exceeded());
        }
        // So that requests that give the same inputs in another order can be run together.
        request.inputs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let state = &self.state;
        if state.policy.explicit && state.batchable.rejected().is_none() {
            state.check_sizes(&request)?;
        }
        let rows = state.rows(&request);
        let _under_way = InFlightGuard::join_or_lead(&state.in_flight);
        if state.in_flight.load(Ordering::Relaxed) > 1 {
            state.batchable.record_overlap(state, signature, &request);
        }
        if let (Some(max), Some(rows)) = (state.policy.max_request_rows, rows)
            && rows > max
        {
            let text = format!("Task size {rows} is larger than maximum input batch size {max}");
            return Err(Status::invalid_argument(text));
        }
        if FORCE_INLINE.get() {
            return self.run_now(signature, &request, rows);
        }
        let expected = state.latency.estimate(request.bytes());
        match expected {
            Some(expected)
                if expected < INLINE_MAX && state.policy.timeout.is_zero() && !state.latency.in_cooldown() =>
            {
                let coalesces = rows.is_some() && expected >= MIN_BATCHABLE_RUN;
                if coalesces && (state.policy.explicit || state.benefit.is_expected(&state.latency)) {
                    return self.coalesce(signature, request, rows).await;
                }
                self.run_now(signature, &request, rows)
            }
            _ => self.enqueue(signature, request, rows).await,
        }
    }

    /// Whether its requests share runs now, and why or why not, in words.
    #[must_use]
    pub fn batching(&self) -> (bool, String) {
        self.state.batchable.describe()
    }

    /// A request's run took so long, as the request sees it.
    pub(crate) fn record_runtime(&self, api: Api, took: Duration) {
        self.state.model_metrics.record_runtime(api, took);
    }

    /// Runs a request by itself, in this thread.
    fn run_now(
        &self,
        signature: &Signature,
        request: &InferenceRequest,
        rows: Option<usize>,
    ) -> Result<InferenceResponse, Status> {
        if self.state.policy.explicit && rows.is_some() {
            self.state.metrics.record_batch_queue(Duration::ZERO);
        }
        run_single(&self.state, signature, request, rows)
    }

    /// Has a request run by a runner.
    async fn enqueue(
        &self,
        signature: &Signature,
        request: InferenceRequest,
        rows: Option<usize>,
    ) -> Result<InferenceResponse, Status> {
        let deadline = request.deadline;
        let (task, response) = self.task(signature, request, rows);
        self.workers.push(task);
        let response = match deadline {
            None => response.await,
            Some(deadline) => {
                tokio::time::timeout_at(deadline.into(), response).await.map_err(|_| deadline_exceeded())?
            }
        };
        response.unwrap_or_else(|_| Err(run_panicked()))
    }

    /// Runs a short request here, with those of other connections that are ready at this moment.
    async fn coalesce(
        &self,
        signature: &Signature,
        request: InferenceRequest,
        rows: Option<usize>,
    ) -> Result<InferenceResponse, Status> {
        let (leader, request) = match self.join_or_lead(signature, request, rows) {
            Role::Follower(response) => return response.await.unwrap_or_else(|_| Err(run_panicked())),
            Role::Solo(request) => return self.run_now(signature, &request, rows),
            Role::Leader(leader, request) => (leader, request),
        };
        // All that can go on does, before this does.
        tokio::task::yield_now().await;
        let mut followers = leader.close();
        if followers.is_empty() {
            return self.run_now(signature, &request, rows);
        }
        let (task, mut response) = self.task(signature, request, rows);
        followers.insert(0, task);
        for tasks in group_compatible(followers) {
            execute(tasks);
        }
        response.try_recv().unwrap_or_else(|_| Err(run_panicked()))
    }

    /// What a short request does: join one that waits for others, wait for others itself, or neither.
    fn join_or_lead(&self, signature: &Signature, request: InferenceRequest, rows: Option<usize>) -> Role<'_> {
        let mut open_batch = self.lock();
        if open_batch.is_open {
            if open_batch.followers.len() >= MAX_FOLLOWERS {
                return Role::Solo(request);
            }
            let (task, response) = self.task(signature, request, rows);
            open_batch.followers.push(task);
            return Role::Follower(response);
        }
        if open_batch.skip > 0 {
            open_batch.skip -= 1;
            return Role::Solo(request);
        }
        open_batch.is_open = true;
        Role::Leader(Leader { queue: self }, request)
    }

    fn task(
        &self,
        signature: &Signature,
        request: InferenceRequest,
        rows: Option<usize>,
    ) -> (BatchTask, oneshot::Receiver<Result<InferenceResponse, Status>>) {
        let (response, receiver) = oneshot::channel();
        let (state, signature) = (self.state.clone(), signature.clone());
        (BatchTask { state, signature, request, rows, since: Instant::now(), response }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, OpenBatch> {
        // Nothing panics while it is held.
        self.open_batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tasks, of those that fit each other at most as many together as a run may have rows.
fn group_compatible(tasks: Vec<BatchTask>) -> Vec<Vec<BatchTask>> {
    let mut groups: Vec<(usize, Vec<BatchTask>)> = Vec::new();
    for task in tasks {
        let rows = task.rows.unwrap_or(0);
        let max = task.state.batchable.max_rows(&task.state.policy);
        let is_apart = task.rows.is_none() || task.state.batchable.rejected().is_some();
        let has_room = |(had, group): &&mut (usize, Vec<BatchTask>)| *had + rows <= max && group[0].fits(&task);
        match groups.iter_mut().find(has_room).filter(|_| !is_apart) {
            Some((had, group)) => {
                *had += rows;
                group.push(task);
            }
            None => groups.push((rows, vec![task])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Counts a request so long as it runs or waits.
struct InFlightGuard<'c>(&'c AtomicUsize);

impl<'c> InFlightGuard<'c> {
    fn join_or_lead(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a short request does.
enum Role<'l> {
    Follower(oneshot::Receiver<Result<InferenceResponse, Status>>),
    Solo(InferenceRequest),
    Leader(Leader<'l>, InferenceRequest),
}

/// A gathering that is open. If the request that opened it goes away, runners take over what has joined.
struct Leader<'l> {
    queue: &'l BatchQueue,
}

impl Leader<'_> {
    /// Closes it: those who joined.
    fn close(self) -> Vec<BatchTask> {
        let followers = self.take();
        std::mem::forget(self);
        followers
    }

    fn take(&self) -> Vec<BatchTask> {
        let mut open_batch = self.queue.lock();
        open_batch.is_open = false;
        open_batch.skip = if open_batch.followers.is_empty() { PROBE_EVERY - 1 } else { 0 };
        std::mem::take(&mut open_batch.followers)
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        for task in self.take() {
            self.queue.workers.push(task);
        }
    }
}

/// What the lanes of one version of a model share.
pub(crate) struct VersionWorkers {
    policy: Arc<BatchPolicy>,
    workers: Arc<RunWorkers>,
}

impl VersionWorkers {
    /// # Errors
    /// If the batching parameters cannot be.
    pub(crate) fn new(model: &str, folder: &std::path::Path, settings: &super::Settings) -> Result<Self, Status> {
        let policy = Arc::new(BatchPolicy::from_settings(settings, folder)?);
        let workers = Arc::new(RunWorkers::new(model, policy.clone()));
        Ok(Self { policy, workers })
    }

    /// Whether something of the version is still run, or waits to be.
    pub(crate) fn is_busy(&self) -> bool {
        self.workers.is_busy()
    }
}
