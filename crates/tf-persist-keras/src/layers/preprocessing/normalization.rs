//! `Normalization`.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, TensorRef, axis_index};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule};
use crate::parse::constant;
use crate::reason::{Result, refuse};

/// The least deviation by which numbers are divided.
const EPSILON: f64 = 1e-7;

/// Numbers less their mean, divided by their deviation.
#[derive(Debug)]
pub(super) struct Normalization {
    axes: Vec<i64>,
    /// Mean and variance, if they were not learned from data.
    given: Option<[Value; 2]>,
    invert: bool,
    passes_mask: bool,
}

impl Normalization {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        let axes = match (config.get("axis"), config.has("axis")) {
            (Some(_), _) => config.ints("axis")?,
            // Null means one mean for all.
            (None, true) => Vec::new(),
            (None, false) => vec![-1],
        };
        let given = match (config.get("mean"), config.get("variance")) {
            (Some(mean), Some(variance)) => Some([mean.clone(), variance.clone()]),
            (None, None) => None,
            _ => refuse!("one of `mean` and `variance` is given, and the other is not"),
        };
        Ok(Self { axes, given, invert: config.bool_or("invert", false)?, passes_mask: !config.is_keras2() })
    }

    /// Mean and variance, with the rank of the input.
    fn statistics(&self, cx: &Context<'_>, x: &TensorRef) -> Result<[TensorRef; 2]> {
        let g = cx.g;
        let mut kept = self.axes.iter().map(|axis| axis_index(*axis, x.rank())).collect::<Result<Vec<_>>>()?;
        kept.sort_unstable();
        let mut dims: Vec<Dim> = vec![Some(1); x.rank()];
        let mut sizes = Vec::new();
        for axis in &kept {
            let size = x.size(*axis as i64)?;
            sizes.push(size);
            dims[*axis] = Some(size);
        }
        let [mean, variance] = match &self.given {
            Some(given) => {
                let [mean, variance] = given;
                [given_statistic(g, mean, &kept, &dims)?, given_statistic(g, variance, &kept, &dims)?]
            }
            None => {
                let dtype = if cx.is_keras2() { cx.policy.compute } else { cx.policy.variable };
                let mean = adapted(cx, "mean", &sizes, dtype)?;
                let variance = adapted(cx, "variance", &sizes, dtype)?;
                cx.declare("count", &[], DType::Int64, false)?;
                [g.reshape(&mean, &dims)?, g.reshape(&variance, &dims)?]
            }
        };
        Ok([g.cast(&mean, cx.policy.compute)?, g.cast(&variance, cx.policy.compute)?])
    }
}

/// A statistic that was learned from data: a constant, as it is once Keras has read it, so that TensorFlow divides by a
/// constant. Files have it as a variable.
fn adapted(cx: &Context<'_>, name: &str, sizes: &[u64], dtype: DType) -> Result<TensorRef> {
    let value = cx.early_value(name)?.filter(|value| value.dtype() == dtype);
    let shape: Vec<u64> = value.iter().flat_map(|it| it.shape()).map(|size| *size as u64).collect();
    match value.filter(|_| shape == sizes) {
        Some(value) => {
            cx.declare(name, sizes, dtype, false)?;
            cx.g.constant(value)
        }
        None => cx.state(name, sizes, dtype),
    }
}

/// A number, or one for each element of the last kept axes, with the rank of the input.
fn given_statistic(g: &Graph, value: &Value, kept: &[usize], dims: &[Dim]) -> Result<TensorRef> {
    let given = g.constant(constant(value, DType::Float32)?)?;
    let mut spread: Vec<Dim> = vec![Some(1); dims.len()];
    let Some(first) = kept.len().checked_sub(given.rank()) else {
        refuse!("its mean has rank {}, and {} axes are kept", given.rank(), kept.len())
    };
    for (axis, size) in kept[first..].iter().zip(given.dims()) {
        spread[*axis] = *size;
    }
    let spread = g.reshape(&given, &spread)?;
    if spread.dims() == dims {
        return Ok(spread);
    }
    let shape = Shape::new(dims);
    spread.shape.broadcast(&shape)?;
    let Some(sizes) = shape.sizes() else { refuse!("the sizes of its mean are unknown") };
    let sizes = sizes.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect::<Vec<_>>();
    g.broadcast_to(&spread, &g.vector_i32(&sizes)?, shape)
}

impl Layer for Normalization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        if x.dtype == DType::String {
            refuse!("its input is texts, and should be numbers");
        }
        let x = g.cast(&x, cx.policy.compute)?;
        let [mean, variance] = self.statistics(cx, &x)?;
        let deviation = g.with_scalar(&g.sqrt(&variance)?, EPSILON, Graph::maximum)?;
        Ok(if self.invert {
            g.add_v2(&mean, &g.mul(&x, &deviation)?)?
        } else {
            g.real_div(&g.sub(&x, &mean)?, &deviation)?
        }
        .into())
    }

    fn mask_rule(&self) -> MaskRule {
        if self.passes_mask { MaskRule::Pass } else { MaskRule::Drop }
    }
}
