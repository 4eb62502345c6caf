//! From a path to what answers it.

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

use super::framing::read_message;
use super::reply::Reply;
use super::request::{ExamplesRequest, MetadataRequest, ModelSpec, MultiInferenceRequest, PredictRequest};
use super::{health, metadata, model, prediction, status, timeout};
use crate::catch_panic::catch_panic;
use crate::metrics::{Api, OfModel, Protocol};
use crate::net::Peer;
use crate::offload::{OFFLOAD_BYTES, internal_error, offload, offload_if};
use crate::state::ServerState;
use crate::status::Status;

/// What is asked about a model, or of its health, is no longer than this.
const MAX_QUESTION: usize = 64 << 10;

/// A configuration of models, in thousands. Decoded, it may take a hundred times as much.
const MAX_CONFIG: usize = 4 << 20;

/// Whether the server is alive is told without a key, and however much there is to do.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// The gRPC interface of a server: a service for connections of HTTP/2.
#[derive(Clone)]
pub(super) struct Grpc {
    state: ServerState,
    peer: Peer,
}

/// An answer that is being made.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>> + Send>>;

/// What can be called.
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
}

impl Call {
    fn of(path: &str) -> Option<Self> {
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
            _ => return None,
        })
    }

    /// The longest message that is read.
    fn max_message(self) -> usize {
        match self {
            Self::Predict | Self::Classify | Self::Regress | Self::MultiInference => usize::MAX,
            Self::ReloadConfig => MAX_CONFIG,
            Self::GetModelMetadata | Self::GetModelStatus | Self::HealthCheck | Self::HealthWatch => MAX_QUESTION,
        }
    }
}

impl Grpc {
    pub(super) fn new(state: ServerState, peer: Peer) -> Self {
        Self { state, peer }
    }

    /// Answers a request.
    async fn answer<B>(&self, request: Request<B>) -> Response<Reply>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let (head, body) = request.into_parts();
        if !is_grpc(&head.headers) {
            let mut response = Response::new(Reply::none());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let deadline = timeout::deadline(&head.headers);
        let work = self.work(&head, body, deadline);
        let done = match deadline {
            None => work.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
                .await
                .unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "Deadline Exceeded"))),
        };
        match done {
            Ok(reply) => {
                let mut response = Response::new(reply);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                response
            }
            Err(refused) => status::refusal(&refused),
        }
    }

    async fn work<B>(&self, head: &Parts, body: B, deadline: Option<Instant>) -> Result<Reply, Status>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let state = &self.state;
        let is_health = head.uri.path().starts_with(HEALTH);
        if !is_health {
            state.api_keys().check(&head.headers)?;
        }
        let call = Call::of(head.uri.path()).filter(|_| head.method == Method::POST);
        let call = call.ok_or_else(|| Status::new(Code::Unimplemented, ""))?;
        let limits = &state.settings().security.limits;
        let message = read_message(body, &head.headers, call.max_message(), limits).await?;
        state.note_bytes(message.len());
        // It is let in when it is whole: clients that send slowly shut nobody out.
        let _permit = if is_health { None } else { Some(state.concurrency_limit().try_acquire()?) };
        let most = limits.tensors;
        let message = match call {
            Call::Predict => {
                let mut request = read(&message, move |message| PredictRequest::read(message, most)).await?;
                let spec = named(request.spec.take());
                let length = message.len();
                // The tensors' slices keep what they need of it.
                drop(message);
                let work = |spec, measures: Arc<OfModel>| async move {
                    prediction::predict(state, &spec, request, length, deadline, &measures).await
                };
                self.measured(Api::Predict, spec, work).await?
            }
            Call::Classify => {
                let mut request = read(&message, |message| ExamplesRequest::read(message)).await?;
                let spec = named(request.spec.take());
                let work = |spec, _| async move { prediction::classify(state, &spec, request, deadline).await };
                self.measured(Api::Classify, spec, work).await?
            }
            Call::Regress => {
                let mut request = read(&message, |message| ExamplesRequest::read(message)).await?;
                let spec = named(request.spec.take());
                let work = |spec, _| async move { prediction::regress(state, &spec, request, deadline).await };
                self.measured(Api::Regress, spec, work).await?
            }
            Call::MultiInference => {
                let mut request = read(&message, move |message| MultiInferenceRequest::read(message, most)).await?;
                let no_name = || Status::invalid_argument("ModelSpec has no name specified.");
                let spec = request.spec.take().ok_or_else(no_name)?;
                prediction::multi_inference(state, &spec, request, deadline).await?
            }
            Call::GetModelMetadata => {
                let request = MetadataRequest::read(&message)?;
                let servable = prediction::find(state, metadata::check(&request)?)?;
                // It is read out of the model's graph.
                offload(move || metadata::answer(&servable)).await?
            }
            Call::GetModelStatus => {
                let spec = named(MetadataRequest::read(&message)?.spec);
                model::status(state.models(), &spec?)?
            }
            Call::ReloadConfig if !state.settings().grpc.reload_config => {
                tracing::warn!(asked_by = %self.peer, "HandleReloadConfigRequest was refused: it is switched off");
                return Err(Status::new(
                    Code::PermissionDenied,
                    "HandleReloadConfigRequest is switched off on this server",
                ));
            }
            Call::ReloadConfig => {
                let asked_by = format!("{} over gRPC", self.peer);
                model::reload(state.models(), state.metrics(), message, &asked_by).await?
            }
            Call::HealthCheck => health::check(&message, state.models(), state.is_shutting_down())?,
            Call::HealthWatch => {
                return Ok(Reply::messages(health::watch(&message, state.models(), state.shutdown_signal())));
            }
        };
        Ok(Reply::message(message))
    }

    /// Does what a request for a model asks, and counts it. TensorFlow Serving counts these three of gRPC, and no others
    /// (`model_servers/prediction_service_impl.cc`).
    async fn measured<F>(
        &self,
        api: Api,
        spec: Result<ModelSpec, Status>,
        work: impl FnOnce(ModelSpec, Arc<OfModel>) -> F,
    ) -> Result<Bytes, Status>
    where
        F: Future<Output = Result<Bytes, Status>>,
    {
        let start = Instant::now();
        let measures = self.state.metrics().of(spec.as_ref().map_or("", |spec| &spec.name));
        let done = match spec {
            Ok(spec) => work(spec, Arc::clone(&measures)).await,
            Err(refused) => Err(refused),
        };
        let refused = done.as_ref().err().map(|status| status.code);
        measures.request(api, Protocol::Grpc, refused, start.elapsed());
        done
    }
}

/// Reads a request out of a message.
async fn read<T: Send + 'static>(
    message: &Bytes,
    read: impl FnOnce(&Bytes) -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let message = message.clone();
    offload_if(message.len() > OFFLOAD_BYTES, move || read(&message)).await
}

fn named(spec: Option<ModelSpec>) -> Result<ModelSpec, Status> {
    spec.ok_or_else(|| Status::invalid_argument("Missing ModelSpec"))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    // `application/grpc+proto`, `application/grpc;…`; not `application/grpc-web`.
    kind.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl<B> hyper::service::Service<Request<B>> for Grpc
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Display,
{
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<B>) -> Answering {
        let grpc = self.clone();
        Box::pin(async move {
            Ok(catch_panic(grpc.answer(request)).await.unwrap_or_else(|()| status::refusal(&internal_error())))
        })
    }
}
