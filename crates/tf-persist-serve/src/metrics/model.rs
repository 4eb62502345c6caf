//! The metrics of one model.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tf_persist_core::Code;

use super::buckets::{EXAMPLES, LATENCY, PHASE};
use super::histogram::Histogram;
use super::{Phase, nanos};
use crate::api::{Api, Protocol};
use crate::request_scope::RequestScope;

/// The number of status codes, including 0 for success.
pub(super) const CODES: u32 = 17;
/// The number of API methods.
const APIS: usize = 7;
/// The number of phases of a request.
const PHASES: usize = 4;
/// The number of reasons why a record of the request log is lost.
const LOG_LOSSES: usize = 3;

/// Why a record of the request log is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LogLoss {
    /// Too many records waited.
    Queue,
    /// The file could not be written.
    Disk,
    /// It was larger than a record may be.
    Size,
}

/// The metrics of one model.
pub struct ModelMetrics {
    /// Requests by the number of their status code.
    pub(super) requests: [AtomicU64; CODES as usize],
    /// The requests for inference that succeeded.
    succeeded: Tally,
    /// Those that failed.
    failed: Tally,
    /// The latency of successful requests, by protocol and method, in nanoseconds.
    pub(super) latencies: [[Histogram; APIS]; 2],
    /// The latency of runs as requests see it, by method, in nanoseconds.
    pub(super) runtimes: [Histogram; APIS],
    /// The phases of requests, in nanoseconds.
    pub(super) phases: [Histogram; PHASES],
    /// The numbers of examples of requests.
    pub(super) examples: Histogram,
    /// The records that were written to the request log.
    pub(super) logged: AtomicU64,
    /// Those that were lost, by reason.
    pub(super) log_losses: [AtomicU64; LOG_LOSSES],
}

/// Counts events and adds up their durations, in nanoseconds.
#[derive(Default)]
struct Tally {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Tally {
    fn add(&self, elapsed: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos(elapsed), Ordering::Relaxed);
    }

    fn total(&self) -> Total {
        Total { count: self.count.load(Ordering::Relaxed), nanos: self.nanos.load(Ordering::Relaxed) }
    }
}

/// The number of events and their duration together, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) count: u64,
    pub(crate) nanos: u64,
}

/// The counts and times of a model's requests for inference, by whatever method and protocol.
#[derive(Debug)]
pub(crate) struct RequestStatistics {
    pub(crate) succeeded: Total,
    pub(crate) failed: Total,
    pub(crate) queue: Total,
    pub(crate) decode: Total,
    pub(crate) run: Total,
    pub(crate) encode: Total,
}

impl fmt::Debug for ModelMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelMetrics").finish_non_exhaustive()
    }
}

