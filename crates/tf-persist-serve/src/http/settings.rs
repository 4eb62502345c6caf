//! How the REST interface listens.

use std::net::SocketAddr;
use std::time::Duration;

/// How the REST interface listens.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens (`rest_api_port`); `None`: nowhere. Port 0 is any that is free.
    pub address: Option<SocketAddr>,
    /// After how long a request is given up with 504 (`rest_api_timeout_in_ms`).
    pub timeout: Duration,
    /// Whether every reply carries CORS headers (`rest_api_enable_cors_support`).
    pub cors: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { address: None, timeout: Duration::from_secs(30), cors: false }
    }
}
