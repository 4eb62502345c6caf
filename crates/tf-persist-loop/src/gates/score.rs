//! Figures of a model over held-out rows.

use tf_persist_core::train::Dataset;
use tf_persist_core::{LoadedModel, SavedModel, Tensor};
use tf_persist_monitor::{Evaluation, Task};

use super::numbers::numbers;
use crate::config::{Config, Metric};
use crate::data::Arrays;
use crate::error::{LoopError, Result};

/// Rows that are answered together.
const BATCH: usize = 256;

/// Held-out rows: inputs, and labels.
pub(super) struct Rows {
    inputs: Arrays,
    labels: Vec<Vec<f64>>,
    output: Option<String>,
    task: Option<Task>,
    is_logits: bool,
}

/// The figures of a model.
pub(super) struct Score {
    pub(super) value: Option<f64>,
    /// Why the answers cannot be used, if so. That may be another output than the one with the value.
    pub(super) reason: Option<String>,
}

impl Rows {
    /// The rows of a dataset, as the default signature of a model takes them.
    pub(super) fn new(data: &Dataset, model: &SavedModel, config: &Config) -> Result<Self> {
        let signature = model.meta_graph(None)?.default_signature()?;
        let source = data.source();
        let refuse = |reason: String| LoopError::Other(format!("the held-out rows in `{source}` {reason}"));
        let is_input = |name: &str| signature.input(name).is_some();
        let mut inputs = Arrays::new();
        for (name, _) in &signature.inputs {
            let found = data.arrays().find(|(array, _)| array == name);
            let (_, tensor) = found.ok_or_else(|| refuse(format!("have no array `{name}`, which the model takes")))?;
            inputs.push((name.clone(), tensor.clone()));
        }
        let others: Vec<&str> = data.arrays().map(|(name, _)| name).filter(|name| !is_input(name)).collect();
        let label = match (&config.gates.label, others.as_slice()) {
            (Some(label), _) => label.as_str(),
            (None, [only]) => only,
            (None, []) => return Err(refuse("have no labels: every array is an input of the model".into())),
            (None, several) => {
                return Err(refuse(format!(
                    "have several arrays that may be labels, so name one with `gates.label`: {}",
                    several.join(", ")
                )));
            }
        };
        let found = data.arrays().find(|(name, _)| *name == label);
        let (_, tensor) = found.ok_or_else(|| refuse(format!("have no array `{label}`")))?;
        let all = numbers(tensor).ok_or_else(|| {
            refuse(format!("have labels `{label}` of the type {}, which are no numbers", tensor.dtype()))
        })?;
        let width = all.len() / data.rows();
        if width == 0 {
            return Err(refuse(format!("have labels `{label}` without elements")));
        }
        if all.iter().any(|number| !number.is_finite()) {
            return Err(refuse(format!("have a label in `{label}` that is NaN or infinite")));
        }
        let labels = all.chunks_exact(width).map(<[f64]>::to_vec).collect();
        let watch = &config.watch;
        Ok(Self { inputs, labels, output: watch.output.clone(), task: watch.task, is_logits: watch.logits })
    }

    pub(super) fn count(&self) -> usize {
        self.labels.len()
    }

    pub(super) fn inputs(&self) -> &Arrays {
        &self.inputs
    }

    /// The inputs of some rows.
    pub(super) fn batch(&self, from: usize, to: usize) -> Result<Arrays> {
        self.inputs.iter().map(|(name, tensor)| Ok((name.clone(), tensor.rows(from..to)?))).collect()
    }

    /// All answers of a model, by output.
    pub(super) fn answers(&self, model: &LoadedModel) -> Result<Arrays> {
        let signature = model.default_signature()?;
        let mut parts: Vec<Arrays> = Vec::new();
        for from in (0..self.count()).step_by(BATCH) {
            let to = (from + BATCH).min(self.count());
            let inputs = self.batch(from, to)?;
            let outputs = signature.run(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
            for (name, tensor) in outputs.iter() {
                if tensor.row_count() != Some(to - from) {
                    let (shape, rows) = (tensor.shape(), to - from);
                    return Err(LoopError::Other(format!(
                        "the model's output `{name}` has the shape {shape:?} for {rows} rows, so its rows cannot be compared"
                    )));
                }
            }
            parts.push(outputs.into_vec());
        }
        let Some(first) = parts.first() else { return Ok(Arrays::new()) };
        let mut all = Arrays::new();
        for (index, (name, _)) in first.iter().enumerate() {
            let tensors: Vec<&Tensor> = parts.iter().filter_map(|part| part.get(index)).map(|(_, it)| it).collect();
            all.push((name.clone(), Tensor::concatenate(&tensors)?));
        }
        Ok(all)
    }

    /// A metric of a model.
    pub(super) fn score(&self, model: &LoadedModel, metric: Metric) -> Result<Score> {
        let answers = self.answers(model)?;
        let output = match (&self.output, answers.as_slice()) {
            (Some(name), all) => all.iter().find(|(other, _)| other == name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let Some((name, tensor)) = output else {
            let names: Vec<&str> = answers.iter().map(|(name, _)| name.as_str()).collect();
            let names = names.join(", ");
            return Err(LoopError::Other(format!("name one of the model's outputs with `watch.output`: {names}")));
        };
        let Some(all) = numbers(tensor) else {
            return Err(LoopError::Other(format!("the model's output `{name}` has no numbers to compare with labels")));
        };
        let reason = answers.iter().find_map(|(name, tensor)| not_finite(name, tensor, self.count()));
        let width = all.len() / self.count();
        if all.iter().any(|number| !number.is_finite()) {
            return Ok(Score { value: None, reason });
        }
        let mut evaluation = Evaluation::new(self.task.unwrap_or_else(|| self.task_of(width)), self.is_logits);
        for (answer, label) in all.chunks(width.max(1)).zip(&self.labels) {
            evaluation.add(answer, label);
        }
        if evaluation.unusable() > 0 {
            return Err(LoopError::Other(format!(
                "{} of {} held-out labels do not go with the model's output `{name}`",
                evaluation.unusable(),
                self.count()
            )));
        }
        Ok(Score { value: evaluation.figures().and_then(|figures| metric.of(&figures)), reason })
    }

    /// What an output with so many numbers a row answers, by the labels.
    fn task_of(&self, width: usize) -> Task {
        let of_label = self.labels.first().map_or(0, Vec::len);
        let are_binary = || self.labels.iter().flatten().all(|label| *label == 0.0 || *label == 1.0);
        match (width, of_label) {
            (1, 1) if are_binary() => Task::Binary,
            (2.., 1) => Task::Classes,
            _ => Task::Regression,
        }
    }
}

/// What is said of an output with a NaN or an infinity.
pub(super) fn not_finite(name: &str, tensor: &Tensor, rows: usize) -> Option<String> {
    let all = numbers(tensor).filter(|_| tensor.dtype().is_float())?;
    let is_wrong = |row: &&[f64]| row.iter().any(|number| !number.is_finite());
    let wrong = all.chunks((all.len() / rows.max(1)).max(1)).filter(is_wrong).count();
    (wrong > 0).then(|| format!("it answers {wrong} of {rows} held-out rows with a NaN or an infinity in `{name}`"))
}
