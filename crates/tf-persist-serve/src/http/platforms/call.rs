//! Runs a request of TensorFlow Serving's REST API that was made from one of a platform.

use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;

use super::super::body;
use super::super::handlers::{self, RequestBody, RequestError};
use super::super::reply::{self, Reply};
use super::super::routes::Route;
use crate::api::Protocol;
use crate::metrics::ModelMetrics;
use crate::offload::{OFFLOAD_BYTES, offload_if};
use crate::state::ServerState;
use crate::status::Status;

/// Reads the body of a request, translates it, and runs it. Returns the answer of TensorFlow Serving's REST API, or the
/// response of an error.
pub(super) async fn run(
    state: &ServerState,
    head: &Parts,
    route: &Route,
    body: Incoming,
    translate: impl FnOnce(Bytes) -> Result<Bytes, Status> + Send + 'static,
) -> Result<Vec<u8>, Reply> {
    let started = Instant::now();
    let metrics = state.metrics().model(&route.model);
    let answered = translated(state, head, route, body, &metrics, translate).await;
    let (refused, answer) = match answered {
        Ok(answer) => (None, Ok(answer)),
        Err(error) => {
            let (code, reply) = reply::request_error(error);
            (Some(code), Err(reply))
        }
    };
    let elapsed = started.elapsed();
    metrics.record_request(route.api, Protocol::Rest, refused, elapsed);
    state.count_for_version(refused, elapsed);
    answer
}

async fn translated(
    state: &ServerState,
    head: &Parts,
    route: &Route,
    body: Incoming,
    metrics: &ModelMetrics,
    translate: impl FnOnce(Bytes) -> Result<Bytes, Status> + Send + 'static,
) -> Result<Vec<u8>, RequestError> {
    let bytes = body::read(body, &state.settings().security.limits).await.map_err(RequestError::Body)?;
    state.note_bytes(bytes.len());
    let _permit = state.concurrency_limit().try_acquire()?;
    let body = RequestBody { bytes, gzip: body::is_gzip(&head.headers) };
    let is_large = body.gzip || body.bytes.len() > OFFLOAD_BYTES;
    let translating = {
        let state = state.clone();
        move || translate(body.into_bytes(&state)?).map_err(RequestError::Status)
    };
    let bytes = offload_if(is_large, translating).await?;
    let answer = handlers::handle(state, route, RequestBody { bytes, gzip: false }, metrics).await?;
    state.note_bytes(answer.len());
    Ok(answer)
}
