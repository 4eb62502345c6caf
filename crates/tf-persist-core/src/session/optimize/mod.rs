//! The fast path: a model that is changed in memory while it is loaded, and the trial that decides whether it is used.
//!
//! - `requests`: the requests of the trial.
//! - `trial`: compares answers and times.

mod requests;
mod trial;

use std::fmt;
use std::time::{Duration, Instant};

use tf_persist_savedmodel::internals::first_effect;
use tf_persist_savedmodel::printable;

use super::LoadedModel;
use super::load::Checked;
use super::options::LoadOptions;
use crate::error::{Error, ModelError, Result};
use crate::ffi::release_free_memory;
use trial::{Trial, Verdict};

/// The time after which no further form of a model is tried.
const BUDGET: Duration = Duration::from_secs(2);

/// The bytes of variables up to which [`Optimize::Auto`](super::Optimize) makes constants of them: while it tries them,
/// they are in memory three times.
const MAX_TRIED_BYTES: u64 = 512 << 20;

/// Why nothing becomes a constant.
const NO_VARIABLES: &str = "it has no variables";

/// A form that is not faster by this factor is not worth other bits.
const WORTHWHILE: f64 = 1.03;

/// What [`LoadOptions::optimize`] came to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Optimization {
    /// Whether variables became constants.
    pub constants: bool,
    /// Whether graphs run in the calling thread although the options left that to TensorFlow.
    pub calling_thread: bool,
    /// How many times as fast it was in the trial as the model as it is; `None` if it was not tried.
    pub speedup: Option<f64>,
    /// How many requests were tried.
    pub requests: usize,
    /// Why the variables did not become constants, as the end of a sentence about the model; else `None`.
    pub reason: Option<String>,
}

impl Optimization {
    fn none(reason: impl Into<String>) -> Self {
        Self { constants: false, calling_thread: false, speedup: None, requests: 0, reason: Some(reason.into()) }
    }
}

impl fmt::Display for Optimization {
    /// A predicate: "has constants for variables; 2.1 times as fast in a trial of 4 requests".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.constants, self.calling_thread) {
            (true, true) => f.write_str("has constants for variables, and runs in the calling thread")?,
            (true, false) => f.write_str("has constants for variables")?,
            (false, true) => f.write_str("is as it was, and runs in the calling thread")?,
            (false, false) => f.write_str("is as it was")?,
        }
        if let Some(speedup) = self.speedup {
            let requests = if self.requests == 1 { "request" } else { "requests" };
            write!(f, "; {speedup:.2} times as fast in a trial of {} {requests}", self.requests)?;
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// Loads a model with its variables as constants if that is possible.
pub(super) fn without_trial(checked: &Checked<'_>, options: &LoadOptions) -> Result<LoadedModel> {
    let frozen = checked.model.freeze(&checked.meta_graph).map_err(Error::from);
    match frozen.and_then(|graph| checked.load_frozen(&graph, options)) {
        Ok(loaded) => Ok(loaded.with(Optimization { constants: true, reason: None, ..Optimization::none("") })),
        Err(error) => Ok(checked.load(options)?.with(Optimization::none(reason(&error)))),
    }
}

/// Loads a model as it is and in other forms, and returns the form that was the fastest and answered the same.
pub(super) fn fastest(checked: &Checked<'_>, options: &LoadOptions) -> Result<LoadedModel> {
    let original = checked.load(options)?;
    let has_variables = checked.model.variables().is_ok_and(|variables| variables.index.is_some());
    if !has_variables && options.inter_op_threads != 0 {
        return Ok(original.with(Optimization::none(NO_VARIABLES)));
    }
    let started = Instant::now();
    let trial = match untried(checked) {
        Some(reason) => Err(reason),
        None => Trial::new(&original, options.optimize_tolerance, started + BUDGET),
    };
    let trial = match trial {
        Ok(trial) => trial,
        Err(reason) => return Ok(original.with(Optimization::none(reason))),
    };
    let mut best = (original.clone(), Optimization { requests: trial.requests(), ..Optimization::none("") });
    let mut not_frozen = None;
    let frozen = match has_variables {
        true => checked.model.freeze(&checked.meta_graph).map_err(|error| reason(&error.into())),
        false => Err(NO_VARIABLES.to_owned()),
    };
    let frozen = frozen.map_err(|reason| not_frozen = Some(reason)).ok();
    for (constants, calling_thread) in [(true, false), (true, true), (false, true)] {
        // The caller may have decided on the threads.
        if calling_thread && options.inter_op_threads != 0 || Instant::now() > started + BUDGET {
            continue;
        }
        let options = if calling_thread { options.clone().inter_op_threads(-1) } else { options.clone() };
        let graph = if constants { frozen.as_ref() } else { None };
        if constants && graph.is_none() {
            continue;
        }
        let tried = match graph {
            Some(graph) => checked.load_frozen(graph, &options),
            None => checked.load(&options),
        };
        let tried = tried.map_err(|error| reason(&error)).and_then(|loaded| match trial.of(&loaded) {
            Verdict::Same { speedup } => Ok((loaded, speedup)),
            Verdict::Other(reason) => Err(reason),
        });
        match tried {
            Err(reason) if constants => not_frozen = not_frozen.or(Some(reason)),
            Err(_) => {}
            Ok((loaded, speedup)) if speedup > best.1.speedup.unwrap_or(WORTHWHILE) => {
                let (requests, speedup) = (trial.requests(), Some(speedup));
                best = (loaded, Optimization { constants, calling_thread, speedup, requests, reason: None });
            }
            Ok(_) if constants => drop(not_frozen.get_or_insert_with(|| "that was not faster".to_owned())),
            Ok(_) => {}
        }
    }
    let (loaded, mut optimization) = best;
    if !optimization.constants {
        optimization.reason = Some(not_frozen.unwrap_or_else(|| "the time for the trial was over".into()));
    }
    // The other forms may have been large.
    drop((trial, original));
    release_free_memory();
    Ok(loaded.with(optimization))
}

/// Why a model is not tried, if it is not.
fn untried(checked: &Checked<'_>) -> Option<String> {
    for signature in checked.meta_graph.signatures() {
        if let Some((op, node)) = first_effect(checked.model, &checked.meta_graph, signature) {
            let (name, node) = (printable(&signature.name), printable(&node));
            return Some(format!("signature `{name}` does more than compute, by the op `{op}` of the node `{node}`"));
        }
    }
    let bytes = checked.model.variables().map_or(0, |variables| variables.total_bytes);
    (bytes > MAX_TRIED_BYTES)
        .then(|| format!("its variables have {bytes} bytes, and up to {MAX_TRIED_BYTES} are tried"))
}

/// Why a form of a model could not be made, on one line, without the path, which whoever shows it knows.
fn reason(error: &Error) -> String {
    let text = match error {
        Error::Model(ModelError::CannotExport { reason, .. } | ModelError::Unsupported { reason, .. }) => {
            reason.clone()
        }
        error => error.to_string(),
    };
    text.lines().next().unwrap_or_default().to_owned()
}