impl ModelMetrics {
    pub(super) fn new() -> Self {
        let latency = || Histogram::new(&LATENCY.limits);
        Self {
            requests: std::array::from_fn(|_| AtomicU64::new(0)),
            succeeded: Tally::default(),
            failed: Tally::default(),
            latencies: std::array::from_fn(|_| std::array::from_fn(|_| latency())),
            runtimes: std::array::from_fn(|_| latency()),
            phases: std::array::from_fn(|_| Histogram::new(&PHASE.limits)),
            examples: Histogram::new(&EXAMPLES.limits),
            logged: AtomicU64::new(0),
            log_losses: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Records a request that succeeded, or failed with this code.
    pub fn record_request(&self, api: Api, protocol: Protocol, refused: Option<Code>, elapsed: Duration) {
        self.requests[code_index(refused)].fetch_add(1, Ordering::Relaxed);
        if refused.is_none() {
            self.latencies[protocol as usize][api.slot(protocol)].add(nanos(elapsed));
        }
        if api.is_inference() {
            self.record_inference(refused, elapsed);
        }
    }

    /// Records a request for inference in Triton's statistics alone: TensorFlow Serving's metrics do not count
    /// MultiInference.
    pub(crate) fn record_inference(&self, refused: Option<Code>, elapsed: Duration) {
        if refused.is_none() { &self.succeeded } else { &self.failed }.add(elapsed);
    }

    /// Records a request with a malformed URL: only the code is counted.
    pub(crate) fn record_malformed(&self, code: Code) {
        self.requests[code_index(Some(code))].fetch_add(1, Ordering::Relaxed);
    }

    /// Records how long the run of a request took, including its time in the queue: TensorFlow Serving's
    /// `runtime_latency`.
    pub fn record_runtime(&self, api: Api, elapsed: Duration) {
        self.runtimes[api as usize].add(nanos(elapsed));
    }

    /// Records how long a phase took of the request that this task answers.
    pub fn record_phase(&self, phase: Phase, elapsed: Duration) {
        self.phases[phase as usize].add(nanos(elapsed));
        RequestScope::note_phase(phase.label(), elapsed);
    }

    /// The same for requests of other tasks.
    pub(crate) fn record_phase_of<'s>(
        &self,
        scopes: impl Iterator<Item = &'s Arc<RequestScope>>,
        phase: Phase,
        elapsed: Duration,
    ) {
        self.phases[phase as usize].add(nanos(elapsed));
        scopes.for_each(|scope| scope.add_phase(phase.label(), elapsed));
    }

    /// Records the number of examples of a MultiInference request. TensorFlow Serving counts those of no others
    /// (`servables/tensorflow/multi_inference.cc`).
    pub fn record_examples(&self, count: usize) {
        self.examples.add(count as u64);
    }

    /// Records that this many records were written to the request log.
    pub(crate) fn record_logged(&self, count: u64) {
        self.logged.fetch_add(count, Ordering::Relaxed);
    }

    /// Records that this many records of the request log were lost.
    pub(crate) fn record_log_loss(&self, loss: LogLoss, count: u64) {
        self.log_losses[loss as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// The counts and times of requests for inference and of their phases.
    pub(crate) fn statistics(&self) -> RequestStatistics {
        let phase = |phase: Phase| {
            let found = self.phases[phase as usize].snapshot();
            Total { count: found.count(), nanos: found.sum }
        };
        RequestStatistics {
            succeeded: self.succeeded.total(),
            failed: self.failed.total(),
            queue: phase(Phase::Queue),
            decode: phase(Phase::Decode),
            run: phase(Phase::Run),
            encode: phase(Phase::Encode),
        }
    }

    /// The number of requests, successful or not.
    pub(super) fn all_requests(&self) -> u64 {
        self.requests.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// The number of a status code; 0 for success.
pub(super) fn code_index(refused: Option<Code>) -> usize {
    refused.map_or(0, |code| code.number() as usize)
}

/// The name of a status code by its number.
pub(super) fn code_name(number: usize) -> &'static str {
    Code::from_number(number as u32).map_or("OK", Code::name)
}

impl Api {
    pub(super) const ALL: [Self; APIS] = [
        Self::Predict,
        Self::Classify,
        Self::Regress,
        Self::MultiInference,
        Self::GetModelMetadata,
        Self::GetModelStatus,
        Self::ReloadConfig,
    ];

    /// The name in TensorFlow Serving's metrics. Over REST it is that of the URL, and status and metadata have none.
    pub(super) fn label(self, protocol: Protocol) -> &'static str {
        match (protocol, self) {
            (Protocol::Rest, Self::Predict) => "predict",
            (Protocol::Rest, Self::Classify) => "classify",
            (Protocol::Rest, Self::Regress) => "regress",
            (Protocol::Rest, _) => "",
            (Protocol::Grpc, Self::Predict) => "Predict",
            (Protocol::Grpc, Self::Classify) => "Classify",
            (Protocol::Grpc, Self::Regress) => "Regress",
            (Protocol::Grpc, Self::MultiInference) => "MultiInference",
            (Protocol::Grpc, Self::GetModelMetadata) => "GetModelMetadata",
            (Protocol::Grpc, Self::GetModelStatus) => "GetModelStatus",
            (Protocol::Grpc, Self::ReloadConfig) => "ReloadConfig",
        }
    }

    /// Whether its requests run the model.
    fn is_inference(self) -> bool {
        matches!(self, Self::Predict | Self::Classify | Self::Regress | Self::MultiInference)
    }

    /// The index of its histograms. The methods without a name over REST share one.
    pub(super) fn slot(self, protocol: Protocol) -> usize {
        let shared = protocol == Protocol::Rest && self.label(protocol).is_empty();
        (if shared { Self::GetModelStatus } else { self }) as usize
    }
}

impl Protocol {
    pub(super) const ALL: [Self; 2] = [Self::Rest, Self::Grpc];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::Grpc => "GRPC",
        }
    }
}

impl LogLoss {
    pub(super) const ALL: [Self; LOG_LOSSES] = [Self::Queue, Self::Disk, Self::Size];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Disk => "disk",
            Self::Size => "size",
        }
    }
}

impl Phase {
    pub(super) const ALL: [Self; PHASES] = [Self::Queue, Self::Decode, Self::Run, Self::Encode];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Decode => "decode",
            Self::Run => "run",
            Self::Encode => "encode",
        }
    }
}
