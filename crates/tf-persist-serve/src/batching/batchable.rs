//! Whether requests of one signature may share a run, and up to how many rows.
//!
//! Unless TensorFlow Serving's batching is enabled explicitly, no request may change the outputs of another. That
//! requires a proof from the graph that no row depends on another (`tf_persist_core::prove_rows_independent`), and a
//! measurement that each row has the same bits in batches of every size as alone (`verify.rs`).
//! `BatchingSettings::within_rounding` waives the measurement.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use tf_persist_core::saved_model::TensorKind;
use tf_persist_core::{DType, PartialShape, Signature, SignatureDef, TensorInfo, prove_rows_independent, warmup};

use super::InferenceRequest;
use super::policy::BatchPolicy;
use super::signature_state::SignatureState;
use super::verify;

/// Requests that must arrive while another one runs before the measurement starts.
const MIN_OVERLAPS: u32 = 64;

/// One batch in this many is compared again with a run of a single request.
const RECHECK_EVERY: u32 = 256;

/// What sharing a run requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing: TensorFlow Serving's batching is enabled explicitly.
    Explicit,
    /// A proof that rows are independent. Rounding may differ.
    Rounding,
    /// The proof, and a measurement that the bits are the same.
    Exact,
}

/// The requests and the batch sizes for which each row was measured to have the same bits as alone.
#[derive(Debug)]
pub(super) struct VerifiedBatches {
    /// The name, dtype and row shape of each input, sorted by name.
    pub(super) inputs: Vec<(String, DType, Vec<usize>)>,
    pub(super) outputs: Vec<String>,
    pub(super) rows: usize,
}

/// Whether requests of one signature may share a run.
pub(super) struct Batchable {
    mode: Mode,
    rejected: OnceLock<String>,
    verified: OnceLock<VerifiedBatches>,
    /// The declared inputs of the signature, sorted by name. The proof holds only for requests that match them.
    declared: Vec<(String, PartialShape)>,
    overlaps: AtomicU32,
    is_verifying: AtomicBool,
    batches: AtomicU32,
}

impl Batchable {
    pub(super) fn new(signature: &Signature, policy: &BatchPolicy) -> Self {
        let definition = signature.definition();
        let mode = match (policy.explicit, policy.within_rounding) {
            (true, _) => Mode::Explicit,
            (false, true) => Mode::Rounding,
            (false, false) => Mode::Exact,
        };
        let rejected = OnceLock::new();
        if let Some(why) = rejection_reason(signature, definition, policy, mode) {
            rejected.get_or_init(|| why);
        }
        let declared = definition.inputs.iter().map(|(name, info)| (name.clone(), info.shape.clone())).collect();
        Self {
            mode,
            rejected,
            verified: OnceLock::new(),
            declared,
            overlaps: AtomicU32::new(0),
            is_verifying: AtomicBool::new(false),
            batches: AtomicU32::new(0),
        }
    }

    /// Why requests never share a run; `None` if they may.
    pub(super) fn rejected(&self) -> Option<&str> {
        self.rejected.get().map(String::as_str)
    }

    /// Lets no requests share a run from now on. Returns whether they could before.
    pub(super) fn reject(&self, reason: String) -> bool {
        self.rejected.set(reason).is_ok()
    }

    /// The largest number of rows of a shared run.
    pub(super) fn max_rows(&self, policy: &BatchPolicy) -> usize {
        match (self.rejected(), self.mode) {
            (Some(_), _) => 1,
            (None, Mode::Exact) => self.verified.get().map_or(1, |verified| verified.rows.min(policy.max_run_rows)),
            (None, _) => policy.max_run_rows,
        }
    }

    /// Whether a request whose inputs have this many rows may share a run.
    pub(super) fn accepts(&self, request: &InferenceRequest, rows: usize) -> bool {
        if self.rejected().is_some() {
            return false;
        }
        match self.mode {
            Mode::Explicit => true,
            Mode::Rounding => self.matches_signature(request),
            Mode::Exact => {
                self.verified.get().is_some_and(|verified| rows <= verified.rows && verified.covers(request))
            }
        }
    }

