//! Runs: in which thread, and together with which other requests.
//!
//! A session is meant to be loaded so that the thread that asks for a run runs the graph
//! ([`LoadOptions::inter_op_threads`](tf_persist_core::LoadOptions::inter_op_threads) of -1). A request whose run is known to be
//! short is run at once in the thread of its connection. All others go to the runners: threads of the model's own, so that neither
//! connections nor other models wait for it.
//!
//! Requests are run together only if they would wait otherwise: those that a runner finds waiting when it becomes free, and, of short
//! ones, those whose connections were ready at the same moment. Unless batching was asked for as it is of TensorFlow Serving, that takes
//! a proof that rows are independent and a measurement that no bit of an answer changes (`batchable.rs`, `verify.rs`).

mod batchable;
mod benefit;
mod concat;
mod execute;
mod latency;
mod policy;
mod queue;
mod settings;
mod task;
mod verify;
mod workers;

use std::time::Instant;

use tf_persist_core::Tensor;

pub use queue::BatchQueue;
pub(crate) use queue::{VersionWorkers, run_inline};
pub use settings::{BatchingSettings, Settings};
pub(crate) use task::deadline_exceeded;

/// A request that is checked: the tensors of a signature's inputs.
#[derive(Debug, Clone)]
pub struct InferenceRequest {
    /// Tensors by the names of the inputs, in any order. What is left out has a default.
    pub inputs: Vec<(String, Tensor)>,
    /// The outputs that are wanted, by name and without repetition; empty for all of them.
    pub outputs: Vec<String>,
    /// After which nobody waits for the answer any more.
    pub deadline: Option<Instant>,
}

/// What a run gave: the tensors of the outputs that were wanted, in the signature's order.
pub type InferenceResponse = Vec<(String, Tensor)>;
