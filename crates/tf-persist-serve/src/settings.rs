//! The settings of a server.

use std::sync::Arc;

use crate::batching::RunSettings;
use crate::grpc::GrpcSettings;
use crate::http::HttpSettings;
use crate::metrics::MetricsSettings;
use crate::models::ModelSettings;
use crate::request_log::RequestLogSettings;
use crate::security::SecuritySettings;
use crate::setters::setters;
use crate::traces::RequestTracer;
use crate::traffic::TrafficSettings;

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
    /// The request log.
    pub request_log: RequestLogSettings,
    /// How requests that name no version are split between versions.
    pub traffic: TrafficSettings,
    /// Hears of requests and their parts; `None` for no traces.
    pub tracer: Option<Arc<dyn RequestTracer>>,
}

impl Settings {
    setters! {
        models: ModelSettings,
        run: RunSettings,
        http: HttpSettings,
        grpc: GrpcSettings,
        security: SecuritySettings,
        metrics: MetricsSettings,
        request_log: RequestLogSettings,
        traffic: TrafficSettings,
        tracer: impl Into<Option<Arc<dyn RequestTracer>>>,
    }
}
