//! A request that waits for its run, and what is known of its signature.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Instant;

use tf_persist_core::saved_model::TensorKind;
use tf_persist_core::{Code, Signature, TensorInfo, golden};
use tokio::sync::oneshot;

use super::gain::Gain;
use super::recent::Recent;
use super::rules::Rules;
use super::{Answer, Call};
use crate::metrics::{Metrics, OfModel};
use crate::status::Status;

/// What is known of a signature. It does not keep the model loaded.
pub(super) struct Facts {
    pub(super) model: String,
    pub(super) rules: Arc<Rules>,
    pub(super) metrics: Metrics,
    pub(super) of_model: Arc<OfModel>,
    /// How long its requests took that ran alone.
    pub(super) recent: Recent,
    /// How long they took that ran with others.
    pub(super) gain: Gain,
    /// How many inputs it has.
    inputs: usize,
    proof: AtomicU8,
    trials: AtomicUsize,
    /// The rows of its requests that wait for a runner; written under the queue's lock alone.
    pub(super) waiting_rows: AtomicUsize,
}

/// Whether requests of a signature may be run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It has not been tried.
    Open,
    /// Some were, and their answers were those that they get alone.
    Shown,
    /// They may not.
    Refuted,
}

/// How many trials must have gone well.
const TRIALS_NEEDED: u8 = 2;

/// How many trials that say nothing are made.
const MAX_TRIALS: usize = 64;

const REFUTED: u8 = u8::MAX;

impl Facts {
    pub(super) fn new(model: &str, signature: &Signature, rules: Arc<Rules>, metrics: &Metrics) -> Self {
        let definition = signature.definition();
        let is_dense = |info: &TensorInfo| matches!(info.kind, TensorKind::Dense { .. });
        // That a first dimension is declared as open is what says that it is the batch's.
        let is_open = |info: &TensorInfo| info.shape.sizes().is_some_and(|sizes| matches!(sizes, [None, ..]));
        let infos = || definition.inputs.iter().chain(&definition.outputs).map(|(_, info)| info);
        // Nobody else's request may change an answer unless that was asked for.
        let may_batch = rules.batch
            && rules.asked
            && !definition.inputs.is_empty()
            && infos().all(|info| is_dense(info) && (rules.asked || is_open(info)))
            && {
                let loaded = signature.model();
                golden::what_it_writes(loaded.artefact(), loaded.meta_graph(), definition).is_none()
            };
        let proof = match (may_batch, rules.asked) {
            (false, _) => REFUTED,
            (true, true) => TRIALS_NEEDED,
            (true, false) => 0,
        };
        Self {
            model: model.to_owned(),
            rules,
            metrics: metrics.clone(),
            of_model: metrics.know(model),
            recent: Recent::default(),
            gain: Gain::default(),
            inputs: signature.inputs().len(),
            proof: AtomicU8::new(proof),
            trials: AtomicUsize::new(0),
            waiting_rows: AtomicUsize::new(0),
        }
    }

    pub(super) fn proof(&self) -> Proof {
        match self.proof.load(Ordering::Relaxed) {
            REFUTED => Proof::Refuted,
            TRIALS_NEEDED => Proof::Shown,
            _ => Proof::Open,
        }
    }

    /// Requests must not be run together from now on: they would not get the answers that they get alone.
    pub(super) fn refute(&self) {
        self.give_up("they would not get the answers they get alone");
    }

    fn give_up(&self, why: &str) {
        if self.proof.swap(REFUTED, Ordering::Relaxed) != REFUTED {
            tracing::info!(model = self.model, "requests are not run together: {why}");
        }
    }

    /// A trial went well, or said nothing.
    pub(super) fn tried(&self, went_well: bool) {
        let next = |proof: u8| (proof < TRIALS_NEEDED && went_well).then(|| proof + 1);
        let _ = self.proof.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        if self.trials.fetch_add(1, Ordering::Relaxed) >= MAX_TRIALS && self.proof() == Proof::Open {
            self.give_up("no trial showed that they get the answers they get alone");
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

    /// The rows of a request that may be run with others.
    pub(super) fn rows(&self, call: &Call) -> Option<usize> {
        if self.proof() == Proof::Refuted || call.inputs.len() != self.inputs {
            return None;
        }
        let mut rows = call.inputs.iter().map(|(_, tensor)| tensor.row_count());
        let first = rows.next().flatten().filter(|rows| *rows > 0)?;
        rows.all(|rows| rows == Some(first)).then_some(first)
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
