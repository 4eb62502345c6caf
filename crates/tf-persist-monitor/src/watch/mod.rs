//! Reads logs into a state or a reference.

mod arrays;
mod look;
mod worker;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use jiff::Timestamp;
use tf_persist_savedmodel::SignatureDef;

use crate::error::{MonitorError, Result};
use crate::log::{LogFile, Piece, find, for_each_piece};
use crate::plan::{Layout, Plan, Side, TensorPlan};
use crate::quality::{Labels, Target, Task, UNKNOWN};
use crate::reference::{FeatureReference, Reference};
use crate::report::{Report, Thresholds, TrafficReport};
use crate::state::State;
use crate::tally::{Edges, NumberTally, Range, Tally};
use look::look;
use worker::{Filter, Wanted, Worker};

/// The quantiles of the data that become edges of bins. A bin has a two-thousandth of the rows, so distances of
/// distributions are off by at most that.
const EDGES: usize = 2048;

/// The `k` of the sketch of which edges are taken.
const EDGES_K: u16 = 4096;

/// The most threads that decode a log.
const MAX_THREADS: usize = 16;

/// What to watch.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Settings {
    /// The model, where the log has several; by default that of the reference, or the most frequent one.
    pub model_name: Option<String>,
    /// The signature; by default that of the reference, or the most frequent one.
    pub signature: Option<String>,
    /// Whether the first dimension of the inputs is rows, as a signature tells; by default, whether they share it.
    pub is_batched: Option<bool>,
    /// The length of a window of time in seconds.
    pub window_seconds: Option<u64>,
    /// Features of which each value is a slice.
    pub slices: Vec<String>,
    /// The output that labels are compared with; by default the only one.
    pub output: Option<String>,
    /// Whether the scores of that output are logits.
    pub logits: bool,
    /// What that output answers; by default as its shape and the labels tell.
    pub task: Option<Task>,
    /// Threads that decode; by default one for each processor.
    pub threads: Option<usize>,
    /// The version whose requests are watched; by default all. Requests without a version are then left out.
    pub version: Option<u64>,
    /// The beginning of the time that is watched; by default all. Requests without a time are then left out.
    pub since: Option<Timestamp>,
}

impl Settings {
    /// Notes whether the first dimension of a signature's inputs is rows: a size that is not known is that of a batch.
    pub fn take_rows_of(&mut self, signature: &SignatureDef) {
        let is_batch = |sizes: Option<&[Option<u64>]>| sizes.is_none_or(|sizes| matches!(sizes, [None, ..]));
        let inputs = &signature.inputs;
        self.is_batched = Some(!inputs.is_empty() && inputs.iter().all(|(_, info)| is_batch(info.shape.sizes())));
    }

    fn thread_count(&self) -> usize {
        let default = || thread::available_parallelism().map_or(1, NonZero::get);
        self.threads.unwrap_or_else(default).clamp(1, MAX_THREADS)
    }

    /// The names for the features of `slices`.
    fn slice_features(&self, plan: &Plan) -> Result<Vec<usize>> {
        if plan.is_of_nothing() {
            return Ok(Vec::new());
        }
        let find = |name: &String| {
            let unknown = || MonitorError::Settings(format!("the log has no feature `{}`", name.escape_debug()));
            plan.feature(name).ok_or_else(unknown)
        };
        self.slices.iter().map(find).collect()
    }
}

/// Counts requests and failures, whatever was asked and answered: logs without one answered request will do.
///
/// # Errors
/// If a file cannot be read, or the log has other models only.
pub fn count_requests(paths: &[PathBuf], settings: &Settings) -> Result<TrafficReport> {
    let mut files = find(paths)?;
    if let Some(since) = settings.since {
        files.retain(|file| !file.is_older_than(since));
    }
    let wanted = look(&files, settings)?.choose(settings, None)?;
    let empty = State::new(Arc::new(Plan::of_nothing(false)), None, None);
    let filter = Filter::new(settings);
    let worker = || Worker::new(empty.clone(), &wanted, None, None, &[]).only(filter);
    let (counted, _) = count(&files, settings, worker)?;
    Ok(Report::new(&counted, None, Thresholds::default())?.traffic)
}

