//! Loading versions into TensorFlow.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tf_persist_core::{Error, LoadOptions, SavedModel, release_free_memory};

use super::load::Loader;
use super::model::Refusal;
use super::threads::IntraOpThreads;
use super::{LoadSettings, Servable, warm_up};
use crate::metrics::Metrics;
use crate::run;

/// Whether a version was loaded in this process. TensorFlow has started its threads by then, which keep the priority of the thread
/// that started them.
static WAS_LOADED: AtomicBool = AtomicBool::new(false);

/// How much more room threads that load leave to others, as `nice` counts it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Loads versions into TensorFlow.
pub(super) struct TensorFlow {
    pub(super) load: LoadSettings,
    pub(super) intra_op_threads: IntraOpThreads,
    pub(super) run: run::Settings,
    pub(super) metrics: Metrics,
}

impl Loader for TensorFlow {
    type Loaded = Servable;

    fn load(&self, model: &str, version: i64, path: &Path) -> Result<Servable, Refusal> {
        if WAS_LOADED.load(Ordering::Relaxed) {
            leave_room();
        }
        let begun = Instant::now();
        let loaded = self.open(model, version, path);
        let refused = loaded.as_ref().err().map(|refusal| refusal.status.code);
        self.metrics.load(&path.to_string_lossy(), refused, begun.elapsed());
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

impl TensorFlow {
    fn open(&self, model: &str, version: i64, path: &Path) -> Result<Servable, Refusal> {
        let loaded = SavedModel::open(path).and_then(|artefact| {
            let options = self.options_for(model, version, &artefact);
            artefact.load(options)
        });
        let loaded = loaded.map_err(|error| {
            if let Some(hint) = error.hint() {
                tracing::warn!(%model, version, "{hint}");
            }
            let is_final = is_final(&error);
            Refusal { status: error.into(), is_final }
        })?;
        for attribute in loaded.ignored_attributes() {
            tracing::warn!(%model, version, %attribute, "its TensorFlow was newer: an attribute is left out of account");
        }
        if let Some(threads) = loaded.other_intra_op_threads() {
            tracing::warn!(%model, version, threads, "the first model of this process decided how many threads run within an op");
        }
        let servable = Servable::new(model, version, loaded, &self.run, &self.metrics);
        servable.map_err(|error| Refusal { status: error, is_final: false })
    }

    fn options_for(&self, model: &str, version: i64, artefact: &SavedModel) -> LoadOptions {
        let options = self.load.options.clone();
        if !self.load.intra_op_threads_by_model {
            return options;
        }
        let (threads, is_regretted) = self.intra_op_threads.decide(artefact);
        if is_regretted {
            let fewer = threads == 1;
            tracing::warn!(
                %model, version,
                "its ops are {} than those of the version that was loaded first, which decided for this process how many threads share an \
                 op: restart the server, or say it with --tensorflow_intra_op_parallelism",
                if fewer { "larger" } else { "smaller" }
            );
        }
        options.intra_op_threads(threads)
    }

    fn warm_up(&self, servable: &Servable, model: &str, version: i64, path: &Path) -> Result<(), Refusal> {
        let begun = Instant::now();
        let warmed = warm_up::run(servable, self.load.warm_up_iterations);
        let (refused, records) = match &warmed {
            Ok(records) => (None, *records),
            Err(status) => (Some(status.code), 0),
        };
        // Of a model that brings no requests along there is nothing to be measured.
        if refused.is_some() || records > 0 {
            self.metrics.warm_up(&path.to_string_lossy(), refused, records, begun.elapsed());
            tracing::info!(%model, version, records, took = ?begun.elapsed(), "warmed up");
        }
        warmed.map(drop).map_err(|status| Refusal { status, is_final: false })
    }
}

/// Whether the same files would be refused in the same way however often.
fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::Untrusted { .. }
            | Error::Unsupported { .. }
            | Error::UnknownTags { .. }
            | Error::MissingOps(_)
            | Error::OpLibrary(_)
            | Error::Runtime(_)
    )
}

/// Lets this thread stand back behind those that answer requests.
fn leave_room() {
    // Of a thread, on Linux; elsewhere this would be the process's priority.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "loading keeps its priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    /// The niceness of the thread that asks (`proc_pid_stat(5)`).
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn one_thread_stands_back() {
        let before = niceness();
        let (own, heir) = std::thread::spawn(|| {
            super::leave_room();
            (niceness(), std::thread::spawn(niceness).join().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((own, heir), (super::NICENESS.max(before), super::NICENESS.max(before)));
        assert_eq!(niceness(), before);
    }
}
