//! Traces of requests, for a program that exports them: the server measures, and knows no protocol of traces.

use std::fmt::Debug;
use std::time::SystemTime;

use http::HeaderMap;

/// Begins traces of requests.
pub trait RequestTracer: Debug + Send + Sync {
    /// The trace of a request whose head has arrived; `None` if it is not sampled. The headers, over gRPC the metadata,
    /// may name the trace that it belongs to.
    fn begin(&self, head: RequestHead<'_>) -> Option<Box<dyn RequestTrace>>;
}

/// The head of a request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestHead<'a> {
    /// Whether it came to the gRPC interface.
    pub is_grpc: bool,
    /// The HTTP method.
    pub method: &'a str,
    /// The path, without what follows a `?`.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// When it arrived.
    pub time: SystemTime,
}

impl<'a> RequestHead<'a> {
    /// The head of a request.
    #[must_use]
    pub fn new(is_grpc: bool, method: &'a str, path: &'a str, headers: &'a HeaderMap, time: SystemTime) -> Self {
        Self { is_grpc, method, path, headers, time }
    }
}

/// The trace of one request, until its response.
pub trait RequestTrace: Send + Sync {
    /// Ends it. Also called if the request was given up, without a status.
    fn end(self: Box<Self>, request: TracedRequest);
}

/// What happened to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TracedRequest {
    /// The model that it named, once found.
    pub model: Option<TracedModel>,
    /// The status code of HTTP, or over gRPC the number of its own.
    pub status: Option<u16>,
    /// Its parts, in the order in which they ended.
    pub phases: Vec<TracedPhase>,
}

/// The model that answered a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TracedModel {
    /// Its name.
    pub name: String,
    /// The number of its version.
    pub version: i64,
    /// The signature.
    pub signature: String,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TracedPhase {
    /// `queue`, `decode`, `run` or `encode`.
    pub name: &'static str,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
}

impl TracedModel {
    pub(crate) fn new(name: &str, version: i64, signature: &str) -> Self {
        Self { name: name.to_owned(), version, signature: signature.to_owned() }
    }
}

impl TracedPhase {
    pub(crate) fn new(name: &'static str, start: SystemTime, end: SystemTime) -> Self {
        Self { name, start, end }
    }
}
