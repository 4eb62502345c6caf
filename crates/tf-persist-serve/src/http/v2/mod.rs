//! The Open Inference Protocol over REST: everything below `/v2`.

mod encoding;
mod infer;
mod pages;
mod routes;

use std::time::Instant;

use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use tf_persist_core::Code;

use super::body;
use super::handlers::RequestError;
use super::reply::{self, Reply};
use crate::api::{Api, Protocol};
use crate::state::ServerState;
use crate::status::Status;
use crate::v2;
use routes::Route;

pub(super) use routes::is_v2_path;

/// The longest body of a request that is not for inference, in bytes. They have none, or a few parameters.
const MAX_SMALL_BODY: usize = 64 << 10;

/// Answers a request below `/v2`.
pub(super) async fn respond(state: &ServerState, head: &Parts, path: &str, body: Incoming) -> Reply {
    let route = match Route::parse(path) {
        Ok(route) => route,
        Err(status) => return refuse(body, &status).await,
    };
    // Health checks have no key.
    if !matches!(route, Route::Live | Route::Ready)
        && let Err(status) = state.api_keys().check(&head.headers)
    {
        return refuse(body, &status).await;
    }
    if !route.allows(&head.method) {
        body::drain(body).await;
        let allowed = if route.is_post() { "POST" } else { "GET" };
        let message = format!("{} is not allowed for {path}, but {allowed} is", head.method);
        let mut refusal = reply::error_with_code(StatusCode::METHOD_NOT_ALLOWED, &message);
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        return refusal;
    }
    match route {
        Route::Infer { model, version } => infer(state, head, (&model, version), body).await,
        Route::Live | Route::Ready => {
            body::drain(body).await;
            pages::health(state, route == Route::Ready)
        }
        route => match small(state, route, head, body).await {
            Ok(reply) => reply,
            Err(error) => reply::request_error(error).1,
        },
    }
}

async fn refuse(body: Incoming, status: &Status) -> Reply {
    body::drain(body).await;
    reply::error(status)
}

/// Answers an infer request, and counts it as TensorFlow Serving counts Predict.
async fn infer(state: &ServerState, head: &Parts, (model, version): (&str, String), body: Incoming) -> Reply {
    let started = Instant::now();
    let metrics = state.metrics().model(model);
    let answer = infer::answer(state, head, (model, &version), body, &metrics).await;
    let (refused, reply) = match answer {
        Ok(reply) => (None, reply),
        Err(error) => {
            let (code, reply) = reply::request_error(error);
            (Some(code), reply)
        }
    };
    let elapsed = started.elapsed();
    metrics.record_request(Api::Predict, Protocol::Rest, refused, elapsed);
    state.count_for_version(refused, elapsed);
    reply
}

/// Answers a request that is not for inference.
async fn small(state: &ServerState, route: Route, head: &Parts, body: Incoming) -> Result<Reply, RequestError> {
    let bytes = if route.is_post() {
        let mut limits = state.settings().security.limits.clone();
        limits.body_bytes = limits.body_bytes.min(MAX_SMALL_BODY);
        let bytes = body::read(body, &limits).await.map_err(RequestError::Body)?;
        encoding::decode(&head.headers, bytes, &limits)?
    } else {
        body::drain(body).await;
        bytes::Bytes::new()
    };
    let _permit = state.concurrency_limit().try_acquire()?;
    let query = head.uri.query().unwrap_or_default();
    Ok(match route {
        Route::Server => pages::server(),
        Route::Model { model, version } => pages::model(state, &model, &version, query).await?,
        Route::ModelReady { model, version } => pages::model_ready(state, &model, &version)?,
        Route::Config { model, version } => pages::config(state, &model, &version, query).await?,
        Route::Statistics(model) => pages::statistics(state, model.as_ref())?,
        Route::Index => pages::index(state, &bytes)?,
        Route::Load(model) => pages::load(state, &model, &bytes).await?,
        Route::Unload(model) => return Err(v2::unload(state.models(), &model).into()),
        Route::SharedMemory => return Err(v2::no_shared_memory().into()),
        Route::Absent(what) => {
            return Err(Status::new(Code::Unimplemented, format!("{what} is not supported")).into());
        }
        Route::Infer { .. } | Route::Live | Route::Ready => {
            return Err(Status::new(Code::Internal, "the request was not routed").into());
        }
    })
}

impl Route {
    /// Whether requests of this route have a body.
    fn is_post(&self) -> bool {
        matches!(self, Self::Infer { .. } | Self::Index | Self::Load(_) | Self::Unload(_))
    }

    fn allows(&self, method: &Method) -> bool {
        match self {
            // Refused whatever the method is.
            Self::SharedMemory | Self::Absent(_) => true,
            _ if self.is_post() => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }
}
