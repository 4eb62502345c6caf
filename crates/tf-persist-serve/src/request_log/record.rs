//! A logged request with its response.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tf_persist_core::Tensor;

use super::rules::ModelLog;
use crate::api::{Class, Outcome, Protocol, Task};
use crate::status::Status;

/// What every request to a signature has in common.
#[derive(Debug)]
pub(crate) struct SignatureId {
    /// The name of the model.
    pub(crate) model: String,
    /// The number of the version.
    pub(crate) version: i64,
    /// The tags of the meta graph.
    pub(crate) tags: Vec<String>,
}

/// A request with its response. Tensors share their memory with the request's own.
pub(crate) struct Record {
    pub(super) log: Arc<ModelLog>,
    pub(super) signature_id: Arc<SignatureId>,
    /// The name of the signature; that of the first task of several.
    pub(super) signature: String,
    pub(super) exchange: Exchange,
    /// Inputs that are not written.
    pub(super) redacted: Vec<String>,
    pub(super) call: CallInfo,
}

/// When and how a request came.
#[derive(Debug, Clone)]
pub(crate) struct CallInfo {
    /// When it arrived.
    pub(crate) time: SystemTime,
    /// How long it took, from its arrival to its encoded response.
    pub(crate) latency: Duration,
    pub(crate) protocol: Protocol,
    /// The client's name for it.
    pub(crate) id: Option<String>,
}

/// Tensors by name.
pub(crate) type Tensors = Vec<(String, Tensor)>;

/// A request and its response.
pub(crate) enum Exchange {
    Predict {
        inputs: Tensors,
        /// The outputs that were requested; empty for all.
        output_filter: Vec<String>,
        outcome: Result<Tensors, Status>,
    },
    Classify {
        /// Serialized `tf.Example`s; `None` if they are not written.
        examples: Option<Tensor>,
        outcome: Result<Vec<Vec<Class>>, Status>,
    },
    Regress {
        examples: Option<Tensor>,
        outcome: Result<Vec<f32>, Status>,
    },
    MultiInference {
        examples: Option<Tensor>,
        tasks: Vec<Task>,
        outcome: Result<Vec<Outcome>, Status>,
    },
}

impl Exchange {
    /// Makes an answered request a failed one, because its answer could not be sent.
    fn fail(&mut self, status: &Status) {
        fn replace<T>(outcome: &mut Result<T, Status>, status: &Status) {
            if outcome.is_ok() {
                *outcome = Err(status.clone());
            }
        }
        match self {
            Self::Predict { outcome, .. } => replace(outcome, status),
            Self::Classify { outcome, .. } => replace(outcome, status),
            Self::Regress { outcome, .. } => replace(outcome, status),
            Self::MultiInference { outcome, .. } => replace(outcome, status),
        }
    }

    /// The error of a failed request.
    pub(super) fn error(&self) -> Option<&Status> {
        match self {
            Self::Predict { outcome, .. } => outcome.as_ref().err(),
            Self::Classify { outcome, .. } => outcome.as_ref().err(),
            Self::Regress { outcome, .. } => outcome.as_ref().err(),
            Self::MultiInference { outcome, .. } => outcome.as_ref().err(),
        }
    }
}

impl Record {
    pub(crate) fn new(
        log: Arc<ModelLog>,
        signature_id: Arc<SignatureId>,
        signature: String,
        exchange: Exchange,
        redacted: Vec<String>,
        call: CallInfo,
    ) -> Self {
        Self { log, signature_id, signature, exchange, redacted, call }
    }

    /// The record of a request that took this long.
    pub(crate) fn with_latency(mut self, latency: Duration) -> Self {
        self.call.latency = latency;
        self
    }

    /// Notes that the client got this error, if the record does not have one already.
    pub(crate) fn fail(&mut self, status: &Status) {
        self.exchange.fail(status);
    }

    /// About how much memory it holds.
    pub(super) fn memory(&self) -> usize {
        /// Names, and what the allocator adds.
        const OVERHEAD: usize = 1024;
        let tensors = |tensors: &Tensors| tensors.iter().map(|(_, tensor)| tensor.memory()).sum::<usize>();
        let of_examples = |examples: &Option<Tensor>| examples.as_ref().map_or(0, Tensor::memory);
        let of_exchange = match &self.exchange {
            Exchange::Predict { inputs, outcome, .. } => tensors(inputs) + outcome.as_ref().map_or(0, tensors),
            Exchange::Classify { examples, outcome } => {
                let classes = outcome.as_ref().map_or(0, |results| results.iter().map(Vec::len).sum());
                of_examples(examples) + classes * 64
            }
            Exchange::Regress { examples, outcome } => of_examples(examples) + outcome.as_ref().map_or(0, Vec::len) * 4,
            Exchange::MultiInference { examples, .. } => 2 * of_examples(examples),
        };
        OVERHEAD + of_exchange
    }
}
