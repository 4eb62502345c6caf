//! How the gRPC interface listens.

use std::net::SocketAddr;
use std::path::PathBuf;

/// How the gRPC interface listens.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens (`port`); `None`: nowhere. Port 0 is any that is free.
    pub address: Option<SocketAddr>,
    /// A UNIX socket on which it listens too (`grpc_socket_path`).
    pub socket: Option<PathBuf>,
    /// Whether answers carry `tensor_content` instead of typed fields (`enable_serialization_as_tensor_content`).
    pub tensor_content: bool,
    /// Whether clients may have another configuration of models served (`HandleReloadConfigRequest`).
    pub reload_config: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { address: None, socket: None, tensor_content: false, reload_config: true }
    }
}
