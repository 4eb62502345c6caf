//! The thread that knows how all models stand. It alone changes that; what takes time is done by others, who tell it.

mod configure;
mod labels;
mod publish;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tf_persist_proto::serving::ModelServerConfig;
use tokio::sync::{oneshot, watch};

use super::folder::Found;
use super::journal::Journal;
use super::load::{Loader, Queue};
use super::look::{Order, Sight};
use super::model::{Action, Model, Outcome, Retries};
use super::unload::Unload;
use super::view::View;
use super::{LabelRule, ModelSource, Settings, config, load, look, unload};
use crate::status::Status;
use configure::Waiter;
use labels::AwaitedLabel;
use publish::Told;

/// How long it is waited until something that is the matter is said again, at the longest.
const MAX_SILENCE: Duration = Duration::from_secs(300);

/// How long it is waited for nothing.
const IDLE: Duration = Duration::from_secs(3600);

/// What the thread is told.
pub(super) enum Event<T> {
    /// The files were looked at.
    Seen(Sight),
    /// A load has begun.
    Started { model: String, id: u64 },
    /// It has ended.
    Finished { model: String, id: u64, outcome: Outcome<T> },
    /// A version is gone.
    Unloaded { model: String, id: u64 },
    /// Another configuration is to be served.
    Reload { config: Box<ModelServerConfig>, asked_by: String, reply: oneshot::Sender<Result<(), Status>> },
    /// The files are to be looked at.
    Refresh,
    /// Everything is to be unloaded.
    Stop { reply: Option<Sender<()>> },
}

/// What the thread shows to everybody.
pub(super) struct Shared<T> {
    pub(super) view: ArcSwap<View<T>>,
    /// Told of every new view.
    pub(super) changed: watch::Sender<()>,
    pub(super) journal: Arc<Journal>,
}

/// The thread's own.
pub(super) struct Manager<T> {
    settings: Settings,
    shared: Arc<Shared<T>>,
    events: Receiver<Event<T>>,
    queue: Arc<Queue>,
    looker: Sender<Order>,
    unloader: Sender<Unload<T>>,
    models: BTreeMap<String, Model<T>>,
    config: config::Models,
    /// The file's configuration that is served, and what was wrong with it when it was read last.
    file: (ModelServerConfig, Option<Status>),
    /// Whether what the file says is to be served even if it says what it said before.
    is_file_asked_for: bool,
    ids: u64,
    is_looking: bool,
    /// Whether the files are to be looked at as soon as that can be, and the configuration file among them.
    look_now: (bool, bool),
    next_look: Option<Instant>,
    next_file: Option<Instant>,
    waiters: Vec<Waiter>,
    /// Labels that stood in the configuration at the start, until all models are ready.
    awaited: Vec<AwaitedLabel>,
    is_ready: bool,
    nags: BTreeMap<String, Nag>,
    stopping: Option<Vec<Sender<()>>>,
    /// The last states that were told to the log.
    told: Told,
}

/// Something that is the matter with a model's folder, said ever less often.
struct Nag {
    what: String,
    next: Instant,
    silence: Duration,
}