/// Counts the exchanges of logs: files, and folders of files. With a reference, numbers are counted in its bins. A log
/// without answered requests has no features without a reference, and its labels are compared with nothing.
///
/// # Errors
/// If a file cannot be read, or the settings do not go with the log.
pub fn watch(
    paths: &[PathBuf],
    reference: Option<&Reference>,
    labels: Option<&Labels>,
    settings: &Settings,
) -> Result<State> {
    let mut files = find(paths)?;
    if let Some(since) = settings.since {
        files.retain(|file| !file.is_older_than(since));
    }
    let seen = look(&files, settings)?;
    let wanted = seen.choose(settings, reference)?;
    let is_unanswered = seen.is_unanswered(&wanted);
    let (plan, plan_notes) = match reference {
        Some(reference) => (reference.plan.clone(), Vec::new()),
        None if is_unanswered => (Plan::of_nothing(settings.is_batched.unwrap_or(false)), Vec::new()),
        None => seen.plan(&wanted).map_err(MonitorError::Settings)?,
    };
    let plan = Arc::new(plan);
    let target = match labels {
        None => None,
        Some(_) if is_unanswered => None,
        Some(labels) => {
            let outputs = seen.plan(&wanted).map(|(plan, _)| plan.tensors).unwrap_or_default();
            Some(target(&outputs, labels, settings)?)
        }
    };
    let mut state = State::new(plan.clone(), reference, None);
    state.model.clone_from(&wanted.model);
    state.signature.clone_from(&wanted.signature);
    state.target = target;
    state.notes = plan_notes;
    let window = settings.window_seconds.map(|seconds| seconds.max(1).saturating_mul(1_000_000));
    state.window = window.map(|window| i64::try_from(window).unwrap_or(i64::MAX));
    state.slice_names.clone_from(&settings.slices);
    let filter = Filter::new(settings);
    let slices = settings.slice_features(&plan)?;
    let worker = || Worker::new(state.clone(), &wanted, reference, labels, &slices).only(filter);
    let (mut counted, notes) = count(&files, settings, worker)?;
    counted.notes.extend(notes);
    if let Some(labels) = labels {
        let (mut counts, mut notes) = labels.finish();
        if settings.version.is_some() || settings.since.is_some() {
            // Those of requests that were left out are known to nobody.
            counts.unknown = 0;
            notes.retain(|note| !note.starts_with(UNKNOWN));
        }
        counted.labels.merge(&counts);
        counted.notes.extend(notes);
    }
    Ok(counted)
}

/// Reads all files with several workers, and adds up what they counted.
fn count<'w>(files: &[LogFile], settings: &Settings, worker: impl Fn() -> Worker<'w>) -> Result<(State, Vec<String>)> {
    let workers = (0..settings.thread_count()).map(|_| worker()).collect();
    let take = |worker: &mut Worker<'w>, piece: Piece| {
        worker.take(piece);
        true
    };
    let (workers, notes) = for_each_piece(files, workers, take)?;
    Ok((Worker::merge(workers)?, notes))
}

/// Makes a reference of logs, in two passes: the first finds the edges of bins, the second counts in them. Returns
/// sentences about what was left out, too.
///
/// # Errors
/// If a file cannot be read, or has no answered request.
pub fn reference_of_logs(paths: &[PathBuf], settings: &Settings) -> Result<(Reference, Vec<String>)> {
    let files = find(paths)?;
    let seen = look(&files, settings)?;
    let wanted = seen.choose(settings, None)?;
    let (plan, mut notes) = seen.plan(&wanted).map_err(MonitorError::Settings)?;
    let plan = Arc::new(plan);
    let mut empty = State::new(plan.clone(), None, Some(EDGES_K));
    empty.model.clone_from(&wanted.model);
    empty.signature.clone_from(&wanted.signature);
    let (sketched, _) = count(&files, settings, || Worker::new(empty.clone(), &wanted, None, None, &[]))?;
    let edges: Vec<Option<Arc<Edges>>> = sketched.tallies.iter().map(edges_of).collect();
    let mut binned = empty.clone();
    binned.tallies = with_edges(&sketched.tallies, &edges);
    let (counted, of_files) = count(&files, settings, || Worker::new(binned.clone(), &wanted, None, None, &[]))?;
    if counted.traffic.rows == 0 {
        return Err(MonitorError::Settings(
            "the log has no answered request of which a reference could be made".into(),
        ));
    }
    notes.extend(of_files);
    notes.extend(crate::report::notes_of(&counted));
    Ok((finish(&wanted.model, &wanted.signature, &plan, &counted, &edges), notes))
}

/// The arrays of training data: those of a .npz file, with rows in their first dimension.
#[derive(Debug)]
#[non_exhaustive]
pub struct Arrays<'a> {
    /// The file.
    pub path: &'a Path,
    /// The names of the model's inputs and outputs. Other arrays are left out.
    pub inputs: Vec<String>,
    /// The outputs.
    pub outputs: Vec<String>,
}

impl<'a> Arrays<'a> {
    /// The arrays of a file. Without names, all are inputs.
    #[must_use]
    pub fn new(path: &'a Path, inputs: Vec<String>, outputs: Vec<String>) -> Self {
        Self { path, inputs, outputs }
    }
}