    /// Whether a request has exactly the declared inputs.
    pub(super) fn matches_signature(&self, request: &InferenceRequest) -> bool {
        let is_like = |((name, tensor), (declared, shape)): (&(String, _), &(String, PartialShape))| {
            let tensor: &tf_persist_core::Tensor = tensor;
            name == declared && shape.accepts(tensor.shape())
        };
        request.inputs.len() == self.declared.len() && request.inputs.iter().zip(&self.declared).all(is_like)
    }

    /// Counts a request that arrived while another one ran. After enough of them, starts the measurement in a thread of
    /// its own.
    pub(super) fn record_overlap(
        &self,
        state: &Arc<SignatureState>,
        signature: &Signature,
        request: &InferenceRequest,
    ) {
        if self.mode != Mode::Exact || self.verified.get().is_some() || self.rejected().is_some() {
            return;
        }
        if self.overlaps.fetch_add(1, Ordering::Relaxed) < MIN_OVERLAPS || !self.matches_signature(request) {
            return;
        }
        if !self.is_verifying.swap(true, Ordering::Relaxed) {
            verify::spawn(state, signature.clone(), request.clone());
        }
    }

    /// Stores the result of the measurement.
    pub(super) fn set_verified(&self, verified: VerifiedBatches) {
        let _ = self.verified.set(verified);
    }

    /// Whether this batch is to be compared with a run of a single request.
    pub(super) fn should_recheck(&self) -> bool {
        self.mode == Mode::Exact && self.batches.fetch_add(1, Ordering::Relaxed).is_multiple_of(RECHECK_EVERY)
    }

    /// Whether requests share a run now, and a sentence that says why or why not.
    pub(super) fn describe(&self) -> (bool, String) {
        if let Some(why) = self.rejected() {
            return (false, why.to_owned());
        }
        match (self.mode, self.verified.get()) {
            (Mode::Explicit, _) => (true, "TensorFlow Serving's batching is enabled".to_owned()),
            (Mode::Rounding, _) => {
                (true, "their rows are independent, and other last digits are allowed".to_owned())
            }
            (Mode::Exact, Some(verified)) => {
                (true, format!("their rows are independent, and have the same bits in batches of up to {}", verified.rows))
            }
            (Mode::Exact, None) => (
                false,
                "their rows are independent; whether they have the same bits in a batch is measured once many requests overlap"
                    .to_owned(),
            ),
        }
    }
}

impl VerifiedBatches {
    fn covers(&self, request: &InferenceRequest) -> bool {
        let is_like = |((name, tensor), (known, dtype, row)): (&(String, _), &(String, DType, Vec<usize>))| {
            let tensor: &tf_persist_core::Tensor = tensor;
            name == known && tensor.dtype() == *dtype && tensor.shape().get(1..) == Some(row)
        };
        request.outputs == self.outputs
            && request.inputs.len() == self.inputs.len()
            && request.inputs.iter().zip(&self.inputs).all(is_like)
    }
}

/// Why requests of a signature never share a run, by settings and graph.
fn rejection_reason(
    signature: &Signature,
    definition: &SignatureDef,
    policy: &BatchPolicy,
    mode: Mode,
) -> Option<String> {
    let is_dense = |info: &TensorInfo| matches!(info.kind, TensorKind::Dense { .. });
    if !policy.batch {
        return Some("batching is switched off".to_owned());
    }
    if definition.inputs.is_empty() {
        return Some("it has no inputs".to_owned());
    }
    if !definition.inputs.iter().chain(&definition.outputs).all(|(_, info)| is_dense(info)) {
        return Some("an input or output is not one dense tensor".to_owned());
    }
    let loaded = signature.model();
    if let Some((op, node)) = warmup::first_state_write(loaded.saved_model(), loaded.meta_graph(), definition) {
        return Some(format!("it writes to the model's state: {op} (`{node}`)"));
    }
    if mode == Mode::Explicit {
        return None;
    }
    let proof = prove_rows_independent(loaded.saved_model(), loaded.meta_graph(), definition);
    proof.err().map(|why| format!("its rows are not known to be independent: {why}"))
}
