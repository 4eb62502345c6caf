//! A request that waits for its run, and what is known of its signature.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use tf_persist_core::{Code, Signature};
use tokio::sync::oneshot;

use super::batchable::Batchable;
use super::benefit::BatchBenefit;
use super::latency::LatencyEstimator;
use super::policy::BatchPolicy;
use super::{InferenceRequest, InferenceResponse};
use crate::metrics::{Metrics, ModelMetrics};
use crate::status::Status;

/// What is known of a signature. It does not keep the model loaded.
pub(super) struct SignatureState {
    pub(super) model: String,
    /// The signature's name.
    pub(super) signature: String,
    pub(super) policy: Arc<BatchPolicy>,
    pub(super) metrics: Metrics,
    pub(super) model_metrics: Arc<ModelMetrics>,
    /// How long its requests took that ran alone.
    pub(super) latency: LatencyEstimator,
    /// How long they took that ran with others.
    pub(super) benefit: BatchBenefit,
    /// How many inputs it has.
    inputs: usize,
    /// Whether they may run with others.
    pub(super) batchable: Batchable,
    /// Requests that run or wait to.
    pub(super) in_flight: AtomicUsize,
    /// The rows of its requests that wait for a runner; written under the queue's lock alone.
    pub(super) waiting_rows: AtomicUsize,
}

impl SignatureState {
    pub(super) fn new(model: &str, signature: &Signature, policy: Arc<BatchPolicy>, metrics: &Metrics) -> Self {
        let batchable = Batchable::new(signature, &policy);
        Self {
            model: model.to_owned(),
            signature: signature.definition().name.clone(),
            policy,
            metrics: metrics.clone(),
            model_metrics: metrics.register(model),
            latency: LatencyEstimator::default(),
            benefit: BatchBenefit::default(),
            inputs: signature.inputs().len(),
            batchable,
            in_flight: AtomicUsize::new(0),
            waiting_rows: AtomicUsize::new(0),
        }
    }

    /// Requests must not be run together from now on.
    pub(super) fn reject(&self, why: &str) {
        if self.batchable.reject(why.to_owned()) {
            let signature = &self.signature;
            tracing::info!(model = self.model, signature, "requests that overlap do not share runs: {why}");
        }
    }

    /// Whether the inputs of a request have one number of rows, as TensorFlow Serving's batching demands.
    pub(super) fn check_sizes(&self, request: &InferenceRequest) -> Result<(), Status> {
        let mut first = None;
        for (_, tensor) in &request.inputs {
            let Some(rows) = tensor.row_count() else {
                return Err(Status::invalid_argument("Batching Run() input tensors must have at least one dimension"));
            };
            if *first.get_or_insert(rows) != rows {
                return Err(Status::invalid_argument(
                    "Batching Run() input tensors must have equal 0th-dimension size",
                ));
            }
        }
        request
            .inputs
            .iter()
            .filter_map(|(_, tensor)| tensor.row_count())
            .for_each(|rows| self.metrics.record_batch_input(rows));
        Ok(())
    }

    /// The rows of a request that may be run with others. Its inputs are sorted by name.
    pub(super) fn rows(&self, request: &InferenceRequest) -> Option<usize> {
        if self.batchable.rejected().is_some() || request.inputs.len() != self.inputs {
            return None;
        }
        let mut rows = request.inputs.iter().map(|(_, tensor)| tensor.row_count());
        let first = rows.next().flatten().filter(|rows| *rows > 0)?;
        (rows.all(|rows| rows == Some(first)) && self.batchable.accepts(request, first)).then_some(first)
    }
}

/// A request that waits for its run.
pub(super) struct BatchTask {
    pub(super) state: Arc<SignatureState>,
    /// What keeps the model loaded.
    pub(super) signature: Signature,
    pub(super) request: InferenceRequest,
    /// Its rows, if it may be run with others.
    pub(super) rows: Option<usize>,
    pub(super) since: Instant,
    pub(super) response: oneshot::Sender<Result<InferenceResponse, Status>>,
}

impl BatchTask {
    /// The task, unless nobody waits for its answer any more.
    pub(super) fn if_wanted(self) -> Option<Self> {
        if self.response.is_closed() {
            return None;
        }
        if self.request.is_past_deadline() {
            self.finish(Err(deadline_exceeded()));
            return None;
        }
        Some(self)
    }

    pub(super) fn finish(self, response: Result<InferenceResponse, Status>) {
        // Who does not wait any more needs no answer.
        let _ = self.response.send(response);
    }

    /// Whether this task can be run together with another.
    pub(super) fn fits(&self, other: &Self) -> bool {
        let pad_inner = self.state.policy.pad_inner;
        let is_like = |((name, a), (other, b)): (&(String, _), &(String, _))| -> bool {
            let (a, b): (&tf_persist_core::Tensor, &tf_persist_core::Tensor) = (a, b);
            let padded = || {
                pad_inner
                    && a.dtype() == b.dtype()
                    && a.shape().len() == b.shape().len()
                    && !a.is_empty()
                    && !b.is_empty()
            };
            name == other && (a.has_rows_like(b) || padded())
        };
        Arc::ptr_eq(&self.state, &other.state)
            && self.rows.is_some()
            && other.rows.is_some()
            && self.request.outputs == other.request.outputs
            && self.request.inputs.iter().zip(&other.request.inputs).all(is_like)
    }
}

impl InferenceRequest {
    /// Whether its deadline has passed.
    pub(super) fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The bytes that go in.
    pub(super) fn bytes(&self) -> usize {
        self.inputs.iter().map(|(_, tensor)| tensor.memory()).sum()
    }
}

/// What a request gets whose deadline has passed, in the words of TensorFlow's session.
pub(crate) fn deadline_exceeded() -> Status {
    Status::new(Code::DeadlineExceeded, "Timed out waiting for notification")
}