/// Starts the threads. Gives what they show and where they are told.
///
/// # Errors
/// If the configuration cannot be read or cannot be, or there are no threads to be had.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
pub(super) fn start<L: Loader>(
    settings: Settings,
    loader: Arc<L>,
) -> Result<(Arc<Shared<L::Loaded>>, Sender<Event<L::Loaded>>), Status> {
    let file = config::read(settings.source.as_ref())?;
    let wanted = config::check(&file, None)?;
    let journal = Arc::new(Journal::open(settings.load.journal.as_deref(), SystemTime::now()));
    let (changed, _) = watch::channel(());
    let view = ArcSwap::from_pointee(View::empty());
    let shared = Arc::new(Shared { view, changed, journal: journal.clone() });
    let (tell, events) = mpsc::channel();
    let (looker, look_orders) = mpsc::channel();
    let (unloader, unload_orders) = mpsc::channel();
    let queue = Arc::new(Queue::default());
    let now = Instant::now();
    let mut manager = Manager {
        shared: shared.clone(),
        events,
        queue: queue.clone(),
        looker,
        unloader,
        models: BTreeMap::new(),
        config: config::Models::new(),
        file: (file, None),
        is_file_asked_for: false,
        ids: 0,
        is_looking: false,
        look_now: (true, false),
        next_look: None,
        next_file: settings.file_poll().map(|poll| now + poll),
        waiters: Vec::new(),
        awaited: Vec::new(),
        is_ready: false,
        nags: BTreeMap::new(),
        stopping: None,
        told: Told::default(),
        settings,
    };
    match manager.settings.labels {
        LabelRule::AvailableOrStarting => manager.await_labels(&wanted),
        LabelRule::Available | LabelRule::Any => manager.check_labels(&wanted)?,
    }
    manager.configure(wanted);
    manager.publish();
    for number in 1..=manager.settings.load.threads.max(1) {
        load::start(number, loader.clone(), queue.clone(), journal.clone(), tell.clone())?;
    }
    unload::start(loader, unload_orders, tell.clone())?;
    look::start(look_orders, tell.clone())?;
    load::spawn("models", move || manager.run())?;
    Ok((shared, tell))
}

impl Settings {
    /// How often the configuration file is read.
    fn file_poll(&self) -> Option<Duration> {
        match self.source {
            Some(ModelSource::ConfigFile { poll, .. }) => poll,
            _ => None,
        }
    }
}

