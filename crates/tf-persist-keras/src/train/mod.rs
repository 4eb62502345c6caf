//! Training of a compiled model: the signatures `train` and `evaluate`, and sometimes `finalize`.
//!
//! `train` is one step of Keras's `train_on_batch`: the model is called as in training, the loss and its gradients are
//! computed, and the optimizer updates the weights. The metrics are those of the batch.

mod compiled;
mod gradients;
mod layout;
mod losses;
mod metrics;
mod optimizers;
mod outputs;
mod regularizer;
mod restore;

use std::collections::HashSet;
use std::rc::Rc;

use serde_json::Value;

use compiled::Compiled;
use gradients::{gradients, in_scope_of};
pub(crate) use layout::{layout, layout_of};
use losses::Loss;
use metrics::{Compared, Metric};
use optimizers::{Applied, Optimizer, OptimizerVariable, State};
use outputs::{Judged, Output, outputs, signature_key};
pub(crate) use restore::{before_inner, optimizer_datasets, optimizer_values};

use crate::config::Dialect;
use crate::graph::{Function, Graph, Program, Resource, Signature, TensorRef};
use crate::layers::{Argument, Arguments, Context, Masked, NamedLayer, Shared, Weight};
use crate::reason::{Result, refuse};
use crate::source::Source;

/// The signature that ends a training; `FINALIZE_SIGNATURE` of tf-persist-core.
const FINALIZE: &str = "finalize";

/// What training adds to a model.
#[derive(Debug)]
pub(crate) struct Training {
    /// `train` and `evaluate`; `finalize` if the optimizer averages the weights.
    pub(crate) signatures: Vec<Signature>,
    /// The variables of the optimizer, in the order in which files have them.
    pub(crate) variables: Vec<OptimizerVariable>,
}

/// Whether a metric is supported.
#[cfg(test)]
pub(crate) fn has_metric(name: &str) -> bool {
    let graph = crate::graph::Graph::new(&Program::new());
    let shape = || crate::graph::Shape::new([None, Some(3)]);
    let tensor = || graph.argument("x", tf_persist_savedmodel::DType::Float32, shape());
    let (Ok(target), Ok(output)) = (tensor(), tensor()) else { return false };
    let value = serde_json::json!({"class_name": name, "config": {}});
    compiled::Object::of(&value).is_some_and(|object| Metric::parse(&object, &target, &output).is_ok())
}

/// The training of a model as its file describes it; None if the model is not compiled. The model has been called in
/// another graph, so that its weights are declared.
///
/// # Errors
/// The reason why it cannot be trained. Then the program is as before.
pub(crate) fn training(
    source: &Source,
    model: &NamedLayer,
    program: &Rc<Program>,
    shared: &Shared,
) -> Result<Option<Training>> {
    let Some(config) = &source.compile_config else { return Ok(None) };
    let sizes = program.sizes();
    let before: HashSet<Resource> = shared.initial.borrow().keys().copied().collect();
    let training = build(source, config, model, program, shared).and_then(|training| {
        restore::check_state(source, &training.variables)?;
        Ok(training)
    });
    if training.is_err() {
        program.truncate(sizes);
        shared.initial.borrow_mut().retain(|resource, _| before.contains(resource));
    }
    training.map(Some)
}

fn build(
    source: &Source,
    config: &Value,
    model: &NamedLayer,
    program: &Rc<Program>,
    shared: &Shared,
) -> Result<Training> {
    let compiled = Compiled::parse(config)?;
    let mut optimizer = Optimizer::parse(&compiled.optimizer, source.dialect == Dialect::Keras2)?;
    if !optimizer.scales_loss() && restore::scales_loss(source)? {
        optimizer.scale_loss();
    }
    let weights = trainable(model, shared);
    if weights.is_empty() {
        refuse!("none of its weights is trainable");
    }
    let applied = Applied::new(&optimizer, &weights, State::new(program))?;
    let trainer = Trainer { source, model, compiled, weights: &weights, shared };
    let train = trainer.signature("train", program, Some(&applied))?;
    let evaluate = trainer.signature("evaluate", program, None)?;
    let mut signatures = vec![train, evaluate];
    signatures.extend(finalize(program, shared, &applied)?);
    Ok(Training { signatures, variables: applied.state.variables })
}

/// The signature that ends a training: it replaces the weights by their averages, as the optimizer does when `fit` of
/// Keras ends. None if the optimizer does not average them.
fn finalize(program: &Rc<Program>, shared: &Shared, applied: &Applied<'_>) -> Result<Option<Signature>> {
    if !applied.averages() {
        return Ok(None);
    }
    let graph = Graph::new(program);
    shared.begin_graph();
    let steps = graph.scoped("optimizer", || applied.finalize(&graph))?;
    let function = Function { name: FINALIZE.to_owned(), graph, outputs: vec![steps] };
    let outputs = vec!["steps".to_owned()];
    Ok(Some(Signature { name: FINALIZE.to_owned(), inputs: Vec::new(), outputs, function }))
}

