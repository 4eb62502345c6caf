//! Settings of API keys, certificates and limits.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::setters::setters;

/// API keys, certificates and limits.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SecuritySettings {
    /// A file of API keys, one a line; `None` if clients need no key.
    pub api_key_file: Option<PathBuf>,
    /// The certificates of both interfaces; `None` for no TLS.
    pub tls: Option<Tls>,
    /// Limits of connections and requests.
    pub limits: Limits,
}

/// Certificates, in PEM.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tls {
    /// The certificate chain of the server.
    pub certificate: Pem,
    /// The private key of the server.
    pub key: Pem,
    /// The authorities that sign clients' certificates; `None` if clients need no certificate.
    pub client_ca: Option<Pem>,
    /// Whether the REST interface has no TLS, as with TensorFlow Serving's `ssl_config_file`.
    pub grpc_only: bool,
}

/// Bytes in PEM, and the name of their source.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// The name in error messages, such as the path of a file in backquotes.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Pem {
    /// Bytes in PEM, and the name of their source.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl fmt::Debug for Pem {
    /// Omits the bytes, which may be a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Limits of connections and requests, checked before any work is done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// The largest request body, in bytes, after decompression.
    pub body_bytes: usize,
    /// Requests at once, over both interfaces. Further ones are refused with 503 or `UNAVAILABLE`.
    pub concurrent_requests: usize,
    /// Connections at once, of each interface. Further ones wait to be accepted.
    pub connections: usize,
    /// How long a client may take to send the head of a request.
    pub head_timeout: Duration,
    /// How long a client may take between two pieces of a body.
    pub body_timeout: Duration,
    /// Tensors in one request.
    pub tensors: usize,
    /// How long a connection may be idle before it is closed.
    pub idle_timeout: Duration,
    /// How long the server waits for the requests in flight when it stops.
    pub drain_timeout: Duration,
}

impl SecuritySettings {
    setters! {
        api_key_file: impl Into<Option<PathBuf>>,
        tls: impl Into<Option<Tls>>,
        limits: Limits,
    }
}

impl Tls {
    /// TLS of both interfaces, for clients without certificates.
    #[must_use]
    pub fn new(certificate: Pem, key: Pem) -> Self {
        Self { certificate, key, client_ca: None, grpc_only: false }
    }

    setters! {
        client_ca: impl Into<Option<Pem>>,
        grpc_only: bool,
    }
}

impl Limits {
    setters! {
        body_bytes: usize,
        concurrent_requests: usize,
        connections: usize,
        head_timeout: Duration,
        body_timeout: Duration,
        tensors: usize,
        idle_timeout: Duration,
        drain_timeout: Duration,
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: i32::MAX as usize,
            concurrent_requests: 4096,
            connections: 16_384,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            tensors: 4096,
            idle_timeout: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
