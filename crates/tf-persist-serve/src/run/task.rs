//! A request that waits for its run, and what is known of its signature.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use tf_persist_core::{Code, Signature};
use tokio::sync::oneshot;

use super::batchable::Batchable;
use super::gain::Gain;
use super::recent::Recent;
use super::rules::Rules;
use super::{Answer, Call};
use crate::metrics::{Metrics, OfModel};
use crate::status::Status;

/// What is known of a signature. It does not keep the model loaded.
pub(super) struct Facts {
    pub(super) model: String,
    /// The signature's name.
    pub(super) signature: String,
    pub(super) rules: Arc<Rules>,
    pub(super) metrics: Metrics,
    pub(super) of_model: Arc<OfModel>,
    /// How long its requests took that ran alone.
    pub(super) recent: Recent,
    /// How long they took that ran with others.
    pub(super) gain: Gain,
    /// How many inputs it has.
    inputs: usize,
    /// Whether they may run with others.
    pub(super) batchable: Batchable,
    /// Requests that run or wait to.
    pub(super) under_way: AtomicUsize,
    /// The rows of its requests that wait for a runner; written under the queue's lock alone.
    pub(super) waiting_rows: AtomicUsize,
}

impl Facts {
    pub(super) fn new(model: &str, signature: &Signature, rules: Arc<Rules>, metrics: &Metrics) -> Self {
        let batchable = Batchable::new(signature, &rules);
        Self {
            model: model.to_owned(),
            signature: signature.definition().name.clone(),
            rules,
            metrics: metrics.clone(),
            of_model: metrics.know(model),
            recent: Recent::default(),
            gain: Gain::default(),
            inputs: signature.inputs().len(),
            batchable,
            under_way: AtomicUsize::new(0),
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
    pub(super) fn check_sizes(&self, call: &Call) -> Result<(), Status> {
        let mut first = None;
        for (_, tensor) in &call.inputs {
            let Some(rows) = tensor.row_count() else {
                return Err(Status::invalid_argument("Batching Run() input tensors must have at least one dimension"));
            };
            if *first.get_or_insert(rows) != rows {
                return Err(Status::invalid_argument(
                    "Batching Run() input tensors must have equal 0th-dimension size",
                ));
            }
        }
        call.inputs.iter().filter_map(|(_, tensor)| tensor.row_count()).for_each(|rows| self.metrics.batch_input(rows));
        Ok(())
    }

    /// The rows of a request that may be run with others. Its inputs are sorted by name.
    pub(super) fn rows(&self, call: &Call) -> Option<usize> {
        if self.batchable.rejected().is_some() || call.inputs.len() != self.inputs {
            return None;
        }
        let mut rows = call.inputs.iter().map(|(_, tensor)| tensor.row_count());
        let first = rows.next().flatten().filter(|rows| *rows > 0)?;
        (rows.all(|rows| rows == Some(first)) && self.batchable.accepts(call, first)).then_some(first)
    }
}

/// A request that waits for its run.
pub(super) struct Task {
    pub(super) facts: Arc<Facts>,
    /// What keeps the model loaded.
    pub(super) signature: Signature,
    pub(super) call: Call,
    /// Its rows, if it may be run with others.
    pub(super) rows: Option<usize>,
    pub(super) since: Instant,
    pub(super) answer: oneshot::Sender<Result<Answer, Status>>,
}

impl Task {
    /// The task, unless nobody waits for its answer any more.
    pub(super) fn if_wanted(self) -> Option<Self> {
        if self.answer.is_closed() {
            return None;
        }
        if self.call.is_late() {
            self.finish(Err(late()));
            return None;
        }
        Some(self)
    }

    pub(super) fn finish(self, answer: Result<Answer, Status>) {
        // Who does not wait any more needs no answer.
        let _ = self.answer.send(answer);
    }

    /// Whether this task can be run together with another.
    pub(super) fn fits(&self, other: &Self) -> bool {
        let pad = self.facts.rules.pad;
        let is_like = |((name, a), (other, b)): (&(String, _), &(String, _))| -> bool {
            let (a, b): (&tf_persist_core::Tensor, &tf_persist_core::Tensor) = (a, b);
            let padded = || {
                pad && a.dtype() == b.dtype() && a.shape().len() == b.shape().len() && !a.is_empty() && !b.is_empty()
            };
            name == other && (a.has_rows_like(b) || padded())
        };
        Arc::ptr_eq(&self.facts, &other.facts)
            && self.rows.is_some()
            && other.rows.is_some()
            && self.call.outputs == other.call.outputs
            && self.call.inputs.iter().zip(&other.call.inputs).all(is_like)
    }
}

impl Call {
    /// Whether its deadline has passed.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The bytes that go in.
    pub(super) fn bytes(&self) -> usize {
        self.inputs.iter().map(|(_, tensor)| tensor.memory()).sum()
    }
}

/// What a request gets whose deadline has passed, in the words of TensorFlow's session.
pub(crate) fn late() -> Status {
    Status::new(Code::DeadlineExceeded, "Timed out waiting for notification")
}
