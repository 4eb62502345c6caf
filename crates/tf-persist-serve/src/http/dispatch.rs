//! From a request to its response: methods, keys, paths, limits, error codes.

use std::time::Instant;

use bytes::Bytes;
use http::header::ORIGIN;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use super::body;
use super::handlers::{self, RequestBody, RequestError};
use super::reply::{self, Reply};
use super::{pages, platforms, routes, v2};
use crate::api::{Api, Protocol};
use crate::catch_panic::catch_panic;
use crate::metrics::ModelMetrics;
use crate::state::ServerState;
use crate::status::Status;

/// Answers a request, even if answering it panics.
pub(super) async fn respond(state: &ServerState, request: Request<Incoming>) -> Reply {
    let scope = state.request_scope(Protocol::Rest, &request);
    let is_v2 = v2::is_v2_path(request.uri().path());
    let reply = match scope.clone() {
        None => catch_panic(route_request(state, request)).await,
        Some(scope) => scope.run(catch_panic(route_request(state, request))).await,
    };
    let mut reply = reply.unwrap_or_else(|error| reply::error(&error));
    if let Some(scope) = scope {
        reply::name_version(&mut reply, scope.version());
        scope.finish(reply.status().as_u16());
    }
    if state.settings().http.cors {
        reply::allow_origins(&mut reply, is_v2);
    }
    reply
}

async fn route_request(state: &ServerState, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    // The methods that libevent knows, TensorFlow Serving's HTTP server.
    let is_known = matches!(head.method.as_str(), "GET" | "POST" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "PATCH");
    if !is_known {
        return reply::closing(reply::html_page(StatusCode::NOT_IMPLEMENTED));
    }
    if v2::is_v2_path(path) && !pages::is_metrics(state, path) {
        if head.method == Method::OPTIONS {
            body::drain(body).await;
            return preflight(&head);
        }
        return v2::respond(state, &head, path, body).await;
    }
    if let Some(route) = platforms::find(state, &head) {
        // On the heap: other requests need not carry its size along.
        return Box::pin(platforms::answer(state, route, &head, body)).await;
    }
    if !routes::is_api_path(path) || pages::is_metrics(state, path) {
        body::drain(body).await;
        if let Some(reply) = pages::find_public(state, &head.method, path) {
            return reply;
        }
        return match state.api_keys().check(&head.headers) {
            Ok(()) => pages::find(state, &head.method, path).unwrap_or_else(|| reply::html_page(StatusCode::NOT_FOUND)),
            Err(status) => reply::error(&status),
        };
    }
    if head.method == Method::OPTIONS {
        body::drain(body).await;
        return preflight(&head);
    }
    if let Err(status) = state.api_keys().check(&head.headers) {
        body::drain(body).await;
        return reply::error(&status);
    }
    call_api(state, &head, path, body).await
}

/// Answers a CORS preflight request, whether or not CORS is enabled, as TensorFlow Serving does.
fn preflight(head: &Parts) -> Reply {
    let origin = head.headers.get(ORIGIN).map(|value| value.as_bytes()).unwrap_or_default();
    let is_there = |scheme: &[u8]| origin.windows(scheme.len()).any(|found| found == scheme);
    if is_there(b"http://") || is_there(b"https://") {
        let mut reply = Reply::default();
        *reply.status_mut() = StatusCode::OK;
        return reply;
    }
    reply::error(&Status::failed_precondition("Origin header is missing in CORS preflight"))
}

/// Answers a request below `/v1/`, and counts it.
async fn call_api(state: &ServerState, head: &Parts, path: &str, body: Incoming) -> Reply {
    let started = Instant::now();
    let route = match routes::parse(&head.method, path) {
        Ok(route) => route,
        Err(malformed) => {
            body::drain(body).await;
            state.metrics().model(&malformed.model).record_malformed(malformed.status.code);
            return reply::error(&malformed.status);
        }
    };
    let metrics = state.metrics().model(&route.model);
    let error = match handle(state, head, &route, body, &metrics).await {
        Ok(answer) => {
            let elapsed = started.elapsed();
            metrics.record_request(route.api, Protocol::Rest, None, elapsed);
            state.count_for_version(None, elapsed);
            return reply::json(StatusCode::OK, answer);
        }
        Err(error) => error,
    };
    let (code, reply) = reply::request_error(error);
    let elapsed = started.elapsed();
    metrics.record_request(route.api, Protocol::Rest, Some(code), elapsed);
    state.count_for_version(Some(code), elapsed);
    reply
}

async fn handle(
    state: &ServerState,
    head: &Parts,
    route: &routes::Route,
    body: Incoming,
    metrics: &ModelMetrics,
) -> Result<Vec<u8>, RequestError> {
    let limits = &state.settings().security.limits;
    let bytes = if matches!(route.api, Api::Predict | Api::Classify | Api::Regress) {
        body::read(body, limits).await.map_err(RequestError::Body)?
    } else {
        body::drain(body).await;
        Bytes::new()
    };
    state.note_bytes(bytes.len());
    // Counted only once the body is complete, so slow senders hold no permit.
    let _permit = state.concurrency_limit().try_acquire()?;
    let request_body = RequestBody { bytes, gzip: body::is_gzip(&head.headers) };
    let answer = handlers::handle(state, route, request_body, metrics).await?;
    state.note_bytes(answer.len());
    Ok(answer)
}
