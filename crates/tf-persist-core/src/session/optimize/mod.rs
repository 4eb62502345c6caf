//! The fast path: a model that is changed in memory while it is loaded, and the trial that decides whether it is used.
//!
//! - `requests`: the requests of the trial.
//! - `trial`: compares answers and times.
//! - `remembered`: the results of earlier trials.

mod remembered;
mod requests;
mod trial;

use std::fmt;
use std::time::{Duration, Instant};

use tf_persist_savedmodel::internals::{FrozenModel, first_effect};
use tf_persist_savedmodel::printable;

use super::LoadedModel;
use super::load::Checked;
use super::options::LoadOptions;
use crate::error::{Error, ModelError, Result};
use crate::ffi::release_free_memory;
use remembered::Remembered;
use trial::{Trial, Verdict};

/// The time after which no further form of a model is tried. The first is always tried.
const BUDGET: Duration = Duration::from_secs(2);

/// The bytes of variables up to which [`Optimize::Auto`](super::Optimize) makes constants of them: while it tries them,
/// they are in memory three times.
const MAX_TRIED_BYTES: u64 = 512 << 20;

/// Why nothing becomes a constant.
const NO_VARIABLES: &str = "it has no variables";
const OPTIMIZED: &str = "it was optimised when it was exported";

/// Why a form was not tried that may be the better one at another time.
const TIME_WAS_OVER: &str = "the time for the trial was over";

/// Why a model is as it was that may be tried later.
const NOT_TRIED: &str = "it was not tried yet";

/// A form that is not faster by this factor is not worth other bits.
const WORTHWHILE: f64 = 1.03;

/// What [`LoadOptions::optimize`] came to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Optimization {
    /// Whether variables became constants.
    pub constants: bool,
    /// Whether the graph was simplified as well: calls and loops of known length became nodes, and what follows a
    /// convolution or a matrix product a part of its weights.
    pub simplified: bool,
    /// Whether graphs run in the calling thread although the options left that to TensorFlow.
    pub calling_thread: bool,
    /// Whether one thread computes each op although the options left that to TensorFlow. It is tried where each session
    /// has its own threads, see [`LoadOptions::intra_op_threads`].
    pub one_thread_an_op: bool,
    /// How many times as fast it was in the trial as the model as it is; `None` if it was not tried.
    pub speedup: Option<f64>,
    /// How many requests were tried.
    pub requests: usize,
    /// Why the variables did not become constants, as the end of a sentence about the model; else `None`.
    pub reason: Option<String>,
    /// Whether the trial was that of an earlier load, whose result was remembered.
    pub remembered: bool,
    /// What was not simplified because of a mistake in this library, such as `loops`; worth a report. The model is as
    /// fast as without it, and its answers are right.
    pub failed: Vec<&'static str>,
    /// Whether it may become faster by a trial, which was left out.
    pub untried: bool,
}

impl Optimization {
    fn none(reason: impl Into<String>) -> Self {
        Self {
            constants: false,
            simplified: false,
            calling_thread: false,
            one_thread_an_op: false,
            speedup: None,
            requests: 0,
            reason: Some(reason.into()),
            remembered: false,
            failed: Vec::new(),
            untried: false,
        }
    }
}

impl fmt::Display for Optimization {
    /// A predicate: "has constants for variables; 2.1 times as fast in a trial of 4 requests".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.constants, self.simplified) {
            (true, true) => "has constants for variables and is simplified",
            (true, false) => "has constants for variables",
            (false, _) => "is as it was",
        })?;
        if self.calling_thread {
            f.write_str(", and runs in the calling thread")?;
        }
        if self.one_thread_an_op {
            f.write_str(", with one thread an op")?;
        }
        if let Some(speedup) = self.speedup {
            let requests = if self.requests == 1 { "request" } else { "requests" };
            let trial = if self.remembered { "an earlier trial" } else { "a trial" };
            write!(f, "; {speedup:.2} times as fast in {trial} of {} {requests}", self.requests)?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        if !self.failed.is_empty() {
            write!(f, "; a mistake in tf-persist kept it from changing its {}", self.failed.join(" and its "))?;
        }
        Ok(())
    }
}

