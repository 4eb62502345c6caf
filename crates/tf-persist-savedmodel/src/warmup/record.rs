//! One record: a request, and the answer it was given.

use std::fmt;

use super::decode;
use crate::saved_model::DEFAULT_SIGNATURE;
use crate::tensor::Tensor;

/// Named tensors, sorted by name.
pub type Tensors = Vec<(String, Tensor)>;

/// A record of a file of golden examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its number in the file, from 1.
    pub number: usize,
    /// Whether it is one of a `Sequence`, and has to be asked after those before it.
    pub in_order: bool,
    #[doc(hidden)]
    pub tags: Vec<String>,
    #[doc(hidden)]
    pub request: Request,
    /// What the request was answered; `None` in plain files of TensorFlow Serving, which have requests alone.
    #[doc(hidden)]
    pub answer: Option<Tensors>,
}

/// What kind of request a record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Tensors by name.
    Predict,
    /// `tf.Example`s to be classified.
    Classify,
    /// `tf.Example`s to be given a number.
    Regress,
    /// `tf.Example`s for several signatures at once, which have no answer to compare with.
    MultiInference,
    /// Feeds and fetches by the graph's names, which are not run.
    SessionRun,
    /// Requests in parts, which are not run.
    PredictStreamed,
    /// None that is known here.
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
    /// The outputs that are asked for; all, if it is empty.
    pub output_filter: Vec<String>,
    /// What is asked of a request for several signatures.
    pub tasks: Vec<Task>,
}

/// One of several questions over the same examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The name that the model is served by.
    pub(crate) model: String,
    /// Its signature; empty for the default one.
    pub(crate) signature: String,
    /// What is to be made of the outputs: the `method_name` of a signature.
    pub(crate) method: String,
}

impl Record {
    /// Reads the data of the record with this number.
    ///
    /// # Errors
    /// A sentence, if it is no `PredictionLog` or has tensors that cannot be. Kinds that are not run are not looked into.
    pub fn parse(number: usize, data: Vec<u8>) -> Result<Self, String> {
        decode::record(number, &data)
    }

    /// What kind of request it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.request.kind
    }

    /// The signature that is asked.
    #[must_use]
    pub fn signature(&self) -> &str {
        self.request.signature()
    }

    /// The tensors that are given, by name; of a request over `tf.Example`s, those as the strings that they were serialized to.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.request.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The outputs that are asked for, without repetition; all, if there are none.
    #[must_use]
    pub fn output_filter(&self) -> &[String] {
        &self.request.output_filter
    }

    /// Of a request for several signatures, what is asked: the name that the model is served by, the signature (empty for the
    /// default one), and the `method_name` of what is to be made of its outputs.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = (&str, &str, &str)> {
        self.request.tasks.iter().map(|task| (task.model.as_str(), task.signature.as_str(), task.method.as_str()))
    }

    /// Whether there is an answer to compare with.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.answer.is_some()
    }
}

impl Request {
    /// A request of tensors by name, all outputs asked for.
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

    /// Whether a model cannot tell the two apart.
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
    /// As TensorFlow Serving calls it: `predict`, `classify`, ….
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