/// The trainable weights in the order of the model's layers, which is that of the optimizer's slots.
fn trainable(model: &NamedLayer, shared: &Shared) -> Vec<Weight> {
    let mut weights: Vec<(Vec<usize>, Weight)> = Vec::new();
    for weight in shared.weights.borrow().iter().filter(|weight| weight.trainable) {
        weights.push((position(model, &weight.place.layers), weight.clone()));
    }
    weights.sort_by(|(a, _), (b, _)| a.cmp(b));
    weights.into_iter().map(|(_, weight)| weight).collect()
}

/// The numbers of the layers in their models, from the outermost to the innermost.
fn position(model: &NamedLayer, path: &[String]) -> Vec<usize> {
    let mut position = Vec::new();
    let mut inner = Some(model);
    for name in path {
        let Some(model) = inner.and_then(|layer| layer.layer.as_model()) else { break };
        let layers = model.layers();
        let Some(index) = layers.iter().position(|layer| layer.name == *name) else { break };
        position.push(index);
        inner = layers.get(index).copied();
    }
    position
}

/// What both signatures are made from.
struct Trainer<'a> {
    source: &'a Source,
    model: &'a NamedLayer,
    compiled: Compiled<'a>,
    weights: &'a [Weight],
    shared: &'a Shared,
}

