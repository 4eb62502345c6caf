//! Loading versions into TensorFlow.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tf_persist_core::tensor::Tolerance;
use tf_persist_core::warmup::{Outcome, Records};
use tf_persist_core::{
    Code, Error, ErrorKind, LoadOptions, LoadSavedModel, LoadedModel, ModelError, ModelErrorKind, Optimize, SavedModel,
    release_free_memory, release_library_pages,
};
#[cfg(feature = "keras")]
use tf_persist_keras::{OpenOptions, find_keras_file};

use super::intra_op_threads::IntraOpThreads;
use super::load::Loader;
use super::resident::Reservation;
use super::version_entry::{LoadError, LoadJob};
use super::{LoadSettings, Prepare, Servable, WarmUp};
use crate::batching;
use crate::metrics::Metrics;
use crate::milliseconds;
use crate::priority::lower_priority;
use crate::status::Status;

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

    /// Checks of files take time, too.
    fn make_way(&self) {
        if WAS_LOADED.load(Ordering::Relaxed) {
            lower_priority();
        }
    }

    fn prepare(&self) -> Option<&dyn Prepare> {
        self.load.prepare.as_deref()
    }

    fn load(&self, job: &LoadJob, reservation: Option<Reservation>) -> Result<Servable, LoadError> {
        let started = Instant::now();
        let (model, version, path) = (job.model.as_str(), job.version, job.path.as_path());
        let loaded = self.open(job);
        let refused = loaded.as_ref().err().map(|failure| failure.status.code);
        self.metrics.record_load(&path.to_string_lossy(), refused, started.elapsed());
        let servable = loaded?;
        WAS_LOADED.store(true, Ordering::Relaxed);
        if self.load.warm_up {
            self.warm_up(&servable, model, version, path)?;
        }
        if self.load.check {
            let compared = check_answers(servable.model())?;
            tracing::info!(%model, version, compared, "recorded answers compared");
        }
        release_library_pages();
        Ok(servable.with_reservation(reservation))
    }

    fn is_untried(&self, loaded: &Servable) -> bool {
        loaded.model().optimization().is_some_and(|optimization| optimization.untried)
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
    #[cfg(feature = "keras")]
    if let Some(file) = find_keras_file(path) {
        return OpenOptions::default().inference_only(true).open(file)?.to_saved_model();
    }
    SavedModel::open(path)
}

impl TensorFlowLoader {
    fn open(&self, job: &LoadJob) -> Result<Servable, LoadError> {
        let (model, version) = (job.model.as_str(), job.version);
        let loaded = open_model(&job.path).map_err(Error::from).and_then(|saved_model| {
            let options = self.options_for(model, version, &saved_model);
            let may_wait = job.with_trial || self.load.options.optimization() != Optimize::Auto;
            saved_model.load(if may_wait { options } else { options.optimize(Optimize::Remembered) })
        });
        let loaded = loaded.map_err(|error| {
            let (hint, is_final) = (error.hint().map(|hint| format!("{hint:#}")), is_final(&error));
            LoadError { hint, ..LoadError::new(error.into(), is_final) }
        })?;
        for attribute in loaded.ignored_attributes() {
            tracing::warn!(%model, version, %attribute, "model saved by a newer TensorFlow; attribute ignored");
        }
        if let Some(optimization) = loaded.optimization() {
            tracing::info!(%model, version, "it {optimization}");
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

/// Compares the model's answers with those that are recorded in it. Requests that must be replayed in order are left
/// out: they would change the state that is served. Returns how many answers were compared.
fn check_answers(model: &LoadedModel) -> Result<usize, LoadError> {
    let failed = |error: Error| LoadError::new(error.into(), false);
    let Some(records) = Records::open(model.saved_model()).map_err(|error| failed(error.into()))? else { return Ok(0) };
    let mut compared = 0;
    for record in records {
        let record = record.map_err(|error| failed(error.into()))?;
        if record.answer.is_none() {
            continue;
        }
        let replay = model.replay(&record, Tolerance::Rounding).map_err(failed)?;
        if replay.is_different() {
            let message = format!("its answer to recorded request {} differs from the recorded one", replay.number);
            return Err(LoadError::new(Status::new(Code::DataLoss, message), true));
        }
        compared += usize::from(matches!(replay.outcome, Outcome::Compared(_)));
    }
    Ok(compared)
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
