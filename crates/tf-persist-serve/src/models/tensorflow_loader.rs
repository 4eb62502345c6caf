//! Loading versions into TensorFlow.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tf_persist_core::{
    Error, ErrorKind, LoadOptions, LoadSavedModel, ModelError, ModelErrorKind, SavedModel, release_free_memory,
};
use tf_persist_keras::{OpenOptions, find_keras_file};

use super::intra_op_threads::IntraOpThreads;
use super::load::Loader;
use super::state_machine::LoadError;
use super::{LoadSettings, Servable, WarmUp};
use crate::batching;
use crate::metrics::Metrics;
use crate::milliseconds;
use crate::priority::lower_priority;

/// Whether this process has loaded a version. By then TensorFlow has started its threads, which inherit the priority of
/// the thread that starts them.
static WAS_LOADED: AtomicBool = AtomicBool::new(false);

/// Loads versions into TensorFlow.
pub(super) struct TensorFlowLoader {
    pub(super) load: LoadSettings,
    pub(super) intra_op_threads: IntraOpThreads,
    pub(super) run: batching::RunSettings,
    pub(super) metrics: Metrics,
    pub(super) warm_up: WarmUp,
}

impl Loader for TensorFlowLoader {
    type Loaded = Servable;

    fn load(&self, model: &str, version: i64, path: &Path) -> Result<Servable, LoadError> {
        if WAS_LOADED.load(Ordering::Relaxed) {
            lower_priority();
        }
        let started = Instant::now();
        let loaded = self.open(model, version, path);
        let refused = loaded.as_ref().err().map(|failure| failure.status.code);
        self.metrics.record_load(&path.to_string_lossy(), refused, started.elapsed());
        let servable = loaded?;
        WAS_LOADED.store(true, Ordering::Relaxed);
        if self.load.warm_up {
            self.warm_up(&servable, model, version, path)?;
        }
        Ok(servable)
    }

    fn is_busy(&self, loaded: &Servable) -> bool {
        loaded.is_busy()
    }

    fn released(&self) {
        release_free_memory();
    }
}

/// Opens the SavedModel at a path, or the Keras file.
fn open_model(path: &Path) -> Result<SavedModel, ModelError> {
    match find_keras_file(path) {
        Some(file) => OpenOptions::default().inference_only(true).open(file)?.to_saved_model(),
        None => SavedModel::open(path),
    }
}

impl TensorFlowLoader {
    fn open(&self, model: &str, version: i64, path: &Path) -> Result<Servable, LoadError> {
        let loaded = open_model(path).map_err(Error::from).and_then(|saved_model| {
            let options = self.options_for(model, version, &saved_model);
            saved_model.load(options)
        });
        let loaded = loaded.map_err(|error| {
            let (hint, is_final) = (error.hint().map(|hint| format!("{hint:#}")), is_final(&error));
            LoadError { hint, ..LoadError::new(error.into(), is_final) }
        })?;
        for attribute in loaded.ignored_attributes() {
            tracing::warn!(%model, version, %attribute, "model saved by a newer TensorFlow; attribute ignored");
        }
        if let Some(threads) = loaded.other_intra_op_threads() {
            tracing::warn!(%model, version, threads, "the first model of this process determined the number of threads within an op");
        }
        let servable = Servable::new(model, version, loaded, &self.run, &self.metrics);
        servable.map_err(|error| LoadError::new(error, false))
    }

    fn options_for(&self, model: &str, version: i64, saved_model: &SavedModel) -> LoadOptions {
        let options = self.load.options.clone();
        if !self.load.intra_op_threads_by_model {
            return options;
        }
        let (threads, is_regretted) = self.intra_op_threads.decide(saved_model);
        if is_regretted {
            let fewer = threads == 1;
            tracing::warn!(
                %model, version,
                "its ops are {} than those of the version that was loaded first, which determined how many threads share an op; restart the \
                 server, or set the number of threads within an op",
                if fewer { "larger" } else { "smaller" }
            );
        }
        options.intra_op_threads(threads)
    }

    fn warm_up(&self, servable: &Servable, model: &str, version: i64, path: &Path) -> Result<(), LoadError> {
        let started = Instant::now();
        let warmed = (self.warm_up)(servable, self.load.warm_up_iterations);
        let (refused, records) = match &warmed {
            Ok(records) => (None, *records),
            Err(status) => (Some(status.code), 0),
        };
        // A model without warm-up requests is not counted.
        if refused.is_some() || records > 0 {
            self.metrics.record_warm_up(&path.to_string_lossy(), refused, records, started.elapsed());
            tracing::info!(%model, version, records, took_ms = milliseconds(started.elapsed()), "warmed up");
        }
        warmed.map(drop).map_err(|status| LoadError::new(status, false))
    }
}

/// Whether loading the same files again would fail in the same way.
fn is_final(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::OpLibrary | ErrorKind::Runtime => true,
        ErrorKind::Model(kind) => matches!(
            kind,
            ModelErrorKind::Untrusted
                | ModelErrorKind::Unsupported
                | ModelErrorKind::UnknownTags
                | ModelErrorKind::MissingOps
                | ModelErrorKind::MissingVariables
        ),
        _ => false,
    }
}