/// Loads a model with its variables as constants if that is possible, simplified if that is possible, too.
pub(super) fn without_trial(checked: &Checked<'_>, options: &LoadOptions) -> Result<LoadedModel> {
    let mut why = None;
    for form in [Form::Simplified, Form::Constants] {
        let frozen = form.graph(checked, options).map_err(Error::from);
        match frozen.and_then(|graph| Ok((checked.load_frozen(&graph, options)?, graph.failed))) {
            Ok((loaded, failed)) => {
                let simplified = form == Form::Simplified;
                let none = Optimization::none("");
                let done = Optimization { constants: true, simplified, reason: None, failed, ..none };
                return Ok(loaded.with(done));
            }
            Err(error) => why = Some(reason(&error)),
        }
    }
    Ok(checked.load(options)?.with(Optimization::none(why.unwrap_or_default())))
}

/// How a graph is changed, from the fastest to the one that changes the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Simplified,
    Constants,
    AsItIs,
}

impl Form {
    /// The graph in this form. The model as it is has none.
    fn graph(self, checked: &Checked<'_>, options: &LoadOptions) -> Result<FrozenModel, ModelError> {
        let simplified = (self == Self::Simplified).then_some(options.asserts);
        checked.model.freeze(&checked.meta_graph, simplified)
    }
}

/// Which threads run a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threads {
    /// The calling thread, and those of TensorFlow within an op.
    Calling,
    /// The calling thread alone.
    One,
    /// Those that the options ask for.
    OfTensorFlow,
}

impl Threads {
    /// The calling thread is nearly always the fastest.
    const ALL: [Self; 3] = [Self::Calling, Self::One, Self::OfTensorFlow];

    /// Whether the caller has left the choice.
    fn are_free(self, options: &LoadOptions) -> bool {
        match self {
            Self::Calling => options.inter_op_threads == 0,
            Self::One => options.inter_op_threads == 0 && options.may_choose_intra_op_threads(),
            Self::OfTensorFlow => true,
        }
    }

    fn set(self, options: &LoadOptions) -> LoadOptions {
        let options = options.clone();
        match self {
            Self::Calling => options.inter_op_threads(-1),
            Self::One => options.inter_op_threads(-1).intra_op_threads(1),
            Self::OfTensorFlow => options,
        }
    }

    fn noted(self, done: Optimization) -> Optimization {
        Optimization { calling_thread: self != Self::OfTensorFlow, one_thread_an_op: self == Self::One, ..done }
    }

    fn of(done: &Optimization) -> Self {
        match (done.calling_thread, done.one_thread_an_op) {
            (true, true) => Self::One,
            (true, false) => Self::Calling,
            (false, _) => Self::OfTensorFlow,
        }
    }
}

/// The forms of a model that are tried.
struct Candidates<'c> {
    checked: &'c Checked<'c>,
    options: &'c LoadOptions,
    trial: &'c Trial,
    end: Instant,
    /// The number of forms that were tried.
    tried: usize,
    best: Option<(LoadedModel, Optimization)>,
    /// Why variables did not become constants, as far as is known.
    not_frozen: Option<String>,
}

