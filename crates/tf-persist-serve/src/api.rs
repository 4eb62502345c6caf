//! What a client can call, over which protocol, and what it gets for examples.

/// A method of TensorFlow Serving's APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    Predict,
    Classify,
    Regress,
    MultiInference,
    GetModelMetadata,
    GetModelStatus,
    ReloadConfig,
}

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Rest,
    Grpc,
}

/// A class of an example.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Its label; empty if the signature has only scores.
    pub label: Vec<u8>,
    /// Its score; 0 if the signature has only labels.
    pub score: f32,
}

/// A classification or regression of the examples of a MultiInference request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    /// The model, the same in all tasks.
    pub model: String,
    /// The signature; empty for the default one.
    pub signature: String,
    /// The method of a signature that classifies or regresses, whatever the signature itself says.
    pub method: String,
}

/// The outcome of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The classes of each example.
    Classes(Vec<Vec<Class>>),
    /// The value of each example.
    Values(Vec<f32>),
}
