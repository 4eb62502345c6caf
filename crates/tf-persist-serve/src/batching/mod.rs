//! Where requests run, and which of them share a run.
//!
//! Sessions are loaded to run the graph in the thread that calls them
//! ([`LoadOptions::inter_op_threads`](tf_persist_core::LoadOptions::inter_op_threads) of -1). A request whose run is
//! known to be short runs at once, in the thread of its connection. All others go to workers, which are threads of the
//! version's own, so that neither connections nor other models wait for them.
//!
//! Requests share a run only if they would wait otherwise: those that a worker finds waiting when it becomes free, and,
//! of short requests, those whose connections are ready at the same moment. Unless TensorFlow Serving's batching is
//! enabled explicitly, sharing requires a proof that rows are independent, and a measurement that no bit of an output
//! changes (`batchable.rs`, `verify.rs`).
//!
//! A request enters through [`BatchQueue::run`]; `route` decides where it runs.

mod batchable;
mod benefit;
mod coalesce;
mod concat;
mod execute;
mod latency;
mod policy;
mod queue;
mod route;
mod settings;
mod signature_state;
mod task;
mod turns;
mod verify;
mod workers;

use std::time::Instant;

use tf_persist_core::Tensor;

pub(crate) use execute::run_untimed;
pub(crate) use queue::BatchQueue;
pub(crate) use queue::VersionWorkers;
pub(crate) use route::run_inline;
pub use settings::{BatchingSettings, RunSettings};
pub(crate) use task::deadline_exceeded;
pub(crate) use turns::Turn;

/// The inputs of one request. Their names, dtypes and shapes are checked against the signature.
#[derive(Debug, Clone)]
pub struct InferenceRequest {
    /// Tensors by the names of the inputs, in any order. An input with a default may be left out.
    pub inputs: Vec<(String, Tensor)>,
    /// The names of the outputs to return, without repetition; empty for all outputs.
    pub outputs: Vec<String>,
    /// When the client stops waiting.
    pub deadline: Option<Instant>,
}

/// The outputs of one request by name, in the signature's order.
pub type InferenceResponse = Vec<(String, Tensor)>;
