//! Shadows: versions that are asked the same requests, and whose answers are compared and dropped.
//!
//! A request never waits for them. It leaves a [`Job`] in a bounded queue when it is answered, and one thread of low
//! priority runs the jobs, past the queues and measures of the versions. A job shares the memory of its tensors with
//! the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tf_persist_core::tensor::{Comparison, Tolerance};
use tf_persist_core::{Code, DType};

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
}

impl Shadows {
    /// Starts the thread. It ends with the queue.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(length: usize, models: Models, metrics: Metrics) -> Result<Self, String> {
        let (sender, jobs) = sync_channel(length.max(1));
        let shared = Arc::new(Shared::default());
        let worker = Worker { jobs, shared: Arc::clone(&shared), models, metrics };
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
                None => (ShadowOutcome::Dropped, None, "it was unloaded".to_owned()),
                Some(Err(error)) => (ShadowOutcome::Failed, None, error.to_string()),
                Some(Ok(answer)) => {
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

    /// The answer of a shadow; `None` if it was unloaded.
    fn ask(&self, shadow: i64, job: &Job) -> Option<Result<InferenceResponse, Status>> {
        let servable = self.models.find(&job.id.model, &Version::Number(shadow)).ok()?;
        let name = &job.signature;
        let absent = || Status::new(Code::NotFound, format!("it has no signature `{name}`"));
        let served = servable.signature(name, absent);
        Some(served.and_then(|served| run_untimed(&served.signature, &job.inputs, &job.outputs)))
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
/// difference of a floating-point number, if any were compared.
pub(super) fn compare(found: &InferenceResponse, expected: &InferenceResponse) -> (Option<String>, Option<f64>) {
    let (mut why, mut largest) = (None, None);
    if let Some((name, _)) = found.iter().find(|(name, _)| expected.iter().all(|(other, _)| other != name)) {
        why = Some(format!("it has the output `{name}` as well"));
    }
    for (name, expected) in expected {
        let Some((_, found)) = found.iter().find(|(other, _)| other == name) else {
            why = why.or_else(|| Some(format!("it has no output `{name}`")));
            continue;
        };
        let compared = match Comparison::compare(found, expected, TOLERANCE) {
            Ok(Some(compared)) => compared,
            Ok(None) => {
                let of = |tensor: &tf_persist_core::Tensor| format!("{} {:?}", tensor.dtype(), tensor.shape());
                why = why.or_else(|| Some(format!("`{name}` is {}, not {}", of(found), of(expected))));
                continue;
            }
            Err(error) => {
                why = why.or_else(|| Some(format!("`{name}`: {error}")));
                continue;
            }
        };
        if is_float(expected.dtype()) {
            let difference: f64 = compared.largest_absolute.unwrap_or(0.0);
            largest = Some(largest.unwrap_or(0.0_f64).max(difference));
        }
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
