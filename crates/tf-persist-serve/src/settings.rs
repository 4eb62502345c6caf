//! How a server is set up. The defaults are TensorFlow Serving's, but where it would listen to the whole network.

use crate::{batching, grpc, http, metrics, models, security};

/// All settings of a server, by the rooms that they belong to.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Which models are served, and how they are loaded.
    pub models: models::Settings,
    /// How requests are run and batched.
    pub run: batching::Settings,
    /// The REST interface.
    pub http: http::Settings,
    /// The gRPC interface.
    pub grpc: grpc::Settings,
    /// Keys, certificates and limits.
    pub security: security::Settings,
    /// What is measured and where it can be read.
    pub metrics: metrics::Settings,
}