impl<T: Send + Sync + 'static> Manager<T> {
    fn run(mut self) {
        loop {
            self.act();
            self.publish();
            // Only now: who is told that a model answers is to find it.
            self.answer_waiters(Instant::now());
            if self.is_stopped() {
                break;
            }
            let until = self.next_deadline(Instant::now());
            match self.events.recv_timeout(until) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => {}
                // The threads have each a sender, so this cannot be.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(event) = self.events.try_recv() {
                self.handle(event);
            }
        }
        self.queue.close();
        self.shared.journal.close();
        for reply in self.stopping.into_iter().flatten() {
            let _ = reply.send(());
        }
    }

    fn handle(&mut self, event: Event<T>) {
        let now = Instant::now();
        match event {
            Event::Seen(sight) => self.seen(sight, now),
            Event::Started { model, id } => self.with(&model, |model| model.started(id)),
            Event::Finished { model, id, outcome } => {
                let retries = Retries { most: self.settings.load.retries, interval: self.settings.load.retry_interval };
                let mut left = None;
                self.with(&model, |model| left = model.finished(id, outcome, retries, now));
                if let Some(servable) = left {
                    let _ = self.unloader.send(Unload { id, model, servable: Arc::new(servable) });
                }
            }
            Event::Unloaded { model, id } => self.with(&model, |model| model.unloaded(id)),
            Event::Reload { config, asked_by, reply } => self.reload(&config, &asked_by, reply, now),
            Event::Refresh => {
                self.look_now = (true, true);
                self.is_file_asked_for = true;
            }
            Event::Stop { reply } => {
                if self.stopping.is_none() {
                    tracing::info!("unloading all models");
                    self.shared.journal.stop();
                    self.configure(config::Models::new());
                }
                self.stopping.get_or_insert_default().extend(reply);
            }
        }
    }

    fn with(&mut self, name: &str, change: impl FnOnce(&mut Model<T>)) {
        // A model is kept as long as it has versions that something can be told of.
        if let Some(model) = self.models.get_mut(name) {
            change(model);
        }
    }

    /// Takes in what was seen of the files.
    fn seen(&mut self, sight: Sight, now: Instant) {
        self.is_looking = false;
        if let Some(config) = sight.config {
            self.read_file(config);
        }
        let settled = self.settings.poll.is_some();
        for model in self.models.values_mut() {
            for (path, stamp) in &sight.stamps {
                model.stamped(path, *stamp, settled);
            }
            let Some(wanted) = &model.wanted else { continue };
            // If it was configured otherwise in the meantime, the next look will be at the right folder.
            let Some(found) = sight.found.get(&wanted.base_path) else { continue };
            model.was_looked_at = true;
            let chosen = match found {
                Ok(Found { versions, remark }) => {
                    let base_path = wanted.base_path.display();
                    let missing = wanted.policy.missing(versions);
                    model.problem = match remark {
                        None if !missing.is_empty() => Some(format!(
                            "its policy names versions that are not under the base path `{base_path}`: {missing:?}"
                        )),
                        remark => remark.clone(),
                    };
                    wanted.policy.choose(versions)
                }
                // What is loaded stays: the folder may come back.
                Err(error) => {
                    model.problem = Some(error.clone());
                    continue;
                }
            };
            model.aspire(&chosen, &mut self.ids);
        }
        self.nag(now);
    }

    /// Says what is the matter, once, and then ever less often.
    fn nag(&mut self, now: Instant) {
        let problems = self.models.values().filter(|model| model.wanted.is_some());
        let problems: Vec<(String, String, bool)> = problems
            .filter_map(|model| Some((model.name.clone(), model.problem.clone()?, model.is_available())))
            .collect();
        self.nags.retain(|name, _| problems.iter().any(|(other, ..)| other == name));
        for (name, what, is_available) in problems {
            let silence = match self.nags.get(&name) {
                Some(nag) if nag.what == what && now < nag.next => continue,
                Some(nag) if nag.what == what => (nag.silence * 2).min(MAX_SILENCE),
                _ => Duration::from_secs(2),
            };
            let still = if is_available { "what is loaded stays" } else { "waiting for a version" };
            tracing::warn!(model = %name, "{what}; {still}");
            self.nags.insert(name, Nag { what, next: now + silence, silence });
        }
    }

    /// Does what is to be done now.
    fn act(&mut self) {
        let now = Instant::now();
        for model in self.models.values_mut() {
            model.retry(now);
            for action in model.decide() {
                match action {
                    Action::Load(job) => self.queue.push(job),
                    Action::Unload { id, servable } => {
                        let model = model.name.clone();
                        // It is in the table still, until this thread publishes; the other waits for that.
                        let _ = self.unloader.send(Unload { id, model, servable });
                    }
                }
            }
        }
        self.look(now);
    }
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// Lets the files be looked at, if it is time.
    fn look(&mut self, now: Instant) {
        let is_due = |next: Option<Instant>| next.is_some_and(|next| next <= now);
        if is_due(self.next_look) {
            self.look_now.0 = true;
        }
        if is_due(self.next_file) {
            self.look_now.1 = true;
        }
        if self.is_looking || self.look_now == (false, false) || self.stopping.is_some() {
            return;
        }
        let is_file = matches!(self.settings.source, Some(ModelSource::ConfigFile { .. }));
        let config = (self.look_now.1 && is_file).then(|| self.settings.source.clone()).flatten();
        let mut order = Order { config, ..Order::default() };
        if self.look_now.0 {
            let wanted = self.models.values().filter_map(|model| model.wanted.as_ref());
            order.base_paths = wanted.map(|wanted| wanted.base_path.clone()).collect();
            order.failed = self.models.values().flat_map(Model::watched).map(std::path::Path::to_path_buf).collect();
            self.next_look = self.settings.poll.map(|poll| now + poll);
        }
        if self.look_now.1 {
            self.next_file = self.settings.file_poll().map(|poll| now + poll);
        }
        self.is_looking = self.looker.send(order).is_ok();
        self.look_now = (false, false);
    }

    /// How long there is nothing to do unless something is told.
    fn next_deadline(&self, now: Instant) -> Duration {
        let is_blind = self.is_looking || self.stopping.is_some();
        let looks = [self.next_look, self.next_file].into_iter().flatten().filter(|_| !is_blind);
        let retries = self.models.values().filter_map(Model::next_retry);
        let waiters = self.waiters.iter().map(Waiter::next_deadline);
        let next = looks.chain(retries).chain(waiters).min();
        next.map_or(IDLE, |next| next.saturating_duration_since(now))
    }

    fn is_stopped(&self) -> bool {
        self.stopping.is_some() && self.models.values().all(Model::is_idle)
    }
}
