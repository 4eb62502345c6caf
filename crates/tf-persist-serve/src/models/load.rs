//! The threads that load versions from a queue.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use tf_persist_core::Code;

use super::LoadSettings;
use super::catalog::{Prepare, Refusal};
use super::crash_journal::{CrashJournal, Quarantine};
use super::folder::FileStamp;
use super::manager::Event;
use super::poll::stamp;
use super::resident::{self, NoRoom, Reservation, Room};
use super::version_entry::{LoadError, LoadJob, LoadOutcome};
use crate::status::Status;

/// Loads versions. Tests have a loader without TensorFlow.
pub(super) trait Loader: Send + Sync + 'static {
    /// A loaded version.
    type Loaded: Send + Sync + 'static;

    /// Called in a loading thread before it does anything for a version, once the server is ready.
    fn make_way(&self) {}

    /// What is done before a version is loaded.
    fn prepare(&self) -> Option<&dyn Prepare> {
        None
    }

    /// Loads a version and warms it up.
    fn load(&self, job: &LoadJob, reservation: Option<Reservation>) -> Result<Self::Loaded, LoadError>;

    /// Whether a trial of the fast path, which the load left out, may make it faster.
    fn is_untried(&self, _loaded: &Self::Loaded) -> bool {
        false
    }

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
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<LoadJob>,
    /// The model of each version that is being loaded.
    loading: Vec<String>,
    /// Whether the threads that only help at the start are to end.
    is_started: bool,
    is_closed: bool,
}

/// Which loads a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoadThread {
    /// All.
    Lasting,
    /// Those at the start of the server.
    AtStart,
}

impl QueueState {
    /// The version to load next. At the start, the versions of a model are loaded one by one in their order: the model
    /// counts as available with the first of them, which must be the newest.
    fn next(&mut self) -> Option<LoadJob> {
        let may_begin = |job: &LoadJob| self.is_started || !self.loading.contains(&job.model);
        let index = self.waiting.iter().position(may_begin)?;
        self.waiting.remove(index)
    }
}

impl LoadQueue {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, job: LoadJob) {
        self.state().waiting.push_back(job);
        self.changed.notify_one();
    }

    /// How many versions wait.
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Ends the threads that are for the start.
    pub(super) fn end_start(&self) {
        self.state().is_started = true;
        self.changed.notify_all();
    }

    fn is_started(&self) -> bool {
        self.state().is_started
    }

    /// Wakes idle workers so they exit.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Notes that a version of this model is no longer being loaded.
    fn end(&self, model: &str) {
        let mut state = self.state();
        if let Some(index) = state.loading.iter().position(|loading| loading == model) {
            state.loading.swap_remove(index);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn pop(&self, thread: LoadThread) -> Option<LoadJob> {
        let mut state = self.state();
        loop {
            if thread == LoadThread::AtStart && state.is_started {
                // The job that this thread was woken for is left to another.
                self.changed.notify_one();
                return None;
            }
            if let Some(job) = state.next() {
                state.loading.push(job.model.clone());
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What the threads that load versions share.
pub(super) struct LoadThreads<L: Loader> {
    pub(super) loader: Arc<L>,
    pub(super) queue: Arc<LoadQueue>,
    pub(super) journal: Arc<CrashJournal>,
    /// The memory of all versions, if it is limited.
    pub(super) room: Option<Arc<Room>>,
    pub(super) events: Sender<Event<L::Loaded>>,
}

impl<L: Loader> LoadThreads<L> {
    /// Starts the threads.
    pub(super) fn start(self, settings: &LoadSettings) -> Result<(), Status> {
        let (threads, at_start) = (settings.threads.max(1), settings.start_threads);
        // If models are unloaded to save memory, requests wait for loads at all times.
        let lasting = if self.room.is_some() { threads.max(at_start) } else { threads };
        let shared = Arc::new(self);
        for number in 1..=lasting.max(at_start) {
            let thread = if number <= lasting { LoadThread::Lasting } else { LoadThread::AtStart };
            let shared = Arc::clone(&shared);
            spawn(&format!("load-{number}"), move || shared.run(thread))?;
        }
        Ok(())
    }

    fn run(&self, thread: LoadThread) {
        while let Some(job) = self.queue.pop(thread) {
            let (id, model) = (job.id, job.model.clone());
            let (outcome, bytes) = if job.cancelled.load(Ordering::Relaxed) {
                (LoadOutcome::Cancelled, 0)
            } else {
                let _ = self.events.send(Event::Started { model: model.clone(), id });
                // Nobody asks a server that is not ready, and other programs may keep the processors busy.
                if self.queue.is_started() {
                    self.loader.make_way();
                }
                self.load(&job)
            };
            self.queue.end(&model);
            // Fails only when the server has stopped.
            let _ = self.events.send(Event::Finished { model, id, outcome, bytes });
        }
    }

    /// Loads a version. Returns also how much memory it takes, if that is limited.
    fn load(&self, job: &LoadJob) -> (LoadOutcome<L::Loaded>, u64) {
        let make_room = |bytes| {
            let _ = self.events.send(Event::MakeRoom { model: job.model.clone(), bytes });
            !job.cancelled.load(Ordering::Relaxed)
        };
        let make_room: Option<&dyn Fn(u64) -> bool> = if job.evicts { Some(&make_room) } else { None };
        let mut bytes = 0;
        let reserve = || {
            let Some(room) = &self.room else { return Ok(None) };
            // The files are there by now.
            bytes = resident::estimate(&job.path);
            room.reserve(bytes, make_room).map(Some)
        };
        (load(&*self.loader, job, &self.journal, reserve), bytes)
    }
}

/// Starts a named thread.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Status> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| Status::new(Code::ResourceExhausted, format!("cannot start a thread: {error}")))
}

fn load<L: Loader>(
    loader: &L,
    job: &LoadJob,
    journal: &CrashJournal,
    reserve: impl FnOnce() -> Result<Option<Reservation>, NoRoom>,
) -> LoadOutcome<L::Loaded> {
    let (model, version, path) = (job.model.as_str(), job.version, job.path.as_path());
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
    let reservation = match reserve() {
        Ok(reservation) => reservation,
        Err(no_room) => return without_room(no_room, job, stamp),
    };
    let permit = journal.begin_load(model, version, path, stamp);
    let loaded = catch_unwind(AssertUnwindSafe(|| loader.load(job, reservation)));
    journal.end_load(path);
    drop(permit);
    let failure = match loaded {
        Ok(Ok(servable)) if loader.is_untried(&servable) => return LoadOutcome::Untried(servable),
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

/// The outcome for a version for which there is too little memory.
fn without_room<T>(no_room: NoRoom, job: &LoadJob, stamp: FileStamp) -> LoadOutcome<T> {
    let (model, version) = (&job.model, job.version);
    let full = |reason: &str| {
        let message = format!("there is no memory for version {version} of model {model}: {reason}");
        Status::new(Code::ResourceExhausted, message)
    };
    match no_room {
        NoRoom::TooLarge => {
            let status = full("it takes more than all models together may");
            LoadOutcome::Failed(LoadError::new(status, true), stamp)
        }
        NoRoom::Full => LoadOutcome::NoRoom(LoadError::new(full("other models take it"), false), stamp),
    }
}

/// The message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown reason")
}
