//! The settings of a server.

use crate::batching::RunSettings;
use crate::grpc::GrpcSettings;
use crate::http::HttpSettings;
use crate::metrics::MetricsSettings;
use crate::models::ModelSettings;
use crate::security::SecuritySettings;
use crate::setters::setters;

/// The settings of a server. The defaults are TensorFlow Serving's, except that no address is set.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Which models are served, and how they are loaded.
    pub models: ModelSettings,
    /// How requests run and share runs.
    pub run: RunSettings,
    /// The REST interface.
    pub http: HttpSettings,
    /// The gRPC interface.
    pub grpc: GrpcSettings,
    /// API keys, certificates and limits.
    pub security: SecuritySettings,
    /// The metrics page.
    pub metrics: MetricsSettings,
}

impl Settings {
    setters! {
        models: ModelSettings,
        run: RunSettings,
        http: HttpSettings,
        grpc: GrpcSettings,
        security: SecuritySettings,
        metrics: MetricsSettings,
    }
}