/// Makes a reference of arrays.
///
/// # Errors
/// If the file cannot be read, or its arrays do not have as many rows each.
pub fn reference_of_arrays(arrays: &Arrays<'_>, settings: &Settings) -> Result<(Reference, Vec<String>)> {
    let data = arrays::Data::read(arrays)?;
    let (plan, notes) = data.plan().map_err(MonitorError::Settings)?;
    let plan = Arc::new(plan);
    let state = State::new(plan.clone(), None, Some(EDGES_K));
    let wanted = Wanted {
        model: settings.model_name.clone().unwrap_or_default(),
        signature: settings.signature.clone().unwrap_or_default(),
    };
    let mut first = Worker::new(state.clone(), &wanted, None, None, &[]);
    data.for_each(|exchange| first.answered(exchange, false))?;
    let sketched = first.into_state();
    let edges: Vec<Option<Arc<Edges>>> = sketched.tallies.iter().map(edges_of).collect();
    let mut binned = state;
    binned.tallies = with_edges(&sketched.tallies, &edges);
    let mut second = Worker::new(binned, &wanted, None, None, &[]);
    data.for_each(|exchange| second.answered(exchange, false))?;
    let counted = second.into_state();
    Ok((finish(&wanted.model, &wanted.signature, &plan, &counted, &edges), [notes, data.notes].concat()))
}

fn edges_of(tally: &Tally) -> Option<Arc<Edges>> {
    let Tally::Number(number) = tally else { return None };
    let ranks: Vec<f64> = (0..=EDGES).map(|rank| rank as f64 / EDGES as f64).collect();
    Edges::from_quantiles(&number.quantiles(&ranks)).map(Arc::new)
}

/// Empty counts in these edges.
fn with_edges(sketched: &[Tally], edges: &[Option<Arc<Edges>>]) -> Vec<Tally> {
    let empty = |(tally, edges): (&Tally, &Option<Arc<Edges>>)| match (tally, edges) {
        (Tally::Number(number), Some(edges)) => {
            let bounds = number.range.unwrap_or(Range { min: f64::NEG_INFINITY, max: f64::INFINITY });
            Tally::Number(Box::new(NumberTally::in_bins(edges.clone(), bounds)))
        }
        (Tally::Number(_), None) => crate::reference::empty_tally(false, EDGES_K),
        (Tally::Category(_), _) => crate::reference::empty_tally(true, EDGES_K),
    };
    sketched.iter().zip(edges).map(empty).collect()
}

fn finish(model: &str, signature: &str, plan: &Arc<Plan>, counted: &State, edges: &[Option<Arc<Edges>>]) -> Reference {
    let features = counted.tallies.iter().zip(edges);
    let features = features.map(|(tally, edges)| FeatureReference::from_tally(tally, edges.as_ref())).collect();
    let reference = Reference {
        model: model.to_owned(),
        signature: signature.to_owned(),
        made: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        rows: counted.traffic.rows,
        plan: Plan::clone(plan),
        features,
        identity: String::new(),
    };
    reference.identified()
}

/// Which output the labels are for, and what it answers.
fn target(tensors: &[TensorPlan], labels: &Labels, settings: &Settings) -> Result<Target> {
    let outputs: BTreeMap<&str, &TensorPlan> = tensors
        .iter()
        .filter(|tensor| tensor.side == Side::Output)
        .map(|tensor| (tensor.name.as_str(), tensor))
        .collect();
    let names: Vec<&str> = outputs.keys().copied().collect();
    let listed = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let tensor = match (&settings.output, names.as_slice()) {
        (Some(name), _) => outputs.get(name.as_str()).copied().ok_or_else(|| {
            MonitorError::Settings(format!("the log has no output `{}`; its outputs are {listed}", name.escape_debug()))
        })?,
        (None, [name]) => outputs.get(name).copied().ok_or_else(|| MonitorError::Settings(listed.clone()))?,
        (None, []) => return Err(MonitorError::Settings("the log has no answers to compare labels with".into())),
        // The answer to a classification has scores beside the names of classes.
        (None, _) => match outputs.get("scores") {
            Some(scores) if outputs.len() == 2 && outputs.contains_key("classes") => scores,
            _ => return Err(MonitorError::SeveralOutputs { outputs: listed }),
        },
    };
    let is_text = tensor.is_category && tensor.layout == Layout::Elements && !labels.are_binary();
    let task = settings.task.unwrap_or(match tensor.elements {
        Some(1) if is_text => Task::Text,
        Some(1) if labels.are_binary() => Task::Binary,
        Some(elements) if elements > 1 => Task::Classes,
        _ => Task::Regression,
    });
    Ok(Target { output: tensor.name.clone(), task, is_logits: settings.logits })
}
