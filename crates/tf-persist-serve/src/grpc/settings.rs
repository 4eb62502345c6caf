//! Settings of the gRPC interface.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::setters::setters;

/// Settings of the gRPC interface.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GrpcSettings {
    /// The address to listen on (`port`); `None` for no port. Port 0 is any free port.
    pub address: Option<SocketAddr>,
    /// A UNIX socket to listen on (`grpc_socket_path`).
    pub socket: Option<PathBuf>,
    /// Whether responses have `tensor_content` instead of typed fields (`enable_serialization_as_tensor_content`).
    pub tensor_content: bool,
    /// Whether clients may change the configuration of models (`HandleReloadConfigRequest`).
    pub reload_config: bool,
}

impl GrpcSettings {
    setters! {
        address: impl Into<Option<SocketAddr>>,
        socket: impl Into<Option<PathBuf>>,
        tensor_content: bool,
        reload_config: bool,
    }
}

impl Default for GrpcSettings {
    fn default() -> Self {
        Self { address: None, socket: None, tensor_content: false, reload_config: true }
    }
}
