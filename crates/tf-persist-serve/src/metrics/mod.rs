//! Metrics for Prometheus: TensorFlow Serving's under its names, and our own.

mod batching;
mod buckets;
mod histogram;
mod model;
mod page;
mod settings;
mod summary;
#[cfg(test)]
mod tests;
mod version;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tf_persist_core::Code;

use batching::BatchMetrics;
use histogram::Histogram;
use model::code_index;
pub(crate) use model::{LogLoss, ModelMetrics, RequestStatistics, Total};
pub use page::Gauges;
pub(crate) use page::{ShareGauge, VersionGauge};
pub use settings::MetricsSettings;
pub(crate) use summary::latency_limits_ms;
pub(crate) use version::{ShadowOutcome, VersionMetrics};

/// How many names of unknown models have metrics of their own. Requests may name any model, and every name is kept;
/// beyond this limit they are counted together as [`OTHERS`].
const MAX_MODELS: usize = 1024;
/// The label of models without metrics of their own.
const OTHERS: &str = "(others)";
/// The same limit for folders.
const MAX_PATHS: usize = 65_536;

/// The metrics of a server. Clones share them.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Recording takes no lock, except for a new model, which makes a new map.
#[derive(Default)]
struct Inner {
    models: ArcSwap<BTreeMap<String, Arc<ModelMetrics>>>,
    /// Those of versions, as far as requests are counted by version.
    versions: ArcSwap<BTreeMap<String, BTreeMap<i64, Arc<VersionMetrics>>>>,
    insert_lock: Mutex<()>,
    batches: BatchMetrics,
    paths: Mutex<PathMetrics>,
}

/// Metrics by folder and status code, which change rarely.
#[derive(Default)]
struct PathMetrics {
    loads: BTreeMap<(String, usize), u64>,
    load_micros: BTreeMap<String, u64>,
    warm_ups: BTreeMap<(String, usize), Histogram>,
    warmed_records: BTreeMap<(String, usize), u64>,
}

/// A phase of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting in the queue.
    Queue,
    /// Decoding the request into tensors.
    Decode,
    /// Running in TensorFlow.
    Run,
    /// Encoding the response.
    Encode,
}

impl Metrics {
    /// Metrics that begin at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The metrics of a model. Unknown names have metrics too, up to a limit.
    #[must_use]
    pub fn model(&self, model: &str) -> Arc<ModelMetrics> {
        let models = self.0.models.load();
        models.get(model).map_or_else(|| self.insert(model, false), Arc::clone)
    }

    /// The metrics of a version that was loaded.
    pub(crate) fn version(&self, model: &str, version: i64) -> Arc<VersionMetrics> {
        let versions = self.0.versions.load();
        let found = versions.get(model).and_then(|versions| versions.get(&version));
        found.map_or_else(|| self.insert_version(model, version), Arc::clone)
    }

    /// Records the number of rows of an input of a batched request.
    pub fn record_batch_input(&self, rows: usize) {
        self.0.batches.input.add(rows as u64);
    }

    /// Records how long a batched request waited for its run.
    pub fn record_batch_queue(&self, elapsed: Duration) {
        self.0.batches.queueing.add(nanos(elapsed));
    }

    /// Records the run of a batch of this many rows, plus padding.
    pub fn record_batch(&self, rows: usize, padding: usize) {
        self.0.batches.record_run(rows + padding, padding);
    }

    /// Records that a version was loaded from this folder, or failed to load.
    pub fn record_load(&self, path: &str, refused: Option<Code>, elapsed: Duration) {
        let mut paths = self.paths();
        let path = if paths.loads.len() < MAX_PATHS { path } else { OTHERS };
        *paths.loads.entry((path.to_owned(), usize::from(refused.is_some()))).or_default() += 1;
        *paths.load_micros.entry(path.to_owned()).or_default() += nanos(elapsed) / 1000;
    }

    /// Records that a version was warmed up with this many records, or failed to.
    pub fn record_warm_up(&self, path: &str, refused: Option<Code>, records: usize, elapsed: Duration) {
        let mut paths = self.paths();
        let path = if paths.warm_ups.len() < MAX_PATHS { path } else { OTHERS };
        let key = (path.to_owned(), code_index(refused));
        *paths.warmed_records.entry(key.clone()).or_default() += records as u64;
        let latency = paths.warm_ups.entry(key).or_insert_with(|| Histogram::new(&buckets::LATENCY.limits));
        latency.add(nanos(elapsed));
    }

    /// The value of one of TensorFlow Serving's counters over all labels, by its name there, such as
    /// `/tensorflow/serving/request_count`. 0 for unknown names.
    #[must_use]
    pub fn value(&self, name: &str) -> i64 {
        let count = page::counter(&self.0, name).unwrap_or(0);
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn page(&self, gauges: &Gauges) -> String {
        page::render(&self.0, gauges)
    }

    /// Registers a loaded model: it has metrics of its own, however many unknown names requests have used.
    pub(crate) fn register(&self, model: &str) -> Arc<ModelMetrics> {
        self.insert(model, true)
    }

    /// Inserts the metrics of a model that has none yet.
    #[cold]
    fn insert(&self, model: &str, is_loaded: bool) -> Arc<ModelMetrics> {
        let _growing = self.0.insert_lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let models = self.0.models.load_full();
        let name = if is_loaded || models.len() < MAX_MODELS { model } else { OTHERS };
        if let Some(metrics) = models.get(name) {
            return Arc::clone(metrics);
        }
        let metrics = Arc::new(ModelMetrics::new());
        let mut models = BTreeMap::clone(&models);
        models.insert(name.to_owned(), Arc::clone(&metrics));
        self.0.models.store(Arc::new(models));
        metrics
    }

    /// Inserts the metrics of a version that has none yet.
    #[cold]
    fn insert_version(&self, model: &str, version: i64) -> Arc<VersionMetrics> {
        let _growing = self.0.insert_lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut versions = BTreeMap::clone(&self.0.versions.load());
        let of_model = versions.entry(model.to_owned()).or_default();
        let metrics = Arc::clone(of_model.entry(version).or_insert_with(|| Arc::new(VersionMetrics::new())));
        self.0.versions.store(Arc::new(versions));
        metrics
    }

    fn paths(&self) -> MutexGuard<'_, PathMetrics> {
        self.0.paths.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn nanos(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
