//! Classify and regress: serialized `tf.Example`s in, classes or values out (`servables/tensorflow/classifier.cc`,
//! `regressor.cc`).

use std::time::Instant;

use tf_persist_core::tensor::Strings;

use crate::models::Servable;
use crate::status::Status;

/// A class that an example may be of.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// Its label; empty if the signature gives scores alone.
    pub label: Vec<u8>,
    /// Its score; 0 if the signature gives labels alone.
    pub score: f32,
}

/// Classifies examples: the classes of each.
///
/// # Errors
/// `INVALID_ARGUMENT` if there is no such signature, it is none that classifies, or there are no examples; what TensorFlow says.
pub async fn classify(
    servable: &Servable,
    signature: &str,
    examples: Strings,
    deadline: Option<Instant>,
) -> Result<Vec<Vec<Class>>, Status> {
    let _ = (servable, signature, examples, deadline);
    todo!()
}

/// Regresses examples: the value of each.
///
/// # Errors
/// `INVALID_ARGUMENT` if there is no such signature, it is none that regresses, or there are no examples; what TensorFlow says.
pub async fn regress(
    servable: &Servable,
    signature: &str,
    examples: Strings,
    deadline: Option<Instant>,
) -> Result<Vec<f32>, Status> {
    let _ = (servable, signature, examples, deadline);
    todo!()
}
