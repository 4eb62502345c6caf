//! Why a server does not start or stops.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::security::{ApiKeysError, TlsError};
use crate::status::Status;

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The models cannot be served: their configuration is invalid, or no version of a model could be loaded.
    #[error("{0}")]
    Models(Status),
    /// A port cannot be bound.
    #[error("cannot listen on {address} for {what}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// "REST" or "gRPC".
        what: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// A UNIX socket cannot be bound.
    #[error("cannot listen on the socket `{}` for gRPC: {source}", path.display())]
    Socket {
        /// The path of the socket.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The threads that serve connections cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// The settings name neither a REST nor a gRPC address.
    #[error("there is neither a REST nor a gRPC port to listen on")]
    NoPort,
    /// The folder of the request log cannot be used.
    #[error("cannot write the request log to `{}`: {source}", path.display())]
    RequestLog {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The rules of the traffic cannot be used.
    #[error("cannot use {0}")]
    Traffic(String),
    /// The file of API keys cannot be used.
    #[error(transparent)]
    ApiKeys(#[from] ApiKeysError),
    /// The certificates cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
}
