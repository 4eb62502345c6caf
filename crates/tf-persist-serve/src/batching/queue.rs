//! The queue of one signature: it decides where each request runs, and runs it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tf_persist_core::Signature;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::coalesce::{OpenBatch, Receiver, Role, group_compatible};
use super::execute::{execute, run_panicked, run_single};
use super::policy::BatchPolicy;
use super::route::Route;
use super::signature_state::SignatureState;
use super::task::{BatchTask, deadline_exceeded};
use super::turns::{Turn, Turns};
use super::workers::RunWorkers;
use super::{InferenceRequest, InferenceResponse};
use crate::api::Api;
use crate::metrics::Metrics;
use crate::request_scope::RequestScope;
use crate::status::Status;

/// The queue of one signature of one version, through which all its requests run.
pub struct BatchQueue {
    state: Arc<SignatureState>,
    workers: Arc<RunWorkers>,
    open_batch: OpenBatch,
}

impl fmt::Debug for BatchQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchQueue").finish_non_exhaustive()
    }
}

/// A request that passed the checks of the policy.
struct Admitted<'s> {
    signature: &'s Signature,
    request: InferenceRequest,
    /// Its rows, if it may share a run.
    rows: Option<usize>,
}

impl BatchQueue {
    pub(crate) fn new(model: &str, signature: &Signature, shared: &VersionWorkers, metrics: &Metrics) -> Self {
        let state = Arc::new(SignatureState::new(model, signature, shared.policy.clone(), metrics));
        Self { state, workers: shared.workers.clone(), open_batch: OpenBatch::default() }
    }

    /// Runs a request, alone or together with others.
    ///
    /// # Errors
    /// TensorFlow's own; `DEADLINE_EXCEEDED` if the deadline passes; `UNAVAILABLE` if too many requests wait;
    /// `INVALID_ARGUMENT` if the request has more rows than the batching parameters allow.
    pub async fn run(&self, signature: &Signature, request: InferenceRequest) -> Result<InferenceResponse, Status> {
        let admitted = self.admit(signature, request)?;
        let _in_flight = InFlightGuard::new(&self.state.in_flight);
        if self.state.in_flight.load(Ordering::Relaxed) > 1 {
            self.state.batchable.record_overlap(&self.state, signature, &admitted.request);
        }
        match self.state.policy.route(&self.state, &admitted.request, admitted.rows) {
            Route::Inline => self.run_alone(&admitted),
            Route::Coalesce => self.coalesce(admitted).await,
            Route::Worker => self.enqueue(admitted).await,
        }
    }

    /// Whether requests share runs now, and a sentence that says why or why not.
    #[must_use]
    pub fn batching(&self) -> (bool, String) {
        self.state.batchable.describe()
    }

    /// Records how long a run took for its request, the wait in the queue included.
    pub(crate) fn record_runtime(&self, api: Api, elapsed: Duration) {
        self.state.model_metrics.record_runtime(api, elapsed);
    }

    /// Checks a request against its deadline and the policy, and counts its rows.
    fn admit<'s>(&self, signature: &'s Signature, mut request: InferenceRequest) -> Result<Admitted<'s>, Status> {
        let state = &self.state;
        if request.is_past_deadline() {
            return Err(deadline_exceeded());
        }
        // Requests that list the same inputs in another order can then share a run.
        request.inputs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if state.policy.explicit && state.batchable.rejected().is_none() {
            state.check_sizes(&request)?;
        }
        let rows = state.rows(&request);
        if let (Some(max), Some(rows)) = (state.policy.max_request_rows, rows)
            && rows > max
        {
            let text = format!("Task size {rows} is larger than maximum input batch size {max}");
            return Err(Status::invalid_argument(text));
        }
        Ok(Admitted { signature, request, rows })
    }

    /// Whether requests may share runs now.
    pub(crate) fn shares_runs(&self) -> bool {
        self.state.batchable.max_rows(&self.state.policy) > 1
    }

    /// Runs a request in this thread, by itself.
    fn run_alone(&self, admitted: &Admitted<'_>) -> Result<InferenceResponse, Status> {
        if self.state.policy.explicit && admitted.rows.is_some() {
            self.state.metrics.record_batch_queue(Duration::ZERO);
        }
        run_single(&self.state, admitted.signature, &admitted.request, admitted.rows)
    }

    /// Runs a request in a worker.
    async fn enqueue(&self, admitted: Admitted<'_>) -> Result<InferenceResponse, Status> {
        let deadline = admitted.request.deadline;
        let (task, response) = self.task(admitted);
        self.workers.push(task);
        let response = match deadline {
            None => response.await,
            Some(deadline) => timeout_at(deadline.into(), response).await.map_err(|_| deadline_exceeded())?,
        };
        response.unwrap_or_else(|_| Err(run_panicked()))
    }

    /// Runs a short request in this thread, with those of other connections that arrive at the same moment.
    async fn coalesce(&self, admitted: Admitted<'_>) -> Result<InferenceResponse, Status> {
        let role = self.open_batch.join_or_lead(&self.workers, admitted, |admitted| self.task(admitted));
        let (leader, admitted) = match role {
            Role::Follower(response) => return response.await.unwrap_or_else(|_| Err(run_panicked())),
            Role::Solo(admitted) => return self.run_alone(&admitted),
            Role::Leader(leader, admitted) => (leader, admitted),
        };
        // Every connection of this thread that is ready goes on first, and joins.
        tokio::task::yield_now().await;
        let mut tasks = leader.close();
        if tasks.is_empty() {
            return self.run_alone(&admitted);
        }
        let (task, mut response) = self.task(admitted);
        tasks.insert(0, task);
        group_compatible(tasks).into_iter().for_each(execute);
        response.try_recv().unwrap_or_else(|_| Err(run_panicked()))
    }

    fn task(&self, Admitted { signature, request, rows }: Admitted<'_>) -> (BatchTask, Receiver) {
        let (response, receiver) = oneshot::channel();
        let (state, signature, scope) = (self.state.clone(), signature.clone(), RequestScope::current());
        (BatchTask { state, signature, request, rows, since: Instant::now(), scope, response }, receiver)
    }
}

/// Counts a request while it runs or waits.
struct InFlightGuard<'c>(&'c AtomicUsize);

impl<'c> InFlightGuard<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The policy and the workers that the queues of one version share.
pub(crate) struct VersionWorkers {
    policy: Arc<BatchPolicy>,
    workers: Arc<RunWorkers>,
    turns: Turns,
}

impl VersionWorkers {
    /// # Errors
    /// If the batching parameters are invalid.
    pub(crate) fn new(model: &str, folder: &Path, settings: &super::RunSettings) -> Result<Self, Status> {
        let policy = Arc::new(BatchPolicy::from_settings(settings, folder)?);
        let workers = Arc::new(RunWorkers::new(model, policy.clone()));
        let turns = Turns::new(&policy);
        Ok(Self { policy, workers, turns })
    }

    /// Waits until a large request may be decoded and run.
    ///
    /// # Errors
    /// `UNAVAILABLE` if too many wait.
    pub(crate) async fn turn(&self) -> Result<Turn, Status> {
        self.turns.acquire().await
    }

    /// Whether a request of the version still runs or waits.
    pub(crate) fn is_busy(&self) -> bool {
        self.workers.is_busy()
    }
}
