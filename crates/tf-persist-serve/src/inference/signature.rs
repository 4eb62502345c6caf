//! Finds the signature of a request.

use std::sync::Arc;

use tf_persist_core::{Code, SignatureDef};

use crate::api::Protocol;
use crate::models::{Servable, ServedSignature};
use crate::status::Status;

/// The default signature (`kDefaultServingSignatureDefKey`).
pub(super) const DEFAULT_SIGNATURE: &str = "serving_default";

/// The name of a signature; an empty name means the default one.
#[must_use]
pub(crate) fn effective_name(name: &str) -> &str {
    if name.is_empty() { DEFAULT_SIGNATURE } else { name }
}

/// Checks the method name of a signature, if the settings require it.
pub(super) fn check_method(servable: &Servable, found: &SignatureDef, what: &str, method: &str) -> Result<(), Status> {
    if !servable.checks_method_names() || found.method_name == method {
        return Ok(());
    }
    let text = format!("Expected {what} signature method_name to be {method}. Was: {}", found.method_name);
    Err(Status::invalid_argument(text))
}

/// The method names that predict accepts.
const PREDICT_METHODS: [&str; 3] =
    ["tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress"];

/// Checks that predict accepts the method name of a signature, if the settings require it (`VerifySignature` in
/// `predict_util.cc`).
///
/// # Errors
/// `INTERNAL`, as in TensorFlow Serving.
pub(crate) fn check_predict_method(servable: &Servable, served: &ServedSignature) -> Result<(), Status> {
    let method = served.signature.definition().method_name.as_str();
    if !servable.checks_method_names() || PREDICT_METHODS.contains(&method) {
        return Ok(());
    }
    let methods = PREDICT_METHODS.join(", ");
    let text = format!("Expected prediction signature method_name to be one of {{{methods}}}. Was: {method}");
    Err(Status::new(Code::Internal, text))
}

/// The signature that a predict request names; empty for the default one.
///
/// # Errors
/// If the signature is unknown, with TensorFlow Serving's code and words for each protocol (`predict_util.cc`,
/// `http_rest_api_handler.cc`).
pub(crate) fn signature_for_predict<'a>(
    servable: &'a Servable,
    name: &str,
    protocol: Protocol,
) -> Result<&'a Arc<ServedSignature>, Status> {
    let name = effective_name(name);
    servable.signature(name, || match protocol {
        Protocol::Grpc => Status::failed_precondition(format!("Serving signature key \"{name}\" not found.")),
        Protocol::Rest => {
            Status::new(Code::InvalidArgument, format!("Serving signature name: \"{name}\" not found in signature def"))
        }
    })
}
