//! A request that waits for its run.

use std::sync::Arc;
use std::time::Instant;

use tf_persist_core::{Code, Signature, Tensor};
use tokio::sync::oneshot;

use super::signature_state::SignatureState;
use super::{InferenceRequest, InferenceResponse};
use crate::request_scope::RequestScope;
use crate::status::Status;

/// A request that waits for its run.
pub(super) struct BatchTask {
    pub(super) state: Arc<SignatureState>,
    /// Keeps the model loaded.
    pub(super) signature: Signature,
    pub(super) request: InferenceRequest,
    /// Its rows, if it may share a run.
    pub(super) rows: Option<usize>,
    pub(super) since: Instant,
    /// The scope of the request, if it is observed.
    pub(super) scope: Option<Arc<RequestScope>>,
    pub(super) response: oneshot::Sender<Result<InferenceResponse, Status>>,
}

impl BatchTask {
    /// The task, if its client still waits and its deadline has not passed.
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
        // Sending fails if the client has disconnected.
        let _ = self.response.send(response);
    }

    /// Whether this task can share a run with another.
    pub(super) fn fits(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
            && self.rows.is_some()
            && other.rows.is_some()
            && self.request.outputs == other.request.outputs
            && self.request.inputs.iter().zip(&other.request.inputs).all(|(a, b)| self.inputs_fit(a, b))
    }

    /// Whether two inputs have the same name and can be concatenated, after padding where the policy has it.
    fn inputs_fit(&self, (name, a): &(String, Tensor), (other, b): &(String, Tensor)) -> bool {
        let can_pad = || {
            self.state.policy.pad_inner
                && a.dtype() == b.dtype()
                && a.shape().len() == b.shape().len()
                && !a.is_empty()
                && !b.is_empty()
        };
        name == other && (a.has_rows_like(b) || can_pad())
    }
}

impl InferenceRequest {
    pub(super) fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The bytes of all inputs.
    pub(super) fn bytes(&self) -> usize {
        self.inputs.iter().map(|(_, tensor)| tensor.memory()).sum()
    }
}

/// The error of a request whose deadline has passed, in the words of TensorFlow's session.
pub(crate) fn deadline_exceeded() -> Status {
    Status::new(Code::DeadlineExceeded, "Timed out waiting for notification")
}
