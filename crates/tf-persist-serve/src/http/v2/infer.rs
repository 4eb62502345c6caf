//! Infer requests: from the body to the answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::body::Incoming;

use super::super::body;
use super::super::handlers::{RequestError, before_deadline, deadline};
use super::super::json::v2::{InferAnswer, InferBody, infer_request, infer_response, is_binary};
use super::super::reply::{self, Reply};
use super::encoding::Encoding;
use crate::metrics::{ModelMetrics, Phase};
use crate::models::{Servable, ServedSignature};
use crate::offload::{LongWait, OFFLOAD_BYTES, offload, offload_if};
use crate::state::ServerState;
use crate::status::Status;
use crate::v2::{self, InferRequest};

/// The length of the JSON before binary data.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// About how many bytes an element of an answer takes as text.
const ELEMENT_BYTES: usize = 8;

/// A body as received, with what its headers say of it.
struct RequestBody {
    bytes: Bytes,
    encoding: Option<Encoding>,
    /// The length of its JSON, if binary data follows it.
    json: Option<usize>,
}

/// A decoded request.
struct Decoded {
    /// Held so that the version stays loaded while it runs.
    servable: Arc<Servable>,
    served: Arc<ServedSignature>,
    body: InferBody,
}

/// Answers a request.
pub(super) async fn answer(
    state: &ServerState,
    head: &Parts,
    (model, version): (&str, &str),
    body: Incoming,
    metrics: &ModelMetrics,
) -> Result<Reply, RequestError> {
    let limits = &state.settings().security.limits;
    let bytes = body::read(body, limits).await.map_err(RequestError::Body)?;
    state.note_bytes(bytes.len());
    // Counted only once the body is complete, so slow senders hold no permit.
    let _permit = state.concurrency_limit().try_acquire()?;
    let encoding = Encoding::of_request(&head.headers)?;
    let body = RequestBody { bytes, encoding, json: json_length(&head.headers)? };
    let version = v2::version(version)?;

    let mut started = Instant::now();
    let server_deadline = deadline(state, started);
    let is_large = body.encoding.is_some() || body.bytes.len() > OFFLOAD_BYTES;
    // A request that takes long to decode takes long to run.
    let long = is_large.then(LongWait::begin);
    let version = state.choose_version(model, &version);
    let servable = state.models().find_loaded(model, &version, server_deadline).await?;
    state.note_version(&servable);
    let mut turn = None;
    let Decoded { servable, served, body } = if is_large {
        turn = before_deadline(server_deadline, servable.large_request_turn()).await?;
        metrics.record_phase(Phase::Queue, started.elapsed());
        started = Instant::now();
        let state = state.clone();
        offload(move || decode(&state, servable, body)).await?
    } else {
        decode(state, servable, body)?
    };
    metrics.record_phase(Phase::Decode, started.elapsed());

    let InferBody { id, parameters, request: InferRequest { inputs, outputs } } = body;
    let deadline = parameters.deadline(started, server_deadline);
    let request = InferRequest { inputs, outputs: outputs.clone() };
    let answer = before_deadline(deadline, v2::infer(&servable, &served, request, deadline)).await?;
    drop((turn, long));

    let ran = Instant::now();
    let accepted = Encoding::of_answer(&head.headers);
    let binary = parameters.binary_outputs;
    let work: usize = answer
        .iter()
        .map(|(name, tensor)| {
            let is_cheap = is_binary(&outputs, name, binary) && accepted.is_none();
            if is_cheap { tensor.memory() } else { tensor.memory().max(tensor.len().saturating_mul(ELEMENT_BYTES)) }
        })
        .sum();
    let encode = move || {
        let answer = InferAnswer {
            model: servable.name(),
            version: servable.version(),
            id: id.as_deref(),
            outputs: &answer,
            requested: &outputs,
            binary,
        };
        reply(&answer, accepted).map_err(RequestError::Status)
    };
    let (reply, length) = offload_if(work > OFFLOAD_BYTES, encode).await?;
    metrics.record_phase(Phase::Encode, ran.elapsed());
    state.note_bytes(length);
    Ok(reply)
}

/// Checks in this order: compression, model, JSON, tensors, signature.
fn decode(state: &ServerState, servable: Arc<Servable>, body: RequestBody) -> Result<Decoded, RequestError> {
    let limits = &state.settings().security.limits;
    let bytes = match body.encoding {
        Some(encoding) => encoding.inflate(&body.bytes, limits)?,
        None => body.bytes,
    };
    let (json, binary) = match body.json {
        None => (&bytes[..], &[][..]),
        Some(length) => bytes.split_at_checked(length).ok_or_else(|| {
            let reason = format!("{HEADER_LENGTH} is {length}, and the body has {} bytes", bytes.len());
            Status::invalid_argument(reason)
        })?,
    };
    let body = infer_request(json, binary, limits.tensors)?;
    let served = v2::signature(&servable, body.parameters.signature.as_deref())?.clone();
    Ok(Decoded { servable, served, body })
}

/// The length of the JSON, if binary data follows it.
fn json_length(headers: &HeaderMap) -> Result<Option<usize>, Status> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|value| value.trim().parse().ok());
    let invalid = || Status::invalid_argument(format!("{HEADER_LENGTH} must be a number of bytes"));
    length.map(Some).ok_or_else(invalid)
}

/// The reply, and the length of its body.
fn reply(answer: &InferAnswer<'_>, accepted: Option<Encoding>) -> Result<(Reply, usize), Status> {
    let (mut body, json) = infer_response(answer)?;
    let compressed = accepted.and_then(|encoding| Some((encoding, encoding.compress(&body)?)));
    let encoding = compressed.map(|(encoding, compressed)| {
        body = compressed;
        encoding
    });
    let length = body.len();
    let mut reply = reply::json(StatusCode::OK, body);
    let headers = reply.headers_mut();
    if let Some(json) = json {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(HEADER_LENGTH, HeaderValue::from(json));
    }
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    }
    Ok((reply, length))
}
