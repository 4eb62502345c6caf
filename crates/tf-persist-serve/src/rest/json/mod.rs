//! JSON of the REST interface: requests into tensors, answers out of them (`util/json_tensor.cc`).

use tf_persist_core::tensor::Strings;
use tf_persist_core::{DType, Tensor};
use tf_persist_proto::serving::SignatureDefMap;

use crate::inference::Class;
use crate::models::VersionStatus;
use crate::run::Answer;
use crate::status::Status;

/// How tensors stand in a request, and so in its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `instances` and `predictions`.
    Row,
    /// `inputs` and `outputs`.
    Column,
}

/// The body of a predict request, of which the outline is known: it is a JSON object, and its signature has a name.
pub struct PredictBody<'a> {
    body: &'a [u8],
}

impl<'a> PredictBody<'a> {
    /// Reads the outline.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if it is not a JSON object, or the signature's name no string.
    pub fn parse(body: &'a [u8]) -> Result<Self, Status> {
        Ok(Self { body })
    }

    /// The signature that it names.
    #[must_use]
    pub fn signature_name(&self) -> Option<&str> {
        None
    }

    /// Decodes the tensors of a signature's inputs.
    ///
    /// # Errors
    /// As TensorFlow Serving.
    pub fn tensors(&self, inputs: &[(&str, DType)]) -> Result<(Form, Vec<(String, Tensor)>), Status> {
        let _ = (inputs, self.body);
        todo!()
    }
}

/// The body of a classify or regress request.
pub struct ExamplesBody {
    /// The signature that it names.
    pub signature_name: Option<String>,
    /// Serialized `tf.Example`s, the context in each.
    pub examples: Strings,
}

impl ExamplesBody {
    /// Reads it.
    ///
    /// # Errors
    /// As TensorFlow Serving.
    pub fn parse(body: &[u8]) -> Result<Self, Status> {
        let _ = body;
        todo!()
    }
}

/// The answer to a predict request.
///
/// # Errors
/// If the row form cannot be, or a dtype has no JSON.
pub fn predict_answer(form: Form, answer: &Answer) -> Result<Vec<u8>, Status> {
    let _ = (form, answer);
    todo!()
}

/// The answer to a classify request: classes by example.
#[must_use]
pub fn classify_answer(results: &[Vec<Class>]) -> Vec<u8> {
    let _ = results;
    todo!()
}

/// The answer to a regress request: a value an example.
#[must_use]
pub fn regress_answer(results: &[f32]) -> Vec<u8> {
    let _ = results;
    todo!()
}

/// The answer to a status request.
#[must_use]
pub fn status_answer(versions: &[VersionStatus]) -> Vec<u8> {
    let _ = versions;
    todo!()
}

/// The answer to a metadata request.
#[must_use]
pub fn metadata_answer(model: &str, version: i64, signatures: &SignatureDefMap) -> Vec<u8> {
    let _ = (model, version, signatures);
    todo!()
}

/// The body of a refusal.
#[must_use]
pub fn error_body(message: &str) -> Vec<u8> {
    let _ = message;
    todo!()
}
