//! The thread that owns the state of all models. No other thread changes it: those that load, unload and poll report to
//! it by events.

mod catalog;
mod configure;
mod labels;
mod look;
mod memory;
mod publish;
mod remote;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tf_persist_proto::serving::ModelServerConfig;
use tokio::sync::{oneshot, watch};

use super::config::BasePath;
use super::crash_journal::CrashJournal;
use super::later_trials::MAX_TRIED_AT_ONCE;
use super::load::{LoadQueue, LoadThreads, Loader};
use super::poll::{PollRequest, PollResult};
use super::remote_paths::{RemoteFound, RemoteModel};
use super::resident::{Room, Usage};
use super::state_machine::{Action, Model, Unwanted};
use super::unload::UnloadJob;
use super::version_entry::{LoadError, LoadJob, LoadOutcome, RetryPolicy};
use super::view::View;
use super::{Catalog, LabelRule, ModelSettings, ModelSource, config, load, poll, remote_paths, unload};
use crate::status::Status;
use configure::Waiter;
use labels::AwaitedLabel;
use look::Look;
use publish::LoggedStates;

/// The longest pause before a problem that persists is logged again.
const MAX_WARN_INTERVAL: Duration = Duration::from_secs(300);

/// How long the thread sleeps when nothing is due.
const MAX_IDLE_WAIT: Duration = Duration::from_secs(3600);

/// A message to the manager's thread.
pub(super) enum Event<T> {
    /// The result of a poll of the file system.
    Polled(PollResult),
    /// The result of a poll of base paths elsewhere.
    RemotePolled(Vec<RemoteFound>),
    /// A load has begun.
    Started { model: String, id: u64 },
    /// A load has ended.
    Finished { model: String, id: u64, outcome: LoadOutcome<T>, bytes: u64 },
    /// A load of this model needs memory.
    MakeRoom { model: String, bytes: u64 },
    /// A request needs a model that was unloaded to save memory.
    Wake { model: String },
    /// A version was unloaded.
    Unloaded { model: String, id: u64 },
    /// A request for another configuration.
    Reload { config: Box<ModelServerConfig>, requested_by: String, reply: oneshot::Sender<Result<(), Status>> },
    /// Poll the file system now.
    Refresh,
    /// The same, with the aspired versions of a model as the reply.
    Look { model: String, reply: oneshot::Sender<Vec<i64>> },
    /// Unload everything and end.
    Stop { reply: Option<Sender<()>> },
}

/// What other threads read.
pub(super) struct Shared<T> {
    pub(super) view: ArcSwap<View<T>>,
    /// Notified of every new view.
    pub(super) changed: watch::Sender<()>,
    pub(super) journal: Arc<CrashJournal>,
    /// How many polls have been applied, those of the configuration file by themselves.
    #[cfg(test)]
    pub(super) polls: PollCounts,
}

