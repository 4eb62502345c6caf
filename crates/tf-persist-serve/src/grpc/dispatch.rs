//! From the path of a call to its response: methods, keys, limits, deadlines, metrics.

use std::convert::Infallible;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Body;
use tf_persist_core::Code;

use super::body::ResponseBody;
use super::framing::read_message;
use super::messages::request::{ExamplesRequest, MetadataRequest, ModelSpec, MultiInferenceRequest, PredictRequest};
use super::{health, metadata, model_service, prediction_service, status, timeout, v2};
use crate::api::{Api, Protocol};
use crate::catch_panic::catch_panic;
use crate::metrics::ModelMetrics;
use crate::net::Peer;
use crate::offload::{OFFLOAD_BYTES, offload, offload_if};
use crate::state::ServerState;
use crate::status::Status;

/// The longest request for status, metadata or health, in bytes.
const MAX_METADATA_BYTES: usize = 64 << 10;

/// The longest configuration of models, in bytes: enough for thousands of models. Decoded, it may take a hundred times
/// as much memory.
const MAX_CONFIG_BYTES: usize = 4 << 20;

/// Health checks need no key, and are answered however busy the server is.
const HEALTH_PREFIX: &str = "/grpc.health.v1.Health/";

/// The gRPC interface of a server, as a hyper service for one connection.
#[derive(Clone)]
pub(super) struct GrpcService {
    state: ServerState,
    peer: Peer,
}

/// A response in the making.
type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send>>;

/// The methods that can be called.
#[derive(Clone, Copy)]
enum Call {
    Predict,
    Classify,
    Regress,
    MultiInference,
    GetModelMetadata,
    GetModelStatus,
    ReloadConfig,
    HealthCheck,
    HealthWatch,
    /// A method of the Open Inference Protocol.
    Inference(v2::Method),
}

impl Call {
    fn from_path(path: &str) -> Option<Self> {
        Some(match path {
            "/tensorflow.serving.PredictionService/Predict" => Self::Predict,
            "/tensorflow.serving.PredictionService/Classify" => Self::Classify,
            "/tensorflow.serving.PredictionService/Regress" => Self::Regress,
            "/tensorflow.serving.PredictionService/MultiInference" => Self::MultiInference,
            "/tensorflow.serving.PredictionService/GetModelMetadata" => Self::GetModelMetadata,
            "/tensorflow.serving.ModelService/GetModelStatus" => Self::GetModelStatus,
            "/tensorflow.serving.ModelService/HandleReloadConfigRequest" => Self::ReloadConfig,
            "/grpc.health.v1.Health/Check" => Self::HealthCheck,
            "/grpc.health.v1.Health/Watch" => Self::HealthWatch,
            _ => Self::Inference(v2::Method::from_path(path)?),
        })
    }

    /// Whether it needs no key, and is answered however busy the server is.
    fn is_health(self) -> bool {
        match self {
            Self::HealthCheck | Self::HealthWatch => true,
            Self::Inference(method) => method.is_health(),
            _ => false,
        }
    }

    /// The longest message, in bytes.
    fn max_message(self) -> usize {
        match self {
            Self::Predict
            | Self::Classify
            | Self::Regress
            | Self::MultiInference
            | Self::Inference(v2::Method::ModelInfer) => usize::MAX,
            Self::ReloadConfig => MAX_CONFIG_BYTES,
            Self::GetModelMetadata
            | Self::GetModelStatus
            | Self::HealthCheck
            | Self::HealthWatch
            | Self::Inference(_) => MAX_METADATA_BYTES,
        }
    }
}

impl GrpcService {
    pub(super) fn new(state: ServerState, peer: Peer) -> Self {
        Self { state, peer }
    }

