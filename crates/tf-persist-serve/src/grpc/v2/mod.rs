//! The Open Inference Protocol over gRPC: `inference.GRPCInferenceService`.

mod infer;
mod request;
mod response;
mod service;

pub(super) use infer::infer;
pub(super) use request::ModelInferRequest;
pub(super) use service::answer;

use bytes::Bytes;
use tf_persist_core::{Code, Tensor};

use crate::status::Status;

/// The path of every method begins so.
const PREFIX: &str = "/inference.GRPCInferenceService/";

/// The methods that can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    ServerLive,
    ServerReady,
    ModelReady,
    ServerMetadata,
    ModelMetadata,
    ModelInfer,
    ModelConfig,
    ModelStatistics,
    RepositoryIndex,
    RepositoryModelLoad,
    RepositoryModelUnload,
}

impl Method {
    pub(super) fn from_path(path: &str) -> Option<Self> {
        Some(match path.strip_prefix(PREFIX)? {
            "ServerLive" => Self::ServerLive,
            "ServerReady" => Self::ServerReady,
            "ModelReady" => Self::ModelReady,
            "ServerMetadata" => Self::ServerMetadata,
            "ModelMetadata" => Self::ModelMetadata,
            "ModelInfer" => Self::ModelInfer,
            "ModelConfig" => Self::ModelConfig,
            "ModelStatistics" => Self::ModelStatistics,
            "RepositoryIndex" => Self::RepositoryIndex,
            "RepositoryModelLoad" => Self::RepositoryModelLoad,
            "RepositoryModelUnload" => Self::RepositoryModelUnload,
            _ => return None,
        })
    }

    /// Whether it needs no key and is answered however busy the server is.
    pub(super) fn is_health(self) -> bool {
        matches!(self, Self::ServerLive | Self::ServerReady)
    }
}

/// The error of a method that is not there. Clients show its message.
pub(super) fn unknown_method(path: &str) -> Status {
    let message = match path.strip_prefix(PREFIX) {
        None => String::new(),
        Some("ModelStreamInfer") => "streams are not supported: send requests with ModelInfer".to_owned(),
        Some(name) if name.contains("SharedMemory") => crate::v2::no_shared_memory().message,
        Some(name) => format!("{name} is not supported"),
    };
    Status::new(Code::Unimplemented, message)
}

/// The inputs of a `ModelInferRequest` with at most `limit` of them.
///
/// # Errors
/// As for a request of a client.
pub fn decode_infer_message(message: &[u8], limit: usize) -> Result<Vec<(String, Tensor)>, Status> {
    Ok(ModelInferRequest::parse(&Bytes::copy_from_slice(message), limit)?.decode()?.inputs)
}
