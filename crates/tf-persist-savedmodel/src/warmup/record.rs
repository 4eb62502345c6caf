//! One record: a request and its response.

use std::fmt;

use super::decode;
use crate::saved_model::DEFAULT_SIGNATURE;
use crate::tensor::Tensor;

/// Named tensors, sorted by name.
pub type Tensors = Vec<(String, Tensor)>;

/// A record of a file of recorded requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its number in the file, from 1.
    pub number: usize,
    /// Whether it is part of a `Sequence` and has to be replayed after the previous ones.
    pub in_order: bool,
    #[doc(hidden)]
    pub tags: Vec<String>,
    /// The model that answered, and when; empty in files that are not a server's log.
    #[doc(hidden)]
    pub origin: Origin,
    #[doc(hidden)]
    pub request: Request,
    /// The response; `None` in plain files of TensorFlow Serving, which only have requests.
    #[doc(hidden)]
    pub answer: Option<Tensors>,
    /// Why it is not replayed, such as that it failed when it was logged; `None` for most.
    #[doc(hidden)]
    pub reason_to_skip: Option<String>,
}

/// What the metadata of a logged request says of its model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The name under which the model was served.
    pub model: String,
    /// Its version.
    pub version: Option<i64>,
    /// The time of the request in seconds since 1970.
    pub seconds: Option<u64>,
}

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Tensors by name.
    Predict,
    /// `tf.Example`s for classification.
    Classify,
    /// `tf.Example`s for regression.
    Regress,
    /// `tf.Example`s for several signatures at once, without a response to compare with.
    MultiInference,
    /// Feeds and fetches by the graph's names. They are not replayed.
    SessionRun,
    /// Requests in parts. They are not replayed.
    PredictStreamed,
    /// An unknown kind.
    Unknown,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its kind.
    pub kind: Kind,
    /// The signature; empty for the default one.
    pub signature: String,
    /// Named tensors.
    pub inputs: Tensors,
    /// The requested outputs; empty for all.
    pub output_filter: Vec<String>,
    /// The tasks of a request for several signatures.
    pub tasks: Vec<Task>,
}

/// One of several tasks over the same examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The name under which the model is served.
    pub(crate) model: String,
    /// Its signature; empty for the default one.
    pub(crate) signature: String,
    /// The `method_name` of a signature, which decides the form of the result.
    pub(crate) method: String,
}

impl Record {
    /// Reads the data of the record with this number.
    ///
    /// # Errors
    /// A sentence, if it is not a `PredictionLog` or has invalid tensors. Kinds that are not replayed are not checked.
    pub fn parse(number: usize, data: Vec<u8>) -> Result<Self, String> {
        decode::record(number, &data)
    }

    /// The kind of the request.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.request.kind
    }

    /// The signature of the request.
    #[must_use]
    pub fn signature(&self) -> &str {
        self.request.signature()
    }

    /// The input tensors by name. Those of a request over `tf.Example`s are the serialized examples.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.request.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The requested outputs without duplicates; empty for all.
    #[must_use]
    pub fn output_filter(&self) -> &[String] {
        &self.request.output_filter
    }

    /// The tasks of a request for several signatures: the name under which the model is served, the signature (empty
    /// for the default one), and the `method_name`.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = (&str, &str, &str)> {
        self.request.tasks.iter().map(|task| (task.model.as_str(), task.signature.as_str(), task.method.as_str()))
    }

    /// Whether there is a response to compare with.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.answer.is_some()
    }
}

impl Request {
    /// A request with tensors by name, for all outputs.
    #[doc(hidden)]
    pub fn predict(signature: &str, mut inputs: Tensors) -> Self {
        inputs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (output_filter, tasks) = (Vec::new(), Vec::new());
        Self { kind: Kind::Predict, signature: signature.to_owned(), inputs, output_filter, tasks }
    }

    #[doc(hidden)]
    pub fn signature(&self) -> &str {
        if self.signature.is_empty() { DEFAULT_SIGNATURE } else { &self.signature }
    }

    /// Whether the two are equal for a model.
    #[doc(hidden)]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.signature() == other.signature()
            && self.inputs == other.inputs
            && self.output_filter == other.output_filter
            && self.tasks == other.tasks
    }
}

impl fmt::Display for Kind {
    /// Its name in TensorFlow Serving: `predict`, `classify`, ….
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Predict => "predict",
            Self::Classify => "classify",
            Self::Regress => "regress",
            Self::MultiInference => "multi_inference",
            Self::SessionRun => "session_run",
            Self::PredictStreamed => "predict_streamed",
            Self::Unknown => "unknown",
        })
    }
}