/// Counts of applied polls, for tests.
#[cfg(test)]
#[derive(Default)]
pub(super) struct PollCounts {
    pub(super) versions: std::sync::atomic::AtomicUsize,
    pub(super) config: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl PollCounts {
    fn count(&self, result: &PollResult) {
        let counters = [
            (&self.versions, !result.found.is_empty() || result.catalog.is_some()),
            (&self.config, result.config.is_some()),
        ];
        for (counter, _) in counters.into_iter().filter(|(_, is_polled)| *is_polled) {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
}

/// The state of the manager's thread.
pub(super) struct Manager<T> {
    settings: ModelSettings,
    events: Receiver<Event<T>>,
    queue: Arc<LoadQueue>,
    /// The memory of all versions, if it is limited.
    room: Option<Arc<Room>>,
    /// The models that are being unloaded to save memory, until that is published.
    leaving: Vec<Arc<Usage>>,
    poller: Sender<PollRequest>,
    remote_poller: Sender<Vec<RemoteModel>>,
    unloader: Sender<UnloadJob<T>>,
    models: BTreeMap<String, Model<T>>,
    /// The number that the last version got.
    last_id: u64,
    poll: PollState,
    remote_poll: RemotePollState,
    /// Looks for versions whose requesters wait.
    looks: Vec<Look>,
    config: ConfigState,
    published: Published<T>,
    /// Who waits for the end, once it has begun.
    stopping: Option<Vec<Sender<()>>>,
}

/// When the file system is polled.
struct PollState {
    is_running: bool,
    /// How many polls have ended.
    ended: u64,
    /// The base paths are to be polled as soon as no poll is running.
    versions_due: bool,
    /// The configuration file is to be read as soon as no poll is running.
    config_due: bool,
    next_versions: Option<Instant>,
    next_config: Option<Instant>,
}

/// When base paths elsewhere are polled.
#[derive(Default)]
struct RemotePollState {
    is_running: bool,
    /// How many polls have ended.
    ended: u64,
    /// They are to be polled as soon as no poll is running.
    is_due: bool,
    next: Option<Instant>,
}

/// Which configuration is served, and who waits for what in it.
struct ConfigState {
    models: config::ModelConfigs,
    /// The content of the configuration file that was applied last.
    file: ModelServerConfig,
    /// Why the file could not be applied when it was read last.
    file_error: Option<Status>,
    /// Whether the next content of the file is applied even if it has not changed.
    apply_unchanged_file: bool,
    /// Reload requests that wait for new models.
    waiters: Vec<Waiter>,
    /// Labels of the first configuration, until all models are ready.
    awaited_labels: Vec<AwaitedLabel>,
}

/// What the rest of the server and the log know.
struct Published<T> {
    shared: Arc<Shared<T>>,
    is_ready: bool,
    /// Whether any version has been available.
    had_available: bool,
    logged: LoggedStates,
    warnings: BTreeMap<String, RepeatedWarning>,
}

/// A problem with a model's base path, logged at growing intervals while it persists.
struct RepeatedWarning {
    message: String,
    next: Instant,
    interval: Duration,
}

/// Starts the threads. Returns what they publish and the channel of their events.
///
/// # Errors
/// If the configuration is unreadable or invalid, or a thread cannot be spawned.
#[expect(clippy::type_complexity, reason = "the caller destructures it at once")]
pub(super) fn start<L: Loader>(
    settings: ModelSettings,
    loader: Arc<L>,
) -> Result<(Arc<Shared<L::Loaded>>, Sender<Event<L::Loaded>>), Status> {
    let (file, listed) = match &settings.source {
        Some(ModelSource::Catalog(catalog)) => {
            // A catalog may run requests, and their runtime must not be started within the server's.
            let listed = thread::scope(|scope| scope.spawn(|| catalog.look()).join());
            let listed = listed.unwrap_or_else(|panic| resume_unwind(panic));
            (ModelServerConfig::new(), Some(listed.map_err(Status::failed_precondition)?))
        }
        source => (config::read(source.as_ref())?, None),
    };
    let configs = config::check(&file, None, settings.remote_paths.as_deref())?;
    let journal = Arc::new(CrashJournal::open(settings.load.journal.as_deref(), SystemTime::now()));
    let (changed, _) = watch::channel(());
    let view = ArcSwap::from_pointee(View::empty());
    let shared = Arc::new(Shared {
        view,
        changed,
        journal: journal.clone(),
        #[cfg(test)]
        polls: PollCounts::default(),
    });
    let (event_sender, events) = mpsc::channel();
    let (poller, poll_requests) = mpsc::channel();
    let (remote_poller, remote_requests) = mpsc::channel();
    let (unloader, unload_jobs) = mpsc::channel();
    let queue = Arc::new(LoadQueue::default());
    let now = Instant::now();
    let mut manager = Manager {
        events,
        queue: queue.clone(),
        room: settings.load.max_resident_bytes.map(Room::new),
        leaving: Vec::new(),
        poller,
        remote_poller,
        unloader,
        models: BTreeMap::new(),
        last_id: 0,
        poll: PollState {
            is_running: false,
            ended: 0,
            versions_due: true,
            config_due: false,
            next_versions: None,
            next_config: settings.file_poll().map(|poll| now + poll),
        },
        remote_poll: RemotePollState::default(),
        looks: Vec::new(),
        config: ConfigState::new(file),
        published: Published {
            shared: shared.clone(),
            is_ready: false,
            had_available: false,
            logged: LoggedStates::default(),
            warnings: BTreeMap::new(),
        },
        stopping: None,
        settings,
    };
    manager.check_logs(&configs)?;
    match manager.settings.labels {
        LabelRule::AvailableOrStarting => manager.await_labels(&configs),
        LabelRule::Available | LabelRule::Any => manager.check_labels(&configs)?,
    }
    match listed {
        Some(listed) => manager.apply_catalog(Ok(listed)),
        None => manager.configure(configs),
    }
    manager.publish();
    let (room, events) = (manager.room.clone(), event_sender.clone());
    LoadThreads { loader: loader.clone(), queue, journal, room, events }.start(&manager.settings.load)?;
    unload::start(loader, unload_jobs, event_sender.clone())?;
    poll::start(poll_requests, event_sender.clone(), manager.settings.load.prepare.clone())?;
    if let Some(paths) = &manager.settings.remote_paths {
        remote_paths::start(paths.clone(), remote_requests, event_sender.clone())?;
    }
    load::spawn("models", move || manager.run())?;
    Ok((shared, event_sender))
}

impl ConfigState {
    /// No models, and the content of the configuration file that is applied next.
    fn new(file: ModelServerConfig) -> Self {
        Self {
            models: config::ModelConfigs::new(),
            file,
            file_error: None,
            apply_unchanged_file: false,
            waiters: Vec::new(),
            awaited_labels: Vec::new(),
        }
    }
}

impl ModelSettings {
    /// How often the configuration file is read.
    fn file_poll(&self) -> Option<Duration> {
        match self.source {
            Some(ModelSource::ConfigFile { poll, .. }) => poll,
            _ => None,
        }
    }

    fn catalog(&self) -> Option<&Arc<dyn Catalog>> {
        match &self.source {
            Some(ModelSource::Catalog(catalog)) => Some(catalog),
            _ => None,
        }
    }
}

impl<T: Send + Sync + 'static> Manager<T> {
    fn run(mut self) {
        loop {
            self.run_actions();
            self.publish();
            self.leaving.drain(..).for_each(|usage| usage.reopen());
            // After publishing, so that a caller who hears that a model is available finds it.
            self.answer_waiters(Instant::now());
            self.answer_looks();
            if self.is_stopped() {
                break;
            }
            let until = self.next_deadline(Instant::now());
            match self.events.recv_timeout(until) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => {}
                // Unreachable: every thread holds a sender.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(event) = self.events.try_recv() {
                self.handle(event);
            }
        }
        self.queue.close();
        self.published.shared.journal.close();
        for reply in self.stopping.into_iter().flatten() {
            let _ = reply.send(());
        }
    }

    fn handle(&mut self, event: Event<T>) {
        let now = Instant::now();
        match event {
            Event::Polled(result) => self.apply_poll(result, now),
            Event::RemotePolled(found) => self.apply_remote_poll(found, now),
            Event::Started { model, id } => self.with_model(&model, |model| model.started(id)),
            Event::MakeRoom { model, bytes } => self.make_room(&model, bytes),
            Event::Wake { model } => self.with_model(&model, Model::wake),
            Event::Finished { model, id, outcome, bytes } => {
                self.with_model(&model, |model| model.note_bytes(id, bytes));
                let retries =
                    RetryPolicy { max: self.settings.load.retries, interval: self.settings.load.retry_interval };
                let mut unwanted = None;
                let outcome = match outcome {
                    // Whoever unloads models makes room, and asks again.
                    LoadOutcome::NoRoom(failure, stamp) if !self.settings.load.unload_least_used => {
                        LoadOutcome::Failed(LoadError { is_final: true, ..failure }, stamp)
                    }
                    outcome => outcome,
                };
                self.with_model(&model, |model| unwanted = model.finished(id, outcome, retries, now));
                if let Some(Unwanted { id, servable }) = unwanted {
                    let _ = self.unloader.send(UnloadJob { id, model, servable });
                }
            }
            Event::Unloaded { model, id } => self.with_model(&model, |model| model.unloaded(id)),
            Event::Reload { config, requested_by, reply } => self.reload(&config, &requested_by, reply, now),
            Event::Refresh => self.look_now(),
            Event::Look { model, reply } => self.look(model, reply),
            Event::Stop { reply } => {
                if self.stopping.is_none() {
                    tracing::info!("unloading all models");
                    self.published.shared.journal.stop();
                    self.configure(config::ModelConfigs::new());
                }
                self.stopping.get_or_insert_default().extend(reply);
            }
        }
    }

    fn with_model(&mut self, name: &str, change: impl FnOnce(&mut Model<T>)) {
        // A model is kept while an event about one of its versions may still arrive.
        if let Some(model) = self.models.get_mut(name) {
            change(model);
        }
    }

    /// Applies the result of a poll.
    fn apply_poll(&mut self, result: PollResult, now: Instant) {
        self.poll.is_running = false;
        self.poll.ended += 1;
        #[cfg(test)]
        self.published.shared.polls.count(&result);
        if let Some(config) = result.config {
            self.read_file(config);
        }
        if let Some(listed) = result.catalog
            && self.stopping.is_none()
        {
            self.apply_catalog(listed);
        }
        let settled = self.settings.poll.is_some();
        for model in self.models.values_mut() {
            for (path, stamp) in &result.stamps {
                model.observe_stamp(path, *stamp, settled);
            }
            let Some(config) = &model.config else { continue };
            let Some(BasePath::Folder(base_path)) = &config.base_path else { continue };
            // If the model was reconfigured in the meantime, the next poll reads the right folder.
            let Some(found) = result.found.get(base_path) else { continue };
            model.find(found, &mut self.last_id);
        }
        self.end_looks();
        self.warn_about_problems(now);
    }

    /// Logs each problem once, and then at growing intervals.
    fn warn_about_problems(&mut self, now: Instant) {
        let problems = self.models.values().filter(|model| model.config.is_some());
        let problems: Vec<(String, String, bool)> = problems
            .filter_map(|model| Some((model.name.clone(), model.problem.clone()?, model.is_available())))
            .collect();
        let warnings = &mut self.published.warnings;
        warnings.retain(|name, _| problems.iter().any(|(other, ..)| other == name));
        for (name, message, is_available) in problems {
            let interval = match warnings.get(&name) {
                Some(last) if last.message == message && now < last.next => continue,
                Some(last) if last.message == message => (last.interval * 2).min(MAX_WARN_INTERVAL),
                _ => Duration::from_secs(2),
            };
            let consequence = if is_available { "loaded versions stay" } else { "waiting for a version" };
            tracing::warn!(model = %name, "{message}; {consequence}");
            warnings.insert(name, RepeatedWarning { message, next: now + interval, interval });
        }
    }

    /// Carries out what the state machines of the models decide.
    fn run_actions(&mut self) {
        let now = Instant::now();
        let mut loads = Vec::new();
        for model in self.models.values_mut() {
            model.settle(&mut self.last_id);
            model.retry(now);
            for action in model.decide() {
                match action {
                    Action::Load(job) => loads.push(job),
                    Action::Unload { id, servable } => {
                        let model = model.name.clone();
                        // The view still holds it until this thread publishes; the unloading thread waits for that.
                        let _ = self.unloader.send(UnloadJob { id, model, servable });
                    }
                }
            }
        }
        self.start_loads(loads);
        self.start_poll(now);
        self.start_remote_poll(now);
    }

    /// Queues loads. If nothing is loaded, queues the trial of a version that has none yet.
    fn start_loads(&mut self, loads: Vec<LoadJob>) {
        // A trial takes the memory of a version several times.
        let may_try = self.room.is_none() && self.stopping.is_none();
        let with_trial = may_try && loads.len() + self.queue.len() <= MAX_TRIED_AT_ONCE;
        let is_idle = may_try && loads.is_empty() && !self.models.values().any(Model::is_loading);
        let trial = is_idle.then(|| self.models.values_mut().find_map(Model::begin_trial)).flatten();
        for job in loads {
            let evicts = job.evicts && self.settings.load.unload_least_used;
            self.queue.push(LoadJob { with_trial, evicts, ..job });
        }
        trial.into_iter().for_each(|job| self.queue.push(job));
    }
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Starts a poll if one is due and none is running.
    fn start_poll(&mut self, now: Instant) {
        let is_due = |next: Option<Instant>| next.is_some_and(|next| next <= now);
        let poll = &mut self.poll;
        poll.versions_due |= is_due(poll.next_versions);
        poll.config_due |= is_due(poll.next_config);
        if poll.is_running || !(poll.versions_due || poll.config_due) || self.stopping.is_some() {
            return;
        }
        let is_file = matches!(self.settings.source, Some(ModelSource::ConfigFile { .. }));
        let config = (poll.config_due && is_file).then(|| self.settings.source.clone()).flatten();
        let mut request = PollRequest { config, ..PollRequest::default() };
        if poll.versions_due {
            let configs = self.models.values().filter_map(|model| model.config.as_ref());
            let folder = |config: &config::ModelConfig| match &config.base_path {
                Some(BasePath::Folder(path)) => Some(path.clone()),
                _ => None,
            };
            request.base_paths = configs.filter_map(folder).collect();
            request.catalog = self.settings.catalog().cloned();
            request.failed = self.models.values().flat_map(Model::watched).map(std::path::Path::to_path_buf).collect();
            poll.next_versions = self.settings.poll.map(|interval| now + interval);
        }
        if poll.config_due {
            poll.next_config = self.settings.file_poll().map(|interval| now + interval);
        }
        poll.is_running = self.poller.send(request).is_ok();
        (poll.versions_due, poll.config_due) = (false, false);
    }

    /// How long the thread may sleep unless an event arrives.
    fn next_deadline(&self, now: Instant) -> Duration {
        let can_poll = !self.poll.is_running && self.stopping.is_none();
        let polls = [self.poll.next_versions, self.poll.next_config].into_iter().flatten().filter(|_| can_poll);
        let can_poll = !self.remote_poll.is_running && self.stopping.is_none();
        let polls = polls.chain(self.remote_poll.next.filter(|_| can_poll));
        let retries = self.models.values().filter_map(Model::next_retry);
        let waiters = self.config.waiters.iter().map(Waiter::next_deadline);
        let next = polls.chain(retries).chain(waiters).min();
        next.map_or(MAX_IDLE_WAIT, |next| next.saturating_duration_since(now))
    }

    fn is_stopped(&self) -> bool {
        self.stopping.is_some() && self.models.values().all(Model::is_idle)
    }
}
