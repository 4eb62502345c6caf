//! Runs: in which thread, and together with which other requests.

mod settings;

use std::time::Instant;

use tf_persist_core::{Signature, Tensor};

pub use settings::{BatchingSettings, Settings};

use crate::metrics::Metrics;
use crate::status::Status;

/// A request that is checked: the tensors of a signature's inputs.
#[derive(Debug, Clone)]
pub struct Call {
    /// Tensors by the names of the inputs, in any order. What is left out has a default.
    pub inputs: Vec<(String, Tensor)>,
    /// The outputs that are wanted, by name and without repetition; empty for all of them.
    pub outputs: Vec<String>,
    /// After which nobody waits for the answer any more.
    pub deadline: Option<Instant>,
}

/// What a run gave: the tensors of the outputs that were wanted, in the signature's order.
pub type Answer = Vec<(String, Tensor)>;

/// The place where requests for one signature of one version wait for each other, and are run.
pub struct Lane {}

impl Lane {
    /// A lane for a signature of a model.
    #[must_use]
    pub fn new(model: &str, signature: &Signature, settings: &Settings, metrics: &Metrics) -> Self {
        let _ = (model, signature, settings, metrics);
        Self {}
    }

    /// Runs a request, alone or with others that wait.
    ///
    /// # Errors
    /// What TensorFlow says; `DEADLINE_EXCEEDED` if it takes too long; `UNAVAILABLE` or `RESOURCE_EXHAUSTED` if too many wait.
    pub async fn run(&self, signature: &Signature, call: Call) -> Result<Answer, Status> {
        let outputs = signature.run(call.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
        let wanted = |name: &str| call.outputs.is_empty() || call.outputs.iter().any(|output| output == name);
        let wanted = outputs.iter().filter(|(name, _)| wanted(name));
        Ok(wanted.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect())
    }
}
