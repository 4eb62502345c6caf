//! What a model in a Keras file consists of, as `model.summary()` shows it.

use std::collections::HashMap;

use tf_persist_savedmodel::DType;

use crate::layers::{Called, Weight};

/// A model in a Keras file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelSummary {
    /// The name of the model.
    pub name: String,
    /// `Functional` or `Sequential`.
    pub class: String,
    /// The version of Keras that wrote the file, if the file tells.
    pub keras_version: Option<String>,
    /// The inputs in the order of the model.
    pub inputs: Vec<TensorSummary>,
    /// The outputs in the order of the model.
    pub outputs: Vec<TensorSummary>,
    /// The layers in the order of their first calls; a model or wrapper comes before the layers inside it.
    pub layers: Vec<LayerSummary>,
    /// The number of elements of all variables.
    pub parameters: u64,
    /// How many of them training changes.
    pub trainable: u64,
    /// How the model was compiled, as the file has it.
    pub compile_config: Option<serde_json::Value>,
}

/// An input or output of a model.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TensorSummary {
    /// The name in the signature.
    pub name: String,
    /// The dtype.
    pub dtype: DType,
    /// The shape; `None` is a size that is known when the model runs.
    pub shape: Vec<Option<u64>>,
}

/// A layer of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerSummary {
    /// The names of the models and wrappers around it, and its own.
    pub path: Vec<String>,
    /// Such as `Dense`.
    pub class: String,
    /// Whether it is a node of `keras.ops`.
    pub is_operation: bool,
    /// The shapes of its outputs; `None` is a size that is known when the model runs.
    pub outputs: Vec<Vec<Option<u64>>>,
    /// The number of elements of its variables, those of the layers inside it among them.
    pub parameters: u64,
    /// How many of them training changes.
    pub trainable: u64,
    /// The number of its calls.
    pub calls: usize,
}

/// The layers in the order of their first calls; a model or wrapper comes before the layers inside it.
pub(crate) fn summary(calls: &[Called], weights: &[Weight]) -> Vec<LayerSummary> {
    let mut layers: Vec<LayerSummary> = Vec::new();
    let mut known: HashMap<&[String], usize> = HashMap::new();
    for call in calls {
        if let Some(index) = known.get(call.layers.as_slice()) {
            layers[*index].calls += 1;
            continue;
        }
        let inside =
            weights.iter().filter(|weight| !call.is_operation && weight.place.layers.starts_with(&call.layers));
        let count = |weight: &&Weight| weight.shape.iter().map(|size| *size as u64).product::<u64>();
        let inside: Vec<&Weight> = inside.collect();
        known.insert(&call.layers, layers.len());
        layers.push(LayerSummary {
            path: call.layers.clone(),
            class: call.class.clone(),
            is_operation: call.is_operation,
            outputs: call.outputs.iter().map(|shape| shape.dims().to_vec()).collect(),
            parameters: inside.iter().map(count).sum(),
            trainable: inside.iter().filter(|weight| weight.trainable).map(count).sum(),
            calls: 1,
        });
    }
    // A model is recorded after its layers.
    let mut ordered: Vec<LayerSummary> = Vec::new();
    for layer in layers {
        let first_inside =
            ordered.iter().position(|other| other.path.len() > layer.path.len() && other.path.starts_with(&layer.path));
        ordered.insert(first_inside.unwrap_or(ordered.len()), layer);
    }
    ordered
}
