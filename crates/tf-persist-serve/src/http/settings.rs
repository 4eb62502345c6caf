//! Settings of the REST interface.

use std::net::SocketAddr;
use std::time::Duration;

use super::platforms::Platform;
use crate::setters::setters;

/// Settings of the REST interface.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpSettings {
    /// The address to listen on (`rest_api_port`); `None` for no REST interface. Port 0 is any free port.
    pub address: Option<SocketAddr>,
    /// How long a request may take before it fails with 504 (`rest_api_timeout_in_ms`).
    pub timeout: Duration,
    /// Whether every response has CORS headers (`rest_api_enable_cors_support`).
    pub cors: bool,
    /// The platform that started the server, whose routes are answered, too.
    pub platform: Option<Platform>,
    /// Whether `/` is a page for people, instead of TensorFlow Serving's 404. It needs no API key; the data that it
    /// asks for do.
    pub page: bool,
}

impl HttpSettings {
    setters! {
        address: impl Into<Option<SocketAddr>>,
        timeout: Duration,
        cors: bool,
        platform: impl Into<Option<Platform>>,
        page: bool,
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { address: None, timeout: Duration::from_secs(30), cors: false, platform: None, page: false }
    }
}
