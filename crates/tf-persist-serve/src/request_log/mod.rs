//! The request log: sampled requests with their responses, in files.
//!
//! A request never waits for its log. It leaves a [`Record`] in a bounded queue when its response is encoded, and one
//! thread encodes the records and writes them. A record shares the memory of its tensors with the request. If the queue
//! is full or the disk fails, records are lost, and counted. Files have whole records only, end by size and by time,
//! and are deleted, oldest first, to keep the limit of their folder.
//!
//! TensorFlow Serving reads `logging_config` and has the interfaces for a log (`core/request_logger.cc`), but its open
//! source has no log collector, and refuses a configuration with one.

mod file;
mod folder;
mod json_line;
mod name;
mod prediction_log;
mod queue;
mod record;
mod rules;
mod settings;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;

use crate::error::ServerError;
use crate::metrics::{LogLoss, Metrics};
use crate::status::Status;
use queue::Queue;
pub(crate) use record::{CallInfo, Exchange, Record, SignatureId, Tensors};
use rules::Destination;
pub(crate) use rules::{LogRule, ModelLog};
pub use settings::{RequestLogFormat, RequestLogSettings};
use writer::Writer;

/// The request log of a server. Clones share it. The default one logs nothing.
#[derive(Clone, Default)]
pub(crate) struct RequestLog(Option<Arc<Inner>>);

struct Inner {
    settings: RequestLogSettings,
    metrics: Metrics,
    /// Whether any model may have a log.
    is_on: AtomicBool,
    /// The logs of models, as far as they are known.
    models: ArcSwap<HashMap<String, Option<Arc<ModelLog>>>>,
    /// Held while `models` changes.
    changing: Mutex<BTreeMap<String, LogRule>>,
    queue: Arc<Queue<Record>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Whether it has been started.
    has_writer: AtomicBool,
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLog").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

impl RequestLog {
    /// A log with these settings. Its thread starts with the first record.
    pub(crate) fn new(settings: RequestLogSettings, metrics: Metrics) -> Self {
        let is_on = AtomicBool::new(settings.folder.is_some() && settings.rate > 0.0);
        Self(Some(Arc::new(Inner {
            settings,
            metrics,
            is_on,
            models: ArcSwap::default(),
            changing: Mutex::default(),
            queue: Arc::new(Queue::new()),
            writer: Mutex::default(),
            has_writer: AtomicBool::new(false),
        })))
    }

    /// Opens the folder of the settings, if they have one.
    ///
    /// # Errors
    /// If files cannot be created in it. Later failures cost the log alone.
    pub(crate) fn open(&self) -> Result<(), ServerError> {
        let Some(folder) = self.0.as_ref().and_then(|inner| inner.settings.folder.as_ref()) else { return Ok(()) };
        let failed = |source| ServerError::RequestLog { path: folder.clone(), source };
        folder::check_writable(folder).map_err(failed)
    }

    /// Whether any model may have a log.
    pub(crate) fn is_on(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.is_on.load(Ordering::Relaxed))
    }

    /// The log of the next request to a model, if it is to be logged.
    pub(crate) fn sample(&self, model: &str) -> Option<Arc<ModelLog>> {
        let inner = self.0.as_ref().filter(|inner| inner.is_on.load(Ordering::Relaxed))?;
        let models = inner.models.load();
        let log = match models.get(model) {
            Some(log) => log.as_ref().filter(|log| log.samples())?.clone(),
            None => inner.insert(model).filter(|log| log.samples())?,
        };
        Some(log)
    }

    /// Whether the values of an input are never written.
    pub(crate) fn redacts(&self, input: &str) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.settings.redacts(input))
    }

    /// Leaves a record for the writer, or counts it as lost.
    pub(crate) fn submit(&self, record: Record) {
        let Some(inner) = &self.0 else { return };
        let bytes = record.memory();
        match inner.queue.push(record, bytes) {
            Ok(()) if inner.has_writer.load(Ordering::Relaxed) => {}
            Ok(()) => inner.start_writer(),
            Err(record) => record.log.metrics.record_log_loss(LogLoss::Queue, 1),
        }
    }

    /// Checks the rules of models.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if one of them does not say where its log is.
    pub(crate) fn check<'r>(&self, rules: impl Iterator<Item = (&'r str, &'r LogRule)>) -> Result<(), Status> {
        let default = RequestLogSettings::default();
        let settings = self.0.as_ref().map_or(&default, |inner| &inner.settings);
        rules.into_iter().try_for_each(|(model, rule)| rule.destination(model, settings).map(drop))
    }

    /// Whether the files of a client's rule would be in the folder of the log.
    pub(crate) fn permits(&self, rule: &LogRule) -> bool {
        rule.is_below(self.0.as_ref().and_then(|inner| inner.settings.folder.as_deref()))
    }

    /// Sets the rules of models. Those without one follow the settings.
    pub(crate) fn set_rules(&self, rules: BTreeMap<String, LogRule>) {
        let Some(inner) = &self.0 else { return };
        let mut current = inner.rules();
        if *current == rules {
            return;
        }
        let has_rate = |rule: &LogRule| rule.rate() > 0.0;
        let by_settings = inner.settings.folder.is_some() && inner.settings.rate > 0.0;
        inner.is_on.store(by_settings || rules.values().any(has_rate), Ordering::Relaxed);
        *current = rules;
        inner.models.store(Arc::default());
    }

    /// Writes the records that wait, gives the files their final names, and ends the thread. It blocks.
    pub(crate) fn close(&self) {
        let Some(inner) = &self.0 else { return };
        inner.queue.close();
        let writer = inner.writer().take();
        if let Some(writer) = writer {
            // Its panic is in the log.
            let _ = writer.join();
        }
    }
}

impl Inner {
    fn rules(&self) -> MutexGuard<'_, BTreeMap<String, LogRule>> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out whether and where the requests to a model are logged.
    #[cold]
    fn insert(&self, model: &str) -> Option<Arc<ModelLog>> {
        let rules = self.rules();
        let (rate, destination) = match rules.get(model) {
            Some(rule) => (rule.rate(), rule.destination(model, &self.settings).ok().flatten()),
            None => {
                let folder = self.settings.folder.as_deref().filter(|_| self.settings.rate > 0.0);
                let of_model = |folder| Destination::of_model(model, folder, self.settings.format);
                (self.settings.rate, folder.map(of_model))
            }
        };
        let log = destination
            .map(|destination| Arc::new(ModelLog { rate, destination, metrics: self.metrics.register(model) }));
        let mut models = HashMap::clone(&self.models.load());
        models.insert(model.to_owned(), log.clone());
        self.models.store(Arc::new(models));
        log
    }

    #[cold]
    fn start_writer(&self) {
        let mut writer = self.writer();
        if self.has_writer.swap(true, Ordering::Relaxed) {
            return;
        }
        let work = Writer::new(self.settings.clone(), self.queue.clone());
        match thread::Builder::new().name("request log".into()).spawn(move || work.run()) {
            Ok(thread) => *writer = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "the thread of the request log cannot be started");
                self.has_writer.store(false, Ordering::Relaxed);
            }
        }
    }
}
