//! The outputs of a model: what is compared with targets, and which losses and metrics each has.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::compiled::{Compiled, Nest, Object};
use super::losses::Loss;
use super::metrics::Metric;
use crate::config::shown;
use crate::graph::{Shape, TensorRef};
use crate::layers::Masked;
use crate::reason::{Result, refuse, shown_name};

/// An output and how it is judged.
#[derive(Debug)]
pub(super) struct Output<'a> {
    pub(super) name: String,
    pub(super) losses: Vec<(Object<'a>, Option<f64>)>,
    pub(super) metrics: Vec<Object<'a>>,
    pub(super) weighted_metrics: Vec<Object<'a>>,
    /// The name of its target in the signatures; None if it has none.
    pub(super) target: Option<String>,
}

/// The outputs with these names, as the model was compiled. `taken` are the names of the inputs.
pub(super) fn outputs<'a>(compiled: &Compiled<'a>, names: &[String], taken: &[String]) -> Result<Vec<Output<'a>>> {
    let losses = by_output(&compiled.loss, names, "loss")?;
    let metrics = metrics_by_output(&compiled.metrics, names)?;
    let weighted = metrics_by_output(&compiled.weighted_metrics, names)?;
    let weights = loss_weights(compiled.loss_weights, names)?;
    let mut outputs = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let losses: Vec<_> = losses[index].flat().into_iter().map(|loss| (loss.clone(), weights[index])).collect();
        let objects = |nest: &Nest<'a>| nest.flat().into_iter().cloned().collect::<Vec<_>>();
        let (metrics, weighted_metrics) = (objects(&metrics[index]), objects(&weighted[index]));
        let has_target = !(losses.is_empty() && metrics.is_empty() && weighted_metrics.is_empty());
        let target = has_target.then(|| {
            let target = if names.len() > 1 { signature_key(name) } else { "y".to_owned() };
            if taken.contains(&target) { format!("{target}_target") } else { target }
        });
        outputs.push(Output { name: name.clone(), losses, metrics, weighted_metrics, target });
    }
    if outputs.iter().all(|output| output.losses.is_empty()) {
        refuse!("it was compiled without a loss");
    }
    Ok(outputs)
}

/// An argument of `compile` for each output.
fn by_output<'a>(nest: &Nest<'a>, names: &[String], what: &str) -> Result<Vec<Nest<'a>>> {
    Ok(match nest {
        Nest::None => vec![Nest::None; names.len()],
        Nest::One(_) => vec![nest.clone(); names.len()],
        Nest::List(items) if names.len() > 1 && items.len() == names.len() => items.clone(),
        Nest::List(_) if names.len() == 1 => vec![nest.clone()],
        Nest::Dict(items) => {
            if let Some((key, _)) = items.iter().find(|(key, _)| !names.iter().any(|name| name == key)) {
                refuse!("a {what} is for the output `{}`, which it does not have", shown_name(key));
            }
            let of = |name: &String| items.iter().find(|(key, _)| key == name).map(|(_, item)| item.clone());
            names.iter().map(|name| of(name).unwrap_or(Nest::None)).collect()
        }
        Nest::List(items) => refuse!("there are {} entries of {what} for {} outputs", items.len(), names.len()),
    })
}

/// The metrics of each output. Those of a model with one output are all its own.
fn metrics_by_output<'a>(nest: &Nest<'a>, names: &[String]) -> Result<Vec<Nest<'a>>> {
    if nest.is_empty() {
        return Ok(vec![Nest::None; names.len()]);
    }
    match nest {
        nest if names.len() == 1 => Ok(vec![nest.clone()]),
        Nest::One(_) => refuse!("a metric of several outputs is not in a list or by their names"),
        nest => by_output(nest, names, "metric"),
    }
}

fn loss_weights(weights: Option<&Value>, names: &[String]) -> Result<Vec<Option<f64>>> {
    let number = |value: &Value| match value {
        Value::Null => Ok(None),
        value => match value.as_f64() {
            Some(weight) => Ok(Some(weight)),
            None => refuse!("the weight {} of a loss is not a number", shown(value)),
        },
    };
    match weights {
        None => Ok(vec![None; names.len()]),
        Some(Value::Array(items)) if items.len() == names.len() => items.iter().map(number).collect(),
        Some(Value::Object(items)) => names.iter().map(|name| items.get(name).map_or(Ok(None), number)).collect(),
        Some(value) if names.len() == 1 => Ok(vec![number(value)?]),
        Some(value) => refuse!("the weights {} do not fit {} outputs", shown(value), names.len()),
    }
}

impl Output<'_> {
    /// The dtype and shape of its target: numbers of classes for sparse losses and metrics, else those of the output.
    pub(super) fn target_type(&self, output: &TensorRef) -> (DType, Shape) {
        let sparse = match self.losses.as_slice() {
            [] => self.metrics.iter().chain(&self.weighted_metrics).any(Metric::takes_classes),
            losses => losses.iter().any(|(loss, _)| Loss::takes_classes(loss)),
        };
        if sparse {
            let outer = output.rank().saturating_sub(1);
            return (DType::Int64, Shape::new(&output.dims()[..outer]));
        }
        let dtype = if output.dtype.is_floating() { DType::Float32 } else { output.dtype };
        (dtype, output.shape.clone())
    }
}

/// A name as a key of a signature, of which TensorFlow takes only Python's identifiers.
pub(super) fn signature_key(name: &str) -> String {
    let mut key: String =
        name.chars().map(|it| if it.is_ascii_alphanumeric() || it == '_' { it } else { '_' }).collect();
    if key.is_empty() || key.starts_with(|it: char| it.is_ascii_digit()) {
        key.insert(0, '_');
    }
    key
}

/// The result of an output with its target.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) result: Masked,
    pub(super) target: Option<TensorRef>,
}
