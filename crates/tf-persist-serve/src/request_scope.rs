//! What accompanies a request from its head to its response, where requests are observed: its records for the request
//! log, and the version that answers where traffic is split between versions.
//!
//! The scope is a task-local value, so that inference finds it whatever the protocol. Warm-up has none, and a server
//! that observes nothing makes none.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method};
use tf_persist_core::Code;

use crate::api::Protocol;
use crate::batching::InferenceRequest;
use crate::metrics::VersionMetrics;
use crate::models::ServedSignature;
use crate::request_log::{CallInfo, Record, RequestLog};
use crate::status::Status;
use crate::traces::{RequestHead, RequestTrace, RequestTracer, TracedModel, TracedPhase, TracedRequest};
use crate::traffic::{Shadowed, Traffic};

/// The header in which clients and proxies name a request.
const ID_HEADER: &str = "x-request-id";

/// The longest such name, in bytes.
const MAX_ID_BYTES: usize = 256;

/// The largest number of phases in a trace. A request for several signatures has a few for each.
const MAX_PHASES: usize = 256;

tokio::task_local! {
    static CURRENT: Arc<RequestScope>;
}

/// What accompanies a request.
pub(crate) struct RequestScope {
    log: RequestLog,
    traffic: Option<Traffic>,
    started: Instant,
    is_traced: bool,
    state: Mutex<State>,
}

struct State {
    call: CallInfo,
    records: Vec<Record>,
    trace: Option<Box<dyn RequestTrace>>,
    traced: TracedRequest,
    /// The version that answers, and its metrics.
    version: Option<(i64, Arc<VersionMetrics>)>,
}

impl RequestScope {
    /// The scope of a request that has just arrived; `None` if nothing observes requests.
    pub(crate) fn begin(
        log: &RequestLog,
        tracer: Option<&dyn RequestTracer>,
        traffic: Option<&Traffic>,
        protocol: Protocol,
        (method, path, headers): (&Method, &str, &HeaderMap),
    ) -> Option<Arc<Self>> {
        if !log.is_on() && tracer.is_none() && traffic.is_none() {
            return None;
        }
        let (time, started) = (SystemTime::now(), Instant::now());
        let path = path.split('?').next().unwrap_or_default();
        let head = RequestHead::new(protocol == Protocol::Grpc, method.as_str(), path, headers, time);
        let trace = tracer.and_then(|tracer| tracer.begin(head));
        let id = headers.get(ID_HEADER).and_then(|id| id.to_str().ok()).filter(|id| id.len() <= MAX_ID_BYTES);
        let call = CallInfo { time, latency: Duration::ZERO, protocol, id: id.map(str::to_owned) };
        let is_traced = trace.is_some();
        let state = State { call, records: Vec::new(), trace, traced: TracedRequest::default(), version: None };
        let (log, traffic, state) = (log.clone(), traffic.cloned(), Mutex::new(state));
        Some(Arc::new(Self { log, traffic, started, is_traced, state }))
    }

    /// The scope of the request that this task answers.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Adds a phase that has just ended to the trace of the request that this task answers.
    pub(crate) fn note_phase(name: &'static str, elapsed: Duration) {
        // Does nothing without a scope.
        let _ = CURRENT.try_with(|scope| scope.add_phase(name, elapsed));
    }

    /// Answers the request.
    pub(crate) async fn run<F: Future>(self: Arc<Self>, answer: F) -> F::Output {
        CURRENT.scope(self, answer).await
    }

    /// Does a part of the request in another thread.
    pub(crate) fn enter<T>(self: Arc<Self>, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }

    pub(crate) fn log(&self) -> &RequestLog {
        &self.log
    }

    /// When and how the request came.
    pub(crate) fn call(&self) -> CallInfo {
        self.state().call.clone()
    }

