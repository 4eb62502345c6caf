//! The losses of Keras.

mod crossentropy;
mod function;
mod margin;
mod rank;
mod regression;

use tf_persist_savedmodel::DType;

use super::compiled::Object;
use crate::graph::{Graph, TensorRef};
use crate::reason::{Result, refuse, shown_name};

pub(super) use function::{Form, Function, form};
pub(super) use rank::same_rank;
pub(super) use regression::normalized;

/// The smallest number that Keras adds where it divides (`keras.config.epsilon()`).
pub(super) const EPSILON: f64 = 1e-7;

/// How the values of the elements become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    Sum,
    /// The mean of all elements, those of weight 0 included.
    Mean,
    /// The mean by weights.
    WeightedMean,
    None,
}

/// A loss of an output.
#[derive(Debug, Clone)]
pub(super) struct Loss {
    function: Function,
    reduction: Reduction,
    dtype: DType,
}

impl Loss {
    /// The loss that a file names. `targets` and `outputs` are those that it compares.
    pub(super) fn parse(object: &Object<'_>, target: &TensorRef, output: &TensorRef) -> Result<Self> {
        let function = Function::parse(object, Some((target, output)))?;
        let Some(function) = function else { refuse!("the loss `{}` is not known", shown_name(object.name)) };
        let reduction = match object.text("reduction") {
            None if object.get("reduction").is_some() => refuse!("the reduction of the loss is not a text"),
            // In Keras 2: `auto`.
            None | Some("sum_over_batch_size" | "mean" | "auto") => Reduction::Mean,
            Some("sum") => Reduction::Sum,
            Some("mean_with_sample_weight") => Reduction::WeightedMean,
            Some("none") => Reduction::None,
            Some(other) => refuse!("the reduction `{}` of a loss is not known", shown_name(other)),
        };
        let has_null =
            object.config.is_some_and(|config| config.get("reduction").is_some_and(serde_json::Value::is_null));
        let reduction = if has_null { Reduction::None } else { reduction };
        if reduction == Reduction::None {
            refuse!("the loss `{}` is not reduced to one number", shown_name(object.name));
        }
        Ok(Self { function, reduction, dtype: DType::Float32 })
    }

    /// Whether targets are the numbers of classes.
    pub(super) fn takes_classes(object: &Object<'_>) -> bool {
        let name = object.name.to_ascii_lowercase().replace('_', "");
        name.contains("sparse") || name == "circle" || name == "categoricalgeneralizedcrossentropy"
    }

    /// The loss of a batch, a scalar. `mask` tells which elements of the output count.
    pub(super) fn value(
        &self,
        g: &Graph,
        target: &TensorRef,
        output: &TensorRef,
        mask: Option<&TensorRef>,
        weights: Option<&TensorRef>,
    ) -> Result<TensorRef> {
        let (output, target) = (g.cast(output, self.dtype)?, g.cast(target, self.dtype)?);
        let (target, output) = same_rank(g, &target, &output)?;
        let (values, own_mask) = self.function.values(g, &target, &output)?;
        let mask = match (mask, own_mask) {
            (Some(a), Some(b)) => Some(g.logical_and(a, &b)?),
            (a, b) => a.cloned().or(b),
        };
        self.reduced(g, &values, mask.as_ref(), weights)
    }

    fn reduced(
        &self,
        g: &Graph,
        values: &TensorRef,
        mask: Option<&TensorRef>,
        weights: Option<&TensorRef>,
    ) -> Result<TensorRef> {
        let values = g.cast(values, self.dtype)?;
        let weights = weights.map(|weights| g.cast(weights, self.dtype)).transpose()?;
        let scaled = self.reduction == Reduction::Mean;
        let weights = masked_weights(g, weights.as_ref(), mask, values.dtype, scaled)?;
        let mut values = values;
        if let Some(weights) = &weights {
            let (same_values, same_weights) = same_rank(g, &values, weights)?;
            values = g.mul(&same_values, &same_weights)?;
        }
        if values.rank() == 0 {
            return Ok(values);
        }
        let axes: Vec<i64> = (0..values.rank() as i64).collect();
        let sum = g.sum(&values, &axes, false)?;
        let count = match (self.reduction, &weights) {
            (Reduction::Sum | Reduction::None, _) => return Ok(sum),
            (Reduction::WeightedMean, Some(weights)) => {
                let axes: Vec<i64> = (0..weights.rank() as i64).collect();
                g.sum(weights, &axes, false)?
            }
            _ => element_count(g, &values)?,
        };
        g.div_no_nan(&sum, &g.cast(&count, sum.dtype)?)
    }
}

/// The number of elements, an int32 scalar.
fn element_count(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    g.prod(&g.shape_of(x)?, &[0], false)
}

/// Weights that are 0 where the mask does not hold. If `scaled`, the others grow so that a mean over all elements is
/// that of the elements that count.
pub(super) fn masked_weights(
    g: &Graph,
    weights: Option<&TensorRef>,
    mask: Option<&TensorRef>,
    dtype: DType,
    scaled: bool,
) -> Result<Option<TensorRef>> {
    let Some(mask) = mask else { return Ok(weights.cloned()) };
    let float = g.cast(mask, dtype)?;
    let mask_weights = match scaled {
        false => float,
        true => {
            let total = g.cast(&element_count(g, mask)?, dtype)?;
            let axes: Vec<i64> = (0..float.rank() as i64).collect();
            let weight = g.div_no_nan(&total, &g.sum(&float, &axes, false)?)?;
            g.select(&g.cast(mask, DType::Bool)?, &weight, &g.scalar(0.0, dtype)?)?
        }
    };
    let Some(weights) = weights else { return Ok(Some(mask_weights)) };
    let (mask_weights, weights) = same_rank(g, &mask_weights, &g.cast(weights, dtype)?)?;
    Ok(Some(g.mul(&weights, &mask_weights)?))
}