impl Candidates<'_> {
    /// Tries a form. Returns whether it answered as the model as it is.
    fn try_form(&mut self, form: Form) -> bool {
        let graph = match form {
            Form::AsItIs => None,
            changed => match changed.graph(self.checked, self.options) {
                Ok(graph) => Some(graph),
                Err(error) => {
                    self.not_frozen.get_or_insert_with(|| reason(&error.into()));
                    return false;
                }
            },
        };
        let mut answers = false;
        for threads in Threads::ALL {
            // As it is, the model is known.
            let is_known = form == Form::AsItIs && threads == Threads::OfTensorFlow;
            let is_late = self.tried > 0 && Instant::now() > self.end;
            if is_known || !threads.are_free(self.options) || is_late {
                continue;
            }
            self.tried += 1;
            let options = threads.set(self.options);
            let loaded = match &graph {
                Some(graph) => self.checked.load_frozen(graph, &options),
                None => self.checked.load(&options),
            };
            let tried = loaded.map_err(|error| reason(&error)).and_then(|loaded| match self.trial.of(&loaded) {
                Verdict::Same { speedup } => Ok((loaded, speedup)),
                Verdict::Other(reason) => Err(reason),
            });
            match tried {
                Ok((loaded, speedup)) => {
                    answers = true;
                    let failed = graph.as_ref().map_or_else(Vec::new, |graph| graph.failed.clone());
                    let none = Optimization::none("");
                    let done = Optimization { speedup: Some(speedup), failed, ..none };
                    self.take_if_faster(loaded, form, threads.noted(done));
                }
                Err(reason) if form != Form::AsItIs => drop(self.not_frozen.get_or_insert(reason)),
                Err(_) => {}
            }
        }
        answers
    }

    fn take_if_faster(&mut self, loaded: LoadedModel, form: Form, done: Optimization) {
        let fastest = self.best.as_ref().and_then(|(_, best)| best.speedup).unwrap_or(WORTHWHILE);
        let (constants, simplified) = (form != Form::AsItIs, form == Form::Simplified);
        if done.speedup > Some(fastest) {
            let requests = self.trial.requests();
            let done = Optimization { constants, simplified, requests, reason: None, ..done };
            self.best = Some((loaded, done));
        } else if constants {
            self.not_frozen.get_or_insert_with(|| "that was not faster".to_owned());
        }
    }
}

/// Loads a model in the form that was the fastest in an earlier trial.
fn as_remembered(checked: &Checked<'_>, options: &LoadOptions, done: Optimization) -> Result<LoadedModel> {
    let options = Threads::of(&done).set(options);
    let form = match (done.constants, done.simplified) {
        (true, true) => Form::Simplified,
        (true, false) => Form::Constants,
        (false, _) => return Ok(checked.load(&options)?.with(done)),
    };
    let graph = form.graph(checked, &options)?;
    let loaded = checked.load_frozen(&graph, &options)?;
    Ok(loaded.with(Optimization { failed: graph.failed, ..done }))
}

/// Loads a model as it is and in other forms, and returns the form that was the fastest and answered the same. Without
/// a trial, returns the form that an earlier one chose, else the model as it is.
pub(super) fn fastest(checked: &Checked<'_>, options: &LoadOptions, with_trial: bool) -> Result<LoadedModel> {
    let has_variables = checked.model.variables().is_ok_and(|variables| variables.index.is_some());
    let nothing_to_try = !has_variables && options.inter_op_threads != 0;
    let no_variables = if checked.is_optimized { OPTIMIZED } else { NO_VARIABLES };
    if let Some(reason) = nothing_to_try.then(|| no_variables.to_owned()).or_else(|| untried(checked)) {
        return Ok(checked.load(options)?.with(Optimization::none(reason)));
    }
    let remembered = Remembered::new(checked, options);
    if let Some(done) = remembered.as_ref().and_then(Remembered::read)
        && let Ok(loaded) = as_remembered(checked, options, done)
    {
        return Ok(loaded);
    }
    let original = checked.load(options)?;
    if !with_trial {
        return Ok(original.with(Optimization { untried: true, ..Optimization::none(NOT_TRIED) }));
    }
    let end = Instant::now() + BUDGET;
    let trial = match Trial::new(&original, options.optimize_tolerance, end) {
        Ok(trial) => trial,
        Err(reason) => return Ok(original.with(Optimization::none(reason))),
    };
    let not_frozen = (!has_variables).then(|| no_variables.to_owned());
    let mut candidates = Candidates { checked, options, trial: &trial, end, tried: 0, best: None, not_frozen };
    // Constants alone are slower than what they make possible.
    let _ = has_variables && (candidates.try_form(Form::Simplified) || candidates.try_form(Form::Constants));
    candidates.try_form(Form::AsItIs);
    let Candidates { best, not_frozen, .. } = candidates;
    let requests = trial.requests();
    let (loaded, mut optimization) =
        best.unwrap_or_else(|| (original.clone(), Optimization { requests, ..Optimization::none("") }));
    if !optimization.constants {
        optimization.reason = Some(not_frozen.unwrap_or_else(|| TIME_WAS_OVER.into()));
    }
    if let Some(remembered) = remembered.filter(|_| optimization.reason.as_deref() != Some(TIME_WAS_OVER)) {
        remembered.write(&optimization);
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
