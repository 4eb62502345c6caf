//! What is measured, for Prometheus: TensorFlow Serving's measures under its names, and ours.

mod batching;
mod buckets;
mod histogram;
mod model;
mod page;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tf_persist_core::Code;

use batching::BatchMetrics;
use histogram::Histogram;
pub(crate) use model::ModelMetrics;
use model::code_index;
pub use page::Gauges;
pub(crate) use page::VersionGauge;
pub use settings::MetricsSettings;

/// Names that are measured apart though no model of that name was loaded. Requests may name any model, and each name that is seen is
/// kept; beyond this many they are counted together, under [`OTHERS`].
const MAX_MODELS: usize = 1024;
/// The name of those that are not measured apart.
const OTHERS: &str = "(others)";
/// The same for folders.
const MAX_PATHS: usize = 65_536;

/// The measures of a server. Cloning shares them.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Reading takes no lock; a model that is seen for the first time makes a new table.
#[derive(Default)]
struct Inner {
    models: ArcSwap<BTreeMap<String, Arc<ModelMetrics>>>,
    insert_lock: Mutex<()>,
    batches: BatchMetrics,
    paths: Mutex<PathMetrics>,
}

/// What is measured by folder and the number of a code, which happens seldom.
#[derive(Default)]
struct PathMetrics {
    loads: BTreeMap<(String, usize), u64>,
    load_micros: BTreeMap<String, u64>,
    warm_ups: BTreeMap<(String, usize), Histogram>,
    warmed_records: BTreeMap<(String, usize), u64>,
}

/// A part of the way of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for a runner.
    Queue,
    /// Bytes into tensors.
    Decode,
    /// TensorFlow's run.
    Run,
    /// Tensors into bytes.
    Encode,
}

impl Metrics {
    /// Measures that begin at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The measures of a model. Those of a name that no model has are kept too, up to some number of names.
    #[must_use]
    pub fn model(&self, model: &str) -> Arc<ModelMetrics> {
        let models = self.0.models.load();
        models.get(model).map_or_else(|| self.insert(model, false), Arc::clone)
    }

    /// An input of a request that is batched has so many rows.
    pub fn record_batch_input(&self, rows: usize) {
        self.0.batches.input.add(rows as u64);
    }

    /// A request that is batched waited so long for its run.
    pub fn record_batch_queue(&self, elapsed: Duration) {
        self.0.batches.queueing.add(nanos(elapsed));
    }

    /// A batch was run: of so many rows, with so many more to fill it up.
    pub fn record_batch(&self, rows: usize, padding: usize) {
        self.0.batches.record_run(rows + padding, padding);
    }

    /// A version was loaded, or could not be, from this folder.
    pub fn record_load(&self, path: &str, refused: Option<Code>, elapsed: Duration) {
        let mut paths = self.paths();
        let path = if paths.loads.len() < MAX_PATHS { path } else { OTHERS };
        *paths.loads.entry((path.to_owned(), usize::from(refused.is_some()))).or_default() += 1;
        *paths.load_micros.entry(path.to_owned()).or_default() += nanos(elapsed) / 1000;
    }

    /// A version was warmed up, or could not be, with so many records.
    pub fn record_warm_up(&self, path: &str, refused: Option<Code>, records: usize, elapsed: Duration) {
        let mut paths = self.paths();
        let path = if paths.warm_ups.len() < MAX_PATHS { path } else { OTHERS };
        let key = (path.to_owned(), code_index(refused));
        *paths.warmed_records.entry(key.clone()).or_default() += records as u64;
        let latency = paths.warm_ups.entry(key).or_insert_with(|| Histogram::new(&buckets::LATENCY.limits));
        latency.add(nanos(elapsed));
    }

    /// What one of TensorFlow Serving's counters stands at, over all labels; by its name there, such as
    /// `/tensorflow/serving/request_count`. 0 if it is none of those that are kept.
    #[must_use]
    pub fn value(&self, name: &str) -> i64 {
        let count = page::counter(&self.0, name).unwrap_or(0);
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// All measures as text, for Prometheus.
    #[must_use]
    pub fn page(&self, gauges: &Gauges) -> String {
        page::render(&self.0, gauges)
    }

    /// A model of this name is loaded: it is measured apart, however many names requests have made up.
    pub(crate) fn register(&self, model: &str) -> Arc<ModelMetrics> {
        self.insert(model, true)
    }

    /// The measures of a model that were not there when they were looked for.
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

    fn paths(&self) -> MutexGuard<'_, PathMetrics> {
        self.0.paths.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn nanos(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
