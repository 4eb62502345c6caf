//! What is measured, for Prometheus: TensorFlow Serving's measures under its names, and ours.

mod settings;

use std::time::Duration;

use tf_persist_core::Code;

pub use settings::Settings;

/// The measures of a server. Cloning shares them.
#[derive(Clone, Default)]
pub struct Metrics {}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are TensorFlow Serving's")]
pub enum Api {
    Predict,
    Classify,
    Regress,
    MultiInference,
    GetModelMetadata,
    GetModelStatus,
    ReloadConfig,
}

/// How it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Rest,
    Grpc,
}

/// A part of the way of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for a runner.
    Queue,
    /// Bytes into tensors.
    Decode,
    /// TensorFlow's run.
    Run,
    /// Tensors into bytes.
    Encode,
}

impl Metrics {
    /// Measures that begin at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request was answered, or refused with this code, after so long.
    pub fn request(&self, model: &str, api: Api, protocol: Protocol, refused: Option<Code>, took: Duration) {
        let _ = (model, api, protocol, refused, took);
    }

    /// A part of a request's way took so long.
    pub fn phase(&self, model: &str, phase: Phase, took: Duration) {
        let _ = (model, phase, took);
    }

    /// A request had so many examples (rows).
    pub fn examples(&self, model: &str, count: usize) {
        let _ = (model, count);
    }

    /// A batch was run: of so many requests, with so many rows in all, and so many more to fill it up.
    pub fn batch(&self, model: &str, requests: usize, rows: usize, padding: usize) {
        let _ = (model, requests, rows, padding);
    }

    /// The value of a counter by TensorFlow Serving's name (`/tensorflow/serving/…`), of the first of its label sets; 0 if there is
    /// none.
    #[must_use]
    pub fn value(&self, name: &str) -> i64 {
        let _ = name;
        0
    }

    /// A version was loaded, or could not be, from this folder.
    pub fn load(&self, path: &str, refused: Option<Code>, took: Duration) {
        let _ = (path, refused, took);
    }

    /// A version was warmed up, or could not be, with so many records.
    pub fn warm_up(&self, path: &str, refused: Option<Code>, records: usize, took: Duration) {
        let _ = (path, refused, records, took);
    }
}
