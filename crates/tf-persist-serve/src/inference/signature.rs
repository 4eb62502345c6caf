//! Which signature a request means.

use std::sync::Arc;

use tf_persist_core::Code;

use crate::metrics::Protocol;
use crate::models::{Servable, Served};
use crate::status::Status;

/// The signature that is meant where none is named (`kDefaultServingSignatureDefKey`).
pub const DEFAULT_SIGNATURE: &str = "serving_default";

/// The name of the signature that a request means by this one.
#[must_use]
pub fn effective_name(name: &str) -> &str {
    if name.is_empty() { DEFAULT_SIGNATURE } else { name }
}

/// The signature that a predict request names; empty for the default one.
///
/// # Errors
/// If there is none, with the code and the words that TensorFlow Serving has for it in each protocol (`predict_util.cc`,
/// `http_rest_api_handler.cc`).
pub fn signature_for_predict<'a>(
    servable: &'a Servable,
    name: &str,
    protocol: Protocol,
) -> Result<&'a Arc<Served>, Status> {
    let name = effective_name(name);
    servable.signature(name, || match protocol {
        Protocol::Grpc => Status::failed_precondition(format!("Serving signature key \"{name}\" not found.")),
        Protocol::Rest => {
            Status::new(Code::InvalidArgument, format!("Serving signature name: \"{name}\" not found in signature def"))
        }
    })
}
