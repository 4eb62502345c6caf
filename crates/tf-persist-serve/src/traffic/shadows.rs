//! Shadows: versions that are asked the same requests, and whose answers are compared and dropped.
//!
//! A request never waits for them. It leaves a [`Job`] in a bounded queue when it is answered, and one thread of low
//! priority runs the jobs, past the queues and measures of the versions. A job shares the memory of its tensors with
//! the request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tf_persist_core::tensor::{Comparison, Tolerance};
use tf_persist_core::warmup::first_state_write;
use tf_persist_core::{Code, DType, Signature};

use crate::batching::{InferenceResponse, run_untimed};
use crate::metrics::{Metrics, ShadowOutcome};
use crate::models::{Models, Version};
use crate::priority::lower_priority;
use crate::request_log::{SignatureId, Tensors};
use crate::status::Status;

/// How much memory the tensors of waiting jobs may take, in bytes.
const MAX_BYTES: usize = 128 << 20;

/// How long the thread lets jobs gather. To wake it for each would cost the requests more than the job.
const GATHER: Duration = Duration::from_millis(5);

/// How many signatures are remembered.
const MAX_REFUSALS: usize = 1024;

/// How far an answer may be from that of the version that answered.
const TOLERANCE: Tolerance = Tolerance::Both { relative: 1e-5, absolute: 1e-6 };

/// The run of a signature for a request, and what was answered.
pub(super) struct Job {
    /// The version that answered. It is not kept loaded.
    pub(super) id: Arc<SignatureId>,
    /// The name of the signature.
    pub(super) signature: String,
    /// The versions to ask.
    pub(super) shadows: Vec<i64>,
    pub(super) inputs: Tensors,
    /// The names of the outputs; empty for all.
    pub(super) outputs: Vec<String>,
    pub(super) answer: InferenceResponse,
}

/// The queue between requests and the thread.
pub(super) struct Shadows {
    jobs: SyncSender<Box<Job>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The memory of the waiting jobs.
    bytes: AtomicUsize,
    is_stopped: AtomicBool,
}

/// The thread's part.
struct Worker {
    jobs: Receiver<Box<Job>>,
    shared: Arc<Shared>,
    models: Models,
    metrics: Metrics,
    /// Why signatures of versions are never asked, if so.
    refusals: Refusals,
}

/// By model, version and signature.
type Refusals = RefCell<HashMap<(String, i64, String), Option<String>>>;

impl Shadows {
    /// Starts the thread. It ends with the queue.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(length: usize, models: Models, metrics: Metrics) -> Result<Self, String> {
        let (sender, jobs) = sync_channel(length.max(1));
        let shared = Arc::new(Shared::default());
        let worker = Worker { jobs, shared: Arc::clone(&shared), models, metrics, refusals: Refusals::default() };
        let spawned = thread::Builder::new().name("shadows".into()).spawn(move || worker.work());
        spawned.map_err(|error| format!("the thread of the shadows cannot be started: {error}"))?;
        Ok(Self { jobs: sender, shared })
    }

    /// Leaves a job for the thread. Returns it if there is no room.
    pub(super) fn submit(&self, job: Box<Job>) -> Result<(), Box<Job>> {
        let bytes = job.memory();
        let before = self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused = if before == 0 || before.saturating_add(bytes) <= MAX_BYTES {
            self.jobs.try_send(job).map_err(|refused| match refused {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            })
        } else {
            Err(job)
        };
        if refused.is_err() {
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        refused
    }

    /// Drops the jobs that wait, without asking any more.
    pub(super) fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
    }
}

