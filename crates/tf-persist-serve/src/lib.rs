//! A server for TensorFlow Serving's clients: its REST and gRPC interfaces over models that [`tf_persist_core`] runs.
//! Clients of the Open Inference Protocol, which are KServe's and Triton's, are answered as well.
//!
//! [`Settings`] say which models are served and on which addresses, [`Server::bind`] opens the ports, and
//! [`Server::run`] answers requests until it is told to stop. `examples/serve.rs` is a whole program.
//!
//! A request passes through these modules: `http` or `grpc` decodes it into tensors, `models` finds the version of the
//! model, `inference` checks it against the signature, `batching` runs it, alone or with others, and `http` or `grpc`
//! encodes the response. Every module reports errors as a [`Status`], for which each protocol has one table of codes.
//!
//! The behaviour is that of <https://github.com/tensorflow/serving>, release 2.20. A comment that names a file ending
//! in `.cc` means a file of that repository, under `tensorflow_serving/`.

mod api;
mod batching;
mod catch_panic;
mod error;
mod grpc;
mod http;
mod inference;
mod metrics;
mod models;
mod net;
mod offload;
mod priority;
mod random;
mod request_log;
mod request_scope;
mod security;
mod server;
mod setters;
mod settings;
mod shutdown;
mod state;
mod status;
mod traces;
mod traffic;
mod v2;

pub use batching::{BatchingSettings, RunSettings};
pub use error::ServerError;
pub use grpc::GrpcSettings;
pub use http::{HttpSettings, Platform, SageMaker, Vertex};
pub use metrics::MetricsSettings;
pub use models::{
    Catalog, CatalogModel, LabelRule, LoadSettings, ModelSettings, ModelSource, ModelsBelow, Prepare, Refusal,
    RemotePaths, RemoteVersion, SageMakerModels,
};
pub use request_log::{RequestLogFormat, RequestLogSettings};
pub use security::{ApiKeysError, Limits, Pem, SecuritySettings, Tls, TlsError};
pub use server::Server;
pub use settings::Settings;
pub use state::ServerState;
pub use status::Status;
pub use traces::{RequestHead, RequestTrace, RequestTracer, TracedModel, TracedPhase, TracedRequest};
pub use traffic::{ModelTraffic, TrafficFile, TrafficRules, TrafficSettings, TrafficSource};

/// What the tests, benchmarks and fuzz targets of this workspace use. It is not part of the API and may change in any
/// release.
#[doc(hidden)]
pub mod internals {
    pub use crate::batching::{InferenceRequest, InferenceResponse};
    pub use crate::grpc::{UdsAuthorityRewriter, decode_infer_message};
    pub use crate::http::json;
    pub use crate::inference::warm_up;
    pub use crate::metrics::{Gauges, Metrics};
    pub use crate::models::{Models, Servable, ServedSignature, State, Version};
}

/// The duration in milliseconds, the unit of all durations in the log.
fn milliseconds(duration: std::time::Duration) -> f64 {
    // Whole microseconds are exact in a float for centuries, and print short.
    duration.as_micros() as f64 / 1000.0
}