impl Trainer<'_> {
    /// A signature: with an optimizer, of a step of training.
    fn signature(&self, name: &str, program: &Rc<Program>, optimizer: Option<&Applied<'_>>) -> Result<Signature> {
        let graph = Graph::new(program);
        let g = &graph;
        self.shared.begin_graph();
        let (mut inputs, batch, results) = self.call(g, optimizer.is_some())?;
        let keys = self.output_names(&results)?;
        let outputs = outputs(&self.compiled, &keys, &inputs)?;
        let mut judged = Vec::new();
        for (output, result) in outputs.iter().zip(results) {
            let target = match &output.target {
                Some(target) => {
                    let (dtype, shape) = output.target_type(&result);
                    inputs.push(target.clone());
                    Some(g.argument(target, dtype, shape)?)
                }
                None => None,
            };
            judged.push(Judged { result, target });
        }
        let mut answers = Vec::new();
        let loss = self.loss(g, &outputs, &judged, &mut answers)?;
        g.scoped("metrics", || self.metrics(g, &outputs, &judged, &mut answers))?;
        // As the mean that Keras keeps over batches has it, weighted by their sizes.
        let rows = g.cast(&g.dim_of(&batch, 0)?, loss.dtype)?;
        let mean = g.div_no_nan(&g.mul(&loss, &rows)?, &rows)?;
        answers.insert(0, ("loss".to_owned(), mean));
        if let Some(applied) = optimizer {
            let scaled = applied.scaled_loss(g, &loss)?;
            let values = self.weights.iter().map(|weight| g.read(weight.resource)).collect::<Result<Vec<_>>>()?;
            let gradients = gradients(g, &scaled, &values)?;
            if gradients.iter().all(Option::is_none) {
                refuse!("its loss does not depend on any of its weights");
            }
            for (variable, value) in self.shared.updates.borrow().iter() {
                g.assign(*variable, value)?;
            }
            g.scoped("optimizer", || applied.apply(g, gradients))?;
        }
        let mut names: Vec<String> = Vec::new();
        let mut values = Vec::new();
        for (name, value) in answers {
            let key = signature_key(&name);
            match names.iter().position(|known| *known == key) {
                Some(index) => values[index] = value,
                None => {
                    names.push(key);
                    values.push(value);
                }
            }
        }
        let function = Function { name: name.to_owned(), graph, outputs: values };
        Ok(Signature { name: name.to_owned(), inputs, outputs: names, function })
    }

    /// Calls the model. Gives the names of its inputs, the first of them, and the results.
    fn call(&self, g: &Graph, training: bool) -> Result<(Vec<String>, TensorRef, Vec<Masked>)> {
        let Some(model) = self.model.layer.as_model() else { refuse!("it is no model") };
        let (mut names, mut given) = (Vec::new(), Vec::new());
        for (name, spec) in model.inputs() {
            names.push(name.to_owned());
            given.push(g.argument(name, spec.dtype, spec.shape.clone())?);
        }
        let Some(batch) = given.first().cloned() else { refuse!("it has no inputs") };
        let mut arguments: Vec<Argument> = given.into_iter().map(Argument::from).collect();
        let first = if arguments.len() == 1 { arguments.remove(0) } else { Argument::List(arguments) };
        let mut cx = Context::new(g, self.source.dialect, self.shared);
        cx.training = training;
        let results = self.model.call(&cx, Arguments::new(vec![first], Vec::new()))?;
        Ok((names, batch, results.tensors().into_iter().cloned().collect()))
    }

    /// The names of the outputs: the keys of a dict, or the names of the layers that compute them.
    fn output_names(&self, results: &[Masked]) -> Result<Vec<String>> {
        let Some(model) = self.model.layer.as_model() else { refuse!("it is no model") };
        let names = match model.output_keys() {
            Some(keys) => keys.into_iter().map(str::to_owned).collect(),
            None => model.output_names(),
        };
        if names.len() != results.len() {
            refuse!("it has {} outputs, and names for {}", results.len(), names.len());
        }
        Ok(names)
    }

    /// The sum of the losses of all outputs and of what regularizers add.
    fn loss(
        &self,
        g: &Graph,
        outputs: &[Output<'_>],
        judged: &[Judged],
        answers: &mut Vec<(String, TensorRef)>,
    ) -> Result<TensorRef> {
        let mut parts = vec![g.scoped("loss", || self.losses(g, outputs, judged, answers))?];
        parts.extend(self.penalties(g)?);
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        g.scoped("loss", || {
            let parts = parts.iter().map(|part| g.cast(part, parts[0].dtype)).collect::<Result<Vec<_>>>()?;
            g.sum(&g.pack(&parts.iter().collect::<Vec<_>>(), 0)?, &[0], false)
        })
    }

    /// The sum of the losses of all outputs.
    fn losses(
        &self,
        g: &Graph,
        outputs: &[Output<'_>],
        judged: &[Judged],
        answers: &mut Vec<(String, TensorRef)>,
    ) -> Result<TensorRef> {
        let count: usize = outputs.iter().map(|output| output.losses.len()).sum();
        let mut total: Option<TensorRef> = None;
        for (output, Judged { result, target }) in outputs.iter().zip(judged) {
            let Some(target) = target else { continue };
            for (object, weight) in &output.losses {
                let loss = Loss::parse(object, target, result)?;
                let mut value = loss.value(g, target, result, result.mask.as_ref(), None)?;
                if count > 1 {
                    answers.push((format!("{}_loss", output.name), value.clone()));
                }
                if let Some(weight) = weight {
                    value = g.with_scalar(&value, *weight, Graph::mul)?;
                }
                total = Some(match total {
                    Some(total) => g.add_v2(&total, &value)?,
                    None => value,
                });
            }
        }
        let Some(total) = total else { refuse!("it was compiled without a loss") };
        Ok(total)
    }

    /// What regularizers add: those of results first, then those of weights.
    ///
    /// TensorFlow sorts the parts of a sum by the names of their nodes, and so the roundings depend on the names: those
    /// of results are in the scope of their layer, those of weights in none, as in Keras.
    fn penalties(&self, g: &Graph) -> Result<Vec<TensorRef>> {
        let mut penalties = Vec::new();
        for (regularizer, result) in self.shared.activities.borrow().iter() {
            penalties.push(in_scope_of(g, &g.node_name(result), || {
                let penalty = regularizer::penalty(g, regularizer, result)?;
                match result.rank() {
                    0 => Ok(penalty),
                    _ => g.div_no_nan(&penalty, &g.cast(&g.dim_of(result, 0)?, penalty.dtype)?),
                }
            })?);
        }
        for weight in self.weights {
            if let Some(regularizer) = &weight.rules.regularizer {
                penalties.push(regularizer::penalty(g, regularizer, &g.read(weight.resource)?)?);
            }
        }
        Ok(penalties)
    }

    fn metrics(
        &self,
        g: &Graph,
        outputs: &[Output<'_>],
        judged: &[Judged],
        answers: &mut Vec<(String, TensorRef)>,
    ) -> Result<()> {
        let mut logs: Vec<(String, TensorRef)> = Vec::new();
        for is_weighted in [false, true] {
            for (output, Judged { result, target }) in outputs.iter().zip(judged) {
                let Some(target) = target else { continue };
                for object in if is_weighted { &output.weighted_metrics } else { &output.metrics } {
                    let metric = Metric::parse(object, target, result)?;
                    let compared = Compared { target, output: result, mask: result.mask.as_ref(), weights: None };
                    let value = metric.value(g, &compared)?;
                    let prefix = format!("{}_", output.name);
                    // Keras 2 has the name of the output in that of the metric.
                    let is_named = outputs.len() == 1 || (!object.is_text && metric.name.starts_with(&prefix));
                    let prefix = if is_named { "" } else { &prefix };
                    logs.push((free_name(&logs, prefix, &metric.name, is_weighted), value));
                }
            }
        }
        answers.splice(0..0, logs);
        Ok(())
    }
}

/// A name that no other value has.
fn free_name(logs: &[(String, TensorRef)], prefix: &str, name: &str, is_weighted: bool) -> String {
    let taken = |name: &str| logs.iter().any(|(known, _)| known == name);
    let mut wanted = format!("{prefix}{name}");
    if is_weighted && taken(&wanted) {
        wanted = format!("{prefix}weighted_{name}");
    }
    let (mut free, mut number) = (wanted.clone(), 1);
    while taken(&free) {
        free = format!("{wanted}_{number}");
        number += 1;
    }
    free
}