impl Worker {
    fn work(self) {
        lower_priority();
        while let Ok(job) = self.next() {
            let bytes = job.memory();
            if !self.shared.is_stopped.load(Ordering::Relaxed) {
                self.run(&job);
            }
            drop(job);
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn next(&self) -> Result<Box<Job>, RecvError> {
        match self.jobs.try_recv() {
            Ok(job) => Ok(job),
            Err(TryRecvError::Disconnected) => Err(RecvError),
            Err(TryRecvError::Empty) => {
                thread::sleep(GATHER);
                self.jobs.recv()
            }
        }
    }

    fn run(&self, job: &Job) {
        let (model, version, signature) = (&job.id.model, job.id.version, &job.signature);
        let metrics = self.metrics.version(model, version);
        for &shadow in &job.shadows {
            let (outcome, difference, why) = match self.ask(shadow, job) {
                Err(why) => (ShadowOutcome::Dropped, None, why),
                Ok(Err(error)) => (ShadowOutcome::Failed, None, error.to_string()),
                Ok(Ok(answer)) => {
                    let (difference, largest) = compare(&answer, &job.answer);
                    match difference {
                        None => (ShadowOutcome::Same, largest, String::new()),
                        Some(why) => (ShadowOutcome::Differs, largest, why),
                    }
                }
            };
            let before = metrics.record_shadow(shadow, outcome, difference);
            match outcome {
                ShadowOutcome::Failed if before == 0 => {
                    tracing::warn!(%model, version, shadow, signature, error = why, "a shadow failed for the first time");
                }
                ShadowOutcome::Differs if before == 0 => {
                    tracing::info!(%model, version, shadow, signature, why, "a shadow differs for the first time");
                }
                ShadowOutcome::Failed | ShadowOutcome::Differs => {
                    tracing::debug!(%model, version, shadow, signature, why, ?outcome, "a shadow");
                }
                ShadowOutcome::Same | ShadowOutcome::Dropped => {}
            }
        }
    }

    /// The answer of a shadow, or why it is not asked.
    fn ask(&self, shadow: i64, job: &Job) -> Result<Result<InferenceResponse, Status>, String> {
        let found = self.models.find(&job.id.model, &Version::Number(shadow));
        let servable = found.map_err(|_| "it was unloaded".to_owned())?;
        let name = &job.signature;
        let absent = || Status::new(Code::NotFound, format!("it has no signature `{name}`"));
        let served = match servable.signature(name, absent) {
            Ok(served) => served,
            Err(status) => return Ok(Err(status)),
        };
        match self.refusal(shadow, job, &served.signature) {
            Some(why) => Err(why),
            None => Ok(run_untimed(&served.signature, &job.inputs, &job.outputs)),
        }
    }

    /// Why a signature is never asked: it would change the shadow, which would no longer be the version that was
    /// published.
    fn refusal(&self, shadow: i64, job: &Job, signature: &Signature) -> Option<String> {
        let key = (job.id.model.clone(), shadow, job.signature.clone());
        let mut refusals = self.refusals.borrow_mut();
        if refusals.len() >= MAX_REFUSALS {
            refusals.clear();
        }
        let find = || {
            let loaded = signature.model();
            let write = first_state_write(loaded.saved_model(), loaded.meta_graph(), signature.definition());
            let (op, node) = write?;
            let why = format!("its signature writes to the state of the model: {op} (`{node}`)");
            tracing::warn!(model = job.id.model, shadow, signature = job.signature, why, "a shadow is not asked");
            Some(why)
        };
        refusals.entry(key).or_insert_with(find).clone()
    }
}

impl Job {
    /// About how much memory it holds, in bytes.
    fn memory(&self) -> usize {
        /// Names, and what the allocator adds.
        const OVERHEAD: usize = 1024;
        let tensors = self.inputs.iter().chain(&self.answer);
        OVERHEAD + tensors.map(|(_, tensor)| tensor.memory()).sum::<usize>()
    }
}

/// How an answer differs from the expected one by more than the tolerance, if it does; and the largest absolute
/// difference of a floating-point number, if any were compared. It is infinite where an answer differs in more than
/// such numbers: by NaN, shape, dtype, names, integers or texts.
pub(super) fn compare(found: &InferenceResponse, expected: &InferenceResponse) -> (Option<String>, Option<f64>) {
    let (mut why, mut largest) = (None, None);
    if let Some((name, _)) = found.iter().find(|(name, _)| expected.iter().all(|(other, _)| other != name)) {
        why = Some(format!("it has the output `{name}` as well"));
        largest = Some(f64::INFINITY);
    }
    for (name, expected) in expected {
        let Some((_, found)) = found.iter().find(|(other, _)| other == name) else {
            why = why.or_else(|| Some(format!("it has no output `{name}`")));
            largest = Some(f64::INFINITY);
            continue;
        };
        let compared = match Comparison::compare(found, expected, TOLERANCE) {
            Ok(Some(compared)) => compared,
            Ok(None) => {
                let of = |tensor: &tf_persist_core::Tensor| format!("{} {:?}", tensor.dtype(), tensor.shape());
                why = why.or_else(|| Some(format!("`{name}` is {}, not {}", of(found), of(expected))));
                largest = Some(f64::INFINITY);
                continue;
            }
            Err(error) => {
                why = why.or_else(|| Some(format!("`{name}`: {error}")));
                largest = Some(f64::INFINITY);
                continue;
            }
        };
        let difference: Option<f64> = match is_float(expected.dtype()) {
            true if compared.not_finite > 0 => Some(f64::INFINITY),
            true => Some(compared.largest_absolute.unwrap_or(0.0)),
            false => (!compared.is_within()).then_some(f64::INFINITY),
        };
        largest = largest.into_iter().chain(difference).reduce(f64::max);
        if !compared.is_within() {
            why = why.or_else(|| Some(format!("`{name}` {compared}")));
        }
    }
    (why, largest)
}

fn is_float(dtype: DType) -> bool {
    matches!(
        dtype,
        DType::Float16 | DType::BFloat16 | DType::Float32 | DType::Float64 | DType::Complex64 | DType::Complex128
    )
}