    /// Answers a call, within its deadline.
    async fn respond<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (head, body) = request.into_parts();
        if !is_grpc(&head.headers) {
            let mut response = Response::new(ResponseBody::empty());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let deadline = timeout::deadline(&head.headers);
        let response = self.dispatch(&head, body, deadline);
        let result = match deadline {
            None => response.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), response)
                .await
                .unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "Deadline Exceeded"))),
        };
        match result {
            Ok(reply) => {
                let mut response = Response::new(reply);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                response
            }
            Err(error) => status::error_response(&error),
        }
    }

    async fn dispatch<B>(&self, head: &Parts, body: B, deadline: Option<Instant>) -> Result<ResponseBody, Status>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let state = &self.state;
        let path = head.uri.path();
        let call = Call::from_path(path).filter(|_| head.method == Method::POST);
        let is_health = path.starts_with(HEALTH_PREFIX) || call.is_some_and(Call::is_health);
        if !is_health {
            state.api_keys().check(&head.headers)?;
        }
        let call = call.ok_or_else(|| v2::unknown_method(path))?;
        let limits = &state.settings().security.limits;
        let message = read_message(body, &head.headers, call.max_message(), limits).await?;
        state.note_bytes(message.len());
        // Counted only once the message is complete, so slow senders hold no permit.
        let _permit = if is_health { None } else { Some(state.concurrency_limit().try_acquire()?) };
        let limit = limits.tensors;
        let message = match call {
            Call::Predict => {
                let mut request = parse(&message, move |message| PredictRequest::parse(message, limit)).await?;
                let spec = require_spec(request.spec.take());
                let length = message.len();
                // The inputs are slices that keep the message alive as long as needed.
                drop(message);
                let run = |spec, metrics: Arc<ModelMetrics>| async move {
                    prediction_service::predict(state, &spec, request, length, deadline, &metrics).await
                };
                self.with_metrics(Api::Predict, spec, run).await?
            }
            Call::Classify => {
                let mut request = parse(&message, |message| ExamplesRequest::parse(message)).await?;
                let spec = require_spec(request.spec.take());
                let run = |spec, metrics: Arc<ModelMetrics>| async move {
                    prediction_service::classify(state, &spec, request, deadline, &metrics).await
                };
                self.with_metrics(Api::Classify, spec, run).await?
            }
            Call::Regress => {
                let mut request = parse(&message, |message| ExamplesRequest::parse(message)).await?;
                let spec = require_spec(request.spec.take());
                let run = |spec, metrics: Arc<ModelMetrics>| async move {
                    prediction_service::regress(state, &spec, request, deadline, &metrics).await
                };
                self.with_metrics(Api::Regress, spec, run).await?
            }
            Call::MultiInference => self.multi_inference(message, limit, deadline).await?,
            Call::GetModelMetadata => {
                let request = MetadataRequest::parse(&message)?;
                let spec = metadata::check(&request)?;
                prediction_service::check_name(spec)?;
                let servable = state.models().find_loaded(&spec.name, &spec.version, deadline).await?;
                // The signatures are read from the model's file.
                offload(move || metadata::answer(&servable)).await?
            }
            Call::GetModelStatus => {
                let spec = require_spec(MetadataRequest::parse(&message)?.spec);
                model_service::status(state.models(), &spec?)?
            }
            Call::ReloadConfig if !state.settings().grpc.reload_config => {
                tracing::warn!(asked_by = %self.peer, "HandleReloadConfigRequest refused: it is disabled");
                return Err(Status::new(
                    Code::PermissionDenied,
                    "HandleReloadConfigRequest is switched off on this server",
                ));
            }
            Call::ReloadConfig => {
                let asked_by = format!("{} over gRPC", self.peer);
                model_service::reload(state.models(), state.metrics(), message, &asked_by).await?
            }
            Call::Inference(v2::Method::ModelInfer) => self.infer(message, limit, deadline).await?,
            Call::Inference(method) => v2::answer(state, method, &message).await?,
            Call::HealthCheck => health::check(&message, state.models(), state.is_shutting_down())?,
            Call::HealthWatch => {
                return Ok(ResponseBody::messages(health::watch(&message, state.models(), state.shutdown_signal())));
            }
        };
        Ok(ResponseBody::message(message))
    }

    /// Answers a MultiInference request. It is counted for its version and in Triton's statistics alone.
    async fn multi_inference(&self, message: Bytes, limit: usize, deadline: Option<Instant>) -> Result<Bytes, Status> {
        let mut request = parse(&message, move |message| MultiInferenceRequest::parse(message, limit)).await?;
        let no_name = || Status::invalid_argument("ModelSpec has no name specified.");
        let spec = request.spec.take().ok_or_else(no_name)?;
        let start = Instant::now();
        let metrics = self.state.metrics().model(&spec.name);
        let result = prediction_service::multi_inference(&self.state, &spec, request, deadline, &metrics).await;
        let refused = result.as_ref().err().map(|status| status.code);
        let elapsed = start.elapsed();
        metrics.record_inference(refused, elapsed);
        self.state.count_for_version(refused, elapsed);
        result
    }

    /// Answers an infer request, and counts it as a Predict.
    async fn infer(&self, message: Bytes, limit: usize, deadline: Option<Instant>) -> Result<Bytes, Status> {
        let mut request = parse(&message, move |message| v2::ModelInferRequest::parse(message, limit)).await?;
        let spec = request.take_spec();
        let length = message.len();
        // The inputs are slices that keep the message alive as long as needed.
        drop(message);
        let state = &self.state;
        let run = |spec, metrics: Arc<ModelMetrics>| async move {
            v2::infer(state, spec, request, length, deadline, &metrics).await
        };
        self.with_metrics(Api::Predict, spec, run).await
    }

    /// Runs a request for a model, and counts it. TensorFlow Serving counts Predict, Classify and Regress, and no other
    /// calls (`model_servers/prediction_service_impl.cc`).
    async fn with_metrics<F>(
        &self,
        api: Api,
        spec: Result<ModelSpec, Status>,
        run: impl FnOnce(ModelSpec, Arc<ModelMetrics>) -> F,
    ) -> Result<Bytes, Status>
    where
        F: Future<Output = Result<Bytes, Status>>,
    {
        let start = Instant::now();
        let metrics = self.state.metrics().model(spec.as_ref().map_or("", |spec| &spec.name));
        let result = match spec {
            Ok(spec) => run(spec, Arc::clone(&metrics)).await,
            Err(refused) => Err(refused),
        };
        let refused = result.as_ref().err().map(|status| status.code);
        let elapsed = start.elapsed();
        metrics.record_request(api, Protocol::Grpc, refused, elapsed);
        self.state.count_for_version(refused, elapsed);
        result
    }
}

/// Parses a request, in another thread if it is large.
async fn parse<T: Send + 'static>(
    message: &Bytes,
    parse: impl FnOnce(&Bytes) -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let message = message.clone();
    offload_if(message.len() > OFFLOAD_BYTES, move || parse(&message)).await
}

fn require_spec(spec: Option<ModelSpec>) -> Result<ModelSpec, Status> {
    spec.ok_or_else(|| Status::invalid_argument("Missing ModelSpec"))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    // `application/grpc+proto`, `application/grpc;…`; not `application/grpc-web`.
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl<B> hyper::service::Service<Request<B>> for GrpcService
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Display,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<B>) -> ResponseFuture {
        let grpc = self.clone();
        Box::pin(async move {
            let scope = grpc.state.request_scope(Protocol::Grpc, &request);
            let response = match scope.clone() {
                None => catch_panic(grpc.respond(request)).await,
                Some(scope) => scope.run(catch_panic(grpc.respond(request))).await,
            };
            let response = response.unwrap_or_else(|error| status::error_response(&error));
            if let Some(scope) = scope {
                scope.finish(status::number(&response));
            }
            Ok(response)
        })
    }
}
