//! Keys, certificates and limits.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Who may ask, and how much.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// A file of API keys, one a line; without it nobody is asked for one.
    pub api_key_file: Option<PathBuf>,
    /// Certificates, for both interfaces.
    pub tls: Option<Tls>,
    /// What is refused before work is put into it.
    pub limits: Limits,
}

/// Certificates, in PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The server's chain.
    pub certificate: Pem,
    /// Its key.
    pub key: Pem,
    /// Those that clients' certificates are signed by; without them clients need none.
    pub client_ca: Option<Pem>,
    /// Whether the REST interface stays without, as TensorFlow Serving's own `ssl_config_file` leaves it.
    pub grpc_only: bool,
}

/// Bytes in PEM, and where they come from.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// What they are called where something is wrong with them, such as a file's path in backquotes.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Pem {
    /// Bytes that are called this.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl fmt::Debug for Pem {
    /// Without the bytes, which may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is refused before work is put into it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest request, in bytes, after it was inflated.
    pub body_bytes: usize,
    /// Requests under way at once, over both interfaces; more are refused with 503 or `UNAVAILABLE`.
    pub concurrent_requests: usize,
    /// Connections at once, of each interface; more wait to be accepted.
    pub connections: usize,
    /// How long a client may take to send the head of a request.
    pub head_timeout: Duration,
    /// How long a client may take between two pieces of a body.
    pub body_timeout: Duration,
    /// Tensors in one request.
    pub tensors: usize,
    /// After how long a connection on which nothing happens is closed.
    pub idle_timeout: Duration,
    /// How long requests under way are waited for when the server stops.
    pub drain_timeout: Duration,
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