    /// Notes the model that answers.
    pub(crate) fn set_model(&self, name: &str, version: i64, signature: &str) {
        if self.is_traced {
            self.state().traced.model = Some(TracedModel::new(name, version, signature));
        }
    }

    /// Notes the version that answers, where requests are counted by version.
    pub(crate) fn set_version(&self, model: &str, version: i64) {
        if let Some(traffic) = &self.traffic {
            self.state().version = Some((version, traffic.version_metrics(model, version)));
        }
    }

    /// The version that answers, if it was noted.
    pub(crate) fn version(&self) -> Option<i64> {
        self.state().version.as_ref().map(|(version, _)| *version)
    }

    /// Counts the request for the version that answered.
    pub(crate) fn count_for_version(&self, refused: Option<Code>, elapsed: Duration) {
        let metrics = self.state().version.as_ref().map(|(_, metrics)| Arc::clone(metrics));
        if let Some(metrics) = metrics {
            metrics.record_request(refused, elapsed);
        }
    }

    /// Keeps the inputs of a run for the shadows of its version, if there are any.
    pub(crate) fn shadow(&self, served: &ServedSignature, request: &InferenceRequest) -> Option<Shadowed> {
        self.traffic.as_ref()?.shadow(served, request)
    }

    /// Adds a record, which is logged once the response is encoded.
    pub(crate) fn add_record(&self, record: Record) {
        self.state().records.push(record);
    }

    /// Notes that the request that this task answers failed after its signature ran.
    pub(crate) fn note_failure(status: &Status) {
        // Does nothing without a scope.
        let _ = CURRENT.try_with(|scope| scope.state().records.iter_mut().for_each(|record| record.fail(status)));
    }

    /// Adds a phase that has just ended to the trace.
    pub(crate) fn add_phase(&self, name: &'static str, elapsed: Duration) {
        if !self.is_traced {
            return;
        }
        let end = SystemTime::now();
        let start = end.checked_sub(elapsed).unwrap_or(end);
        let mut state = self.state();
        if state.traced.phases.len() < MAX_PHASES {
            state.traced.phases.push(TracedPhase::new(name, start, end));
        }
    }

    /// Hands over the records and the trace. `status` is that of HTTP, or over gRPC the number of its own.
    pub(crate) fn finish(&self, status: u16) {
        let (records, trace, mut traced) = {
            let mut state = self.state();
            let failure = failure(state.call.protocol, status);
            if let Some(failure) = failure {
                state.records.iter_mut().for_each(|record| record.fail(&failure));
            }
            (std::mem::take(&mut state.records), state.trace.take(), std::mem::take(&mut state.traced))
        };
        let latency = self.started.elapsed();
        for record in records {
            self.log.submit(record.with_latency(latency));
        }
        if let Some(trace) = trace {
            traced.status = Some(status);
            trace.end(traced);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a request whose reply has this status, if it failed. It is for records that were answered: only what
/// came later, such as the encoding of the answer, can have failed then.
fn failure(protocol: Protocol, status: u16) -> Option<Status> {
    let code = match (protocol, status) {
        (Protocol::Grpc, number) => Code::from_number(number.into())?,
        (Protocol::Rest, ..400) => return None,
        (Protocol::Rest, 404) => Code::NotFound,
        (Protocol::Rest, 413 | 429) => Code::ResourceExhausted,
        (Protocol::Rest, 499) => Code::Cancelled,
        (Protocol::Rest, ..=499) => Code::InvalidArgument,
        (Protocol::Rest, 501) => Code::Unimplemented,
        (Protocol::Rest, 503) => Code::Unavailable,
        (Protocol::Rest, 504) => Code::DeadlineExceeded,
        (Protocol::Rest, _) => Code::Internal,
    };
    Some(Status::new(code, "the model answered, but its answer could not be sent"))
}

impl Drop for RequestScope {
    /// Ends the trace of a request that was given up.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(trace) = state.trace.take() {
            trace.end(std::mem::take(&mut state.traced));
        }
    }
}
