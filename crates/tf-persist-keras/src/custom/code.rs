//! Custom layers in Rust.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use tf_persist_savedmodel::DType;

use super::recipe_layer::operation;
use crate::config::Config;
use crate::layers::{Argument, Arguments, Context, Layer, Masked};
use crate::reason::{Reason, Result, refuse};

/// A layer of a class that Keras does not have, in Rust: it says what the Python class computes.
///
/// ```
/// use serde_json::Value;
/// use tf_persist_keras::{CustomLayer, CustomObjects, LayerBuilder, SymbolicTensor};
///
/// /// Multiplies each channel by a factor that was learned.
/// #[derive(Debug)]
/// struct Scale;
///
/// impl CustomLayer for Scale {
///     fn call(
///         &self,
///         layer: &LayerBuilder<'_>,
///         _config: &Value,
///         inputs: &[SymbolicTensor],
///     ) -> Result<Vec<SymbolicTensor>, String> {
///         let channels = inputs[0].shape().last().copied().flatten().ok_or("the number of channels is unknown")?;
///         let gamma = layer.weight("gamma", &[channels])?;
///         Ok(vec![layer.operation("multiply", &[inputs[0].clone(), gamma], Value::Null)?])
///     }
/// }
///
/// let custom = CustomObjects::new().layer("my_package>Scale", Scale);
/// # let _ = custom;
/// ```
pub trait CustomLayer: fmt::Debug + Send + Sync {
    /// Adds what a call of the layer computes. `config` is the layer's config in the file. Weights are declared in the
    /// order in which the Python class adds them.
    ///
    /// # Errors
    /// One sentence, which is reported with the name of the layer.
    fn call(
        &self,
        layer: &LayerBuilder<'_>,
        config: &Value,
        inputs: &[SymbolicTensor],
    ) -> Result<Vec<SymbolicTensor>, String>;
}

/// A tensor that is computed when the model runs.
#[derive(Debug, Clone)]
pub struct SymbolicTensor(Masked);

impl SymbolicTensor {
    /// The dtype.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// The sizes; `None` is one that is known when the model runs.
    #[must_use]
    pub fn shape(&self) -> &[Option<u64>] {
        self.0.dims()
    }
}

/// What a custom layer is built with.
#[derive(Debug)]
pub struct LayerBuilder<'a>(&'a Context<'a>);

impl LayerBuilder<'_> {
    /// The next variable of the layer.
    ///
    /// # Errors
    /// If another call of the layer needs another shape.
    pub fn weight(&self, name: &str, shape: &[u64]) -> Result<SymbolicTensor, String> {
        let weight = self.0.weight(name, shape).map_err(|reason| reason.to_string())?;
        Ok(SymbolicTensor(weight.into()))
    }

    /// The result of an operation of `keras.ops`, by its name, such as `matmul`. `parameters` is an object with what is
    /// no tensor, such as `{"axis": -1}`, or null.
    ///
    /// # Errors
    /// If the operation is unknown or does not fit the inputs, or gives several tensors.
    pub fn operation(
        &self,
        name: &str,
        inputs: &[SymbolicTensor],
        parameters: Value,
    ) -> Result<SymbolicTensor, String> {
        let positional = inputs.iter().map(|input| Argument::Tensor(input.0.clone())).collect();
        let parameters = match parameters {
            Value::Null => Map::new(),
            Value::Object(parameters) => parameters,
            other => return Err(format!("the parameters {other} are not an object")),
        };
        let keyword = parameters.into_iter().map(|(name, value)| (name, Argument::Plain(value))).collect();
        let result = operation(self.0, name, positional, keyword).and_then(|result| result.tensor().cloned());
        result.map(SymbolicTensor).map_err(|reason| reason.to_string())
    }
}

/// A layer whose class is given in Rust.
#[derive(Debug)]
pub(super) struct CodeLayer {
    code: Arc<dyn CustomLayer>,
    config: Value,
}

impl CodeLayer {
    pub(super) fn new(code: &Arc<dyn CustomLayer>, config: &Config<'_>) -> Self {
        let values = config.keys().map(|key| (key.to_owned(), config.get(key).cloned().unwrap_or_default()));
        Self { code: Arc::clone(code), config: Value::Object(values.collect()) }
    }
}

impl Layer for CodeLayer {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let inputs: Vec<SymbolicTensor> = arguments.inputs()?.into_iter().map(SymbolicTensor).collect();
        let outputs = self.code.call(&LayerBuilder(cx), &self.config, &inputs).map_err(Reason::new)?;
        let mut outputs: Vec<Argument> = outputs.into_iter().map(|output| Argument::Tensor(output.0)).collect();
        match outputs.len() {
            0 => refuse!("its code returns nothing"),
            1 => Ok(outputs.remove(0)),
            _ => Ok(Argument::List(outputs)),
        }
    }
}
