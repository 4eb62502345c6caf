//! The threads that load versions from a queue.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use tf_persist_core::Code;

use super::catalog::{Prepare, Refusal};
use super::crash_journal::{CrashJournal, Quarantine};
use super::manager::Event;
use super::poll::stamp;
use super::state_machine::{LoadError, LoadJob, LoadOutcome};
use crate::status::Status;

/// Loads versions. Tests have a loader without TensorFlow.
pub(super) trait Loader: Send + Sync + 'static {
    /// A loaded version.
    type Loaded: Send + Sync + 'static;

    /// Called in a loading thread before it does anything for a version.
    fn begin(&self) {}

    /// What is done before a version is loaded.
    fn prepare(&self) -> Option<&dyn Prepare> {
        None
    }

    /// Loads a version and warms it up.
    fn load(&self, model: &str, version: i64, path: &Path) -> Result<Self::Loaded, LoadError>;

    /// Whether an abandoned run still uses it, so that it must not be dropped yet.
    fn is_busy(&self, _loaded: &Self::Loaded) -> bool {
        false
    }

    /// Called after a version was unloaded or failed to load, to release memory.
    fn released(&self) {}
}

/// Versions that wait to be loaded.
#[derive(Default)]
pub(super) struct LoadQueue {
    waiting: Mutex<(VecDeque<LoadJob>, bool)>,
    changed: Condvar,
}

impl LoadQueue {
    pub(super) fn push(&self, job: LoadJob) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).0.push_back(job);
        self.changed.notify_one();
    }

    /// Wakes idle workers so they exit.
    pub(super) fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }

    fn pop(&self) -> Option<LoadJob> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = waiting.0.pop_front() {
                return Some(job);
            }
            if waiting.1 {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Starts a thread that loads versions.
pub(super) fn start<L: Loader>(
    number: usize,
    loader: Arc<L>,
    queue: Arc<LoadQueue>,
    journal: Arc<CrashJournal>,
    events: Sender<Event<L::Loaded>>,
) -> Result<(), Status> {
    let work = move || {
        while let Some(job) = queue.pop() {
            let (id, model) = (job.id, job.model.clone());
            let outcome = if job.cancelled.load(Ordering::Relaxed) {
                LoadOutcome::Cancelled
            } else {
                let _ = events.send(Event::Started { model: model.clone(), id });
                load(&*loader, &job, &journal)
            };
            // Fails only when the server has stopped.
            let _ = events.send(Event::Finished { model, id, outcome });
        }
    };
    spawn(&format!("load-{number}"), work)
}

/// Starts a named thread.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Status> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| Status::new(Code::ResourceExhausted, format!("cannot start a thread: {error}")))
}

fn load<L: Loader>(loader: &L, job: &LoadJob, journal: &CrashJournal) -> LoadOutcome<L::Loaded> {
    let (model, version, path) = (job.model.as_str(), job.version, job.path.as_path());
    loader.begin();
    // Before the files are checked, so that a change during the check is noticed.
    let refused = loader.prepare().and_then(|prepare| {
        let stamp = stamp(path, Some(prepare));
        let prepared = catch_unwind(AssertUnwindSafe(|| prepare.prepare(model, version, path)));
        let refusal = prepared.unwrap_or_else(|panic| {
            Err(Refusal::new(
                Code::Internal,
                format!("the check of `{}` panicked: {}", path.display(), panic_message(&*panic)),
            ))
        });
        refusal.err().map(|refusal| LoadOutcome::Failed(LoadError::from(refusal), stamp))
    });
    if let Some(refused) = refused {
        return refused;
    }
    let stamp = stamp(path, loader.prepare());
    if let Some(Quarantine { status, left }) = journal.quarantined(path, stamp, SystemTime::now()) {
        return LoadOutcome::Failed(LoadError { retry_after: Some(left), ..LoadError::new(status, true) }, stamp);
    }
    let permit = journal.begin_load(model, version, path, stamp);
    let loaded = catch_unwind(AssertUnwindSafe(|| loader.load(model, version, path)));
    journal.end_load(path);
    drop(permit);
    let failure = match loaded {
        Ok(Ok(servable)) => return LoadOutcome::Loaded(servable),
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let message = format!("loading `{}` panicked: {}", path.display(), panic_message(&*panic));
            LoadError::new(Status::new(Code::Internal, message), false)
        }
    };
    loader.released();
    // If the files are gone, the loader's error is misleading.
    if !path.exists() {
        let message = format!("`{}` vanished while it was being loaded: {}", path.display(), failure.status.message);
        return LoadOutcome::Failed(LoadError::new(Status::not_found(message), false), stamp);
    }
    LoadOutcome::Failed(failure, stamp)
}

/// The message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown reason")
}
