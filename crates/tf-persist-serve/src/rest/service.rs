//! From a request to its reply.

use std::time::Instant;

use bytes::Bytes;
use http::header::ORIGIN;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tf_persist_core::Code;

use super::body::{self, NoBody};
use super::handlers::{self, Refused, Sent};
use super::reply::{self, Reply};
use super::{pages, url};
use crate::catch_panic::catch_panic;
use crate::metrics::{Api, OfModel, Protocol};
use crate::offload::internal_error;
use crate::state::ServerState;
use crate::status::Status;

/// Answers a request, whatever happens on the way.
pub(super) async fn answer(state: &ServerState, request: Request<Incoming>) -> Reply {
    let mut reply = catch_panic(dispatch(state, request)).await.unwrap_or_else(|()| reply::refusal(&internal_error()));
    if state.settings().rest.cors {
        reply::allow_origins(&mut reply);
    }
    reply
}

async fn dispatch(state: &ServerState, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    // libevent, which TensorFlow Serving's server is, knows these methods.
    let is_known = matches!(head.method.as_str(), "GET" | "POST" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "PATCH");
    if !is_known {
        return reply::last(reply::page(StatusCode::NOT_IMPLEMENTED));
    }
    if !url::is_ours(path) || pages::is_metrics(state, path) {
        body::discard(body).await;
        if let Some(reply) = pages::open(state, &head.method, path) {
            return reply;
        }
        return match state.api_keys().check(&head.headers) {
            Ok(()) => pages::find(state, &head.method, path).unwrap_or_else(|| reply::page(StatusCode::NOT_FOUND)),
            Err(status) => reply::refusal(&status),
        };
    }
    if head.method == Method::OPTIONS {
        body::discard(body).await;
        return preflight(&head);
    }
    if let Err(status) = state.api_keys().check(&head.headers) {
        body::discard(body).await;
        return reply::refusal(&status);
    }
    api(state, &head, path, body).await
}

/// What a browser asks before it asks, whether or not pages of other origins may read the answer.
fn preflight(head: &Parts) -> Reply {
    let origin = head.headers.get(ORIGIN).map(|value| value.as_bytes()).unwrap_or_default();
    let is_there = |scheme: &[u8]| origin.windows(scheme.len()).any(|found| found == scheme);
    if is_there(b"http://") || is_there(b"https://") {
        let mut reply = Reply::default();
        *reply.status_mut() = StatusCode::OK;
        return reply;
    }
    reply::refusal(&Status::failed_precondition("Origin header is missing in CORS preflight"))
}

/// What is below `/v1/`.
async fn api(state: &ServerState, head: &Parts, path: &str, body: Incoming) -> Reply {
    let started = Instant::now();
    let route = match url::parse(&head.method, path) {
        Ok(route) => route,
        Err(malformed) => {
            body::discard(body).await;
            state.metrics().of(&malformed.model).malformed(malformed.status.code);
            return reply::refusal(&malformed.status);
        }
    };
    let measures = state.metrics().of(&route.model);
    let refused = match asked(state, head, &route, body, &measures).await {
        Ok(answer) => {
            measures.request(route.api, Protocol::Rest, None, started.elapsed());
            return reply::json(StatusCode::OK, answer);
        }
        Err(refused) => refused,
    };
    let (code, reply) = match refused {
        Refused::Status(status) => (status.code, reply::refusal(&status)),
        Refused::Body(NoBody::TooLong(limit)) => {
            let message = format!("The request body is longer than {limit} bytes");
            (Code::ResourceExhausted, reply::last(reply::refusal_as(StatusCode::PAYLOAD_TOO_LARGE, &message)))
        }
        Refused::Body(NoBody::TooSlow) => {
            let message = "The request body did not come in time";
            (Code::DeadlineExceeded, reply::last(reply::refusal_as(StatusCode::REQUEST_TIMEOUT, message)))
        }
        Refused::Body(NoBody::Broken) => {
            let message = "The request body is broken";
            (Code::InvalidArgument, reply::last(reply::refusal_as(StatusCode::BAD_REQUEST, message)))
        }
    };
    measures.request(route.api, Protocol::Rest, Some(code), started.elapsed());
    reply
}

async fn asked(
    state: &ServerState,
    head: &Parts,
    route: &url::Route,
    body: Incoming,
    measures: &OfModel,
) -> Result<Vec<u8>, Refused> {
    let limits = &state.settings().guard.limits;
    let bytes = if matches!(route.api, Api::Predict | Api::Classify | Api::Regress) {
        body::read(body, limits).await.map_err(Refused::Body)?
    } else {
        body::discard(body).await;
        Bytes::new()
    };
    state.note_bytes(bytes.len());
    // It is let in when it is whole: clients that send slowly shut nobody out.
    let _permit = state.concurrency_limit().enter()?;
    let sent = Sent { bytes, gzip: body::is_gzip(&head.headers) };
    let answer = handlers::answer(state, route, sent, measures).await?;
    state.note_bytes(answer.len());
    Ok(answer)
}
