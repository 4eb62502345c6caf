//! The Open Inference Protocol, version 2, which KServe and Triton speak: the part that REST and gRPC share. Sources:
//! <https://github.com/kserve/open-inference-protocol> and, for the extensions,
//! <https://github.com/triton-inference-server/server/tree/main/docs/protocol>.
//!
//! A request becomes an [`InferRequest`], whose tensors have the datatypes that the request declares. [`infer()`]
//! compares them with the signature and runs it, through the same queues as the requests of TensorFlow Serving's
//! interfaces.

mod classification;
mod datatype;
mod infer;
mod metadata;
mod parameters;
mod raw;
mod repository;
mod statistics;

pub(crate) use datatype::{config_number, datatype_name, dtype};
pub(crate) use infer::{InferRequest, Output, infer, signature};
pub(crate) use metadata::{Metadata, PLATFORM, TensorMetadata, metadata};
pub(crate) use parameters::{Parameter, Parameters, classes, refuse_shared_memory};
pub(crate) use raw::{decode, encode, encoded_len, shape_error};
pub(crate) use repository::{index, load, unload};
pub(crate) use statistics::{ModelStatistics, statistics};

use tf_persist_core::Code;

use crate::models::Version;
use crate::status::Status;

/// The name of the server in its metadata.
pub(crate) const SERVER_NAME: &str = "tf-persist";

/// The version of the server in its metadata.
pub(crate) const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The extensions of the protocol, by Triton's names.
pub(crate) const EXTENSIONS: [&str; 6] =
    ["binary_tensor_data", "classification", "model_configuration", "model_repository", "parameters", "statistics"];

/// The version that a request names: a number, or else a label. An empty text means the newest version.
///
/// # Errors
/// `INVALID_ARGUMENT` if a number does not fit 63 bits.
pub(crate) fn version(text: &str) -> Result<Version, Status> {
    if text.is_empty() {
        return Ok(Version::Latest);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Version::Label(text.to_owned()));
    }
    let number = text.parse().map_err(|_| Status::invalid_argument(format!("the version {text} is too large")))?;
    Ok(Version::Number(number))
}

/// The error of a call that is about shared memory.
pub(crate) fn no_shared_memory() -> Status {
    Status::new(Code::InvalidArgument, "shared memory is not supported: send tensors with the request")
}

/// The error of a request to load a model with parameters, such as another configuration or files.
pub(crate) fn no_load_parameters() -> Status {
    Status::new(Code::Unimplemented, "a model is loaded as the server is configured: parameters are not supported")
}
