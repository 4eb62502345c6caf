//! What is known of a signature from its graph, its settings and its runs so far.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tf_persist_core::Signature;

use super::InferenceRequest;
use super::batchable::Batchable;
use super::benefit::BatchBenefit;
use super::latency::LatencyEstimator;
use super::policy::BatchPolicy;
use crate::metrics::{Metrics, ModelMetrics};
use crate::status::Status;

/// What is known of a signature. It does not keep the model loaded.
pub(super) struct SignatureState {
    pub(super) model: String,
    /// The name of the signature.
    pub(super) signature: String,
    pub(super) policy: Arc<BatchPolicy>,
    pub(super) metrics: Metrics,
    pub(super) model_metrics: Arc<ModelMetrics>,
    /// Run times of requests that ran alone.
    pub(super) latency: LatencyEstimator,
    /// Run times of requests that shared a run.
    pub(super) benefit: BatchBenefit,
    /// The number of inputs.
    inputs: usize,
    /// Whether requests may share a run.
    pub(super) batchable: Batchable,
    /// Requests that run or wait.
    pub(super) in_flight: AtomicUsize,
    /// The rows of the requests that wait for a worker. Written only under the workers' lock.
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

    /// Lets no requests share a run from now on.
    pub(super) fn reject(&self, reason: &str) {
        if self.batchable.reject(reason.to_owned()) {
            let signature = &self.signature;
            tracing::info!(model = self.model, signature, "requests that overlap do not share runs: {reason}");
        }
    }

    /// Checks that all inputs of a request have the same number of rows, which TensorFlow Serving's batching requires.
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
        let rows = request.inputs.iter().filter_map(|(_, tensor)| tensor.row_count());
        rows.for_each(|rows| self.metrics.record_batch_input(rows));
        Ok(())
    }

    /// The rows of a request that may share a run. Its inputs are sorted by name.
    pub(super) fn rows(&self, request: &InferenceRequest) -> Option<usize> {
        if self.batchable.rejected().is_some() || request.inputs.len() != self.inputs {
            return None;
        }
        let mut rows = request.inputs.iter().map(|(_, tensor)| tensor.row_count());
        let first = rows.next().flatten().filter(|rows| *rows > 0)?;
        (rows.all(|rows| rows == Some(first)) && self.batchable.accepts(request, first)).then_some(first)
    }
}
