//! `TimeDistributed`.

use serde_json::Value;

use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::{Argument, Arguments, Context, Layer, MaskRule, Masked, NamedLayer};
use crate::parse::Parser;
use crate::reason::{Result, refuse};

/// The most nodes that steps one by one may need.
const MOST_NODES: usize = 1 << 15;

/// A layer that is called for each step of a sequence.
#[derive(Debug)]
pub(super) struct TimeDistributed {
    layer: NamedLayer,
    /// Whether Keras calls the layer for one step after the other. Else it takes the steps as one batch.
    by_step: bool,
    is_stateful: bool,
}

impl TimeDistributed {
    pub(super) fn new(config: &Config<'_>, parser: &mut Parser<'_>) -> Result<Self> {
        let entry = config.required("layer")?;
        let inner = entry.get("config").unwrap_or(&Value::Null);
        let is_stateful = inner.get("stateful").and_then(Value::as_bool).unwrap_or(false);
        let by_step = !config.is_keras2() || is_stateful;
        Ok(Self { layer: parser.layer(entry)?, by_step, is_stateful })
    }

    /// Calls the layer for inputs without time.
    fn inner(&self, cx: &Context<'_>, inputs: Argument) -> Result<Argument> {
        let cx = cx.child(&["layer"], &self.layer.name);
        cx.g.scoped(&self.layer.name, || self.layer.call(&cx, Arguments::new(vec![inputs], Vec::new())))
    }

    /// Calls the layer for each step. None if that needs too many nodes.
    fn steps(&self, cx: &Context<'_>, x: &Masked) -> Result<Option<TensorRef>> {
        let g = cx.g;
        let steps = g.unpack(x, 1)?;
        let masks = x.mask.as_ref().map(|mask| g.unpack(mask, 1)).transpose()?;
        if masks.as_ref().is_some_and(|masks| masks.len() != steps.len()) {
            refuse!("its mask and its input have different numbers of steps");
        }
        let size = |g: &Graph| g.with_nodes(<[_]>::len);
        let before = size(g);
        let mut outputs = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let mask = masks.as_ref().map(|masks| masks[index].clone());
            let output = self.inner(cx, Masked { tensor: step.clone(), mask }.into())?;
            outputs.push(output.tensor()?.tensor.clone());
            if index == 0 && (size(g) - before).saturating_mul(steps.len()) > MOST_NODES {
                return Ok(None);
            }
        }
        g.pack(&outputs.iter().collect::<Vec<_>>(), 1).map(Some)
    }

    /// Calls the layer once, with all steps of all samples as one batch.
    fn batch(&self, cx: &Context<'_>, inputs: &Argument) -> Result<Argument> {
        let g = cx.g;
        let Some(first) = inputs.tensors().first().map(|it| (*it).clone()) else {
            refuse!("it is called without inputs")
        };
        let flat = inputs.map(&mut |x: &Masked| {
            if x.rank() < 2 {
                refuse!("its input has shape {}, and needs a time dimension", x.shape);
            }
            let mask = x.mask.as_ref().map(|mask| folded(g, mask)).transpose()?;
            Ok(Masked { tensor: folded(g, x)?, mask })
        })?;
        let output = self.inner(cx, flat)?;
        output.map(&mut |y: &Masked| {
            let mask = match (&y.mask, &first.mask) {
                (Some(mask), _) => Some(unfolded(g, mask, &first)?),
                (None, Some(mask)) => Some(of_steps(g, mask)?),
                (None, None) => None,
            };
            Ok(Masked { tensor: unfolded(g, y, &first)?, mask })
        })
    }
}

impl Layer for TimeDistributed {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let Some(inputs) = arguments.take_first() else { refuse!("it is called without an input") };
        let mask = inputs.tensors().first().and_then(|x| x.mask.clone());
        if self.by_step {
            let x = inputs.tensor()?;
            if x.rank() < 3 {
                refuse!("its input has shape {}, and needs dimensions for the batch, time and features", x.shape);
            }
            if mask.as_ref().is_some_and(|mask| mask.rank() < 2) {
                refuse!("its mask has rank 1, and 2 is needed");
            }
            if x.dims()[1].is_some()
                && let Some(tensor) = self.steps(cx, x)?
            {
                return Ok(Masked { tensor, mask }.into());
            }
            if self.is_stateful {
                refuse!("the layer in it is stateful, and has an unknown number of steps or too many");
            }
        }
        let output = self.batch(cx, &inputs)?;
        if !cx.is_keras2() {
            return output.map(&mut |y: &Masked| Ok(Masked { tensor: y.tensor.clone(), mask: mask.clone() }));
        }
        Ok(output)
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }

    fn casts_inputs(&self) -> bool {
        // Keras 2 leaves it to the layer.
        true
    }

    fn ignores_training(&self) -> bool {
        self.layer.layer.ignores_training()
    }
}

/// With batch and time in one dimension.
fn folded(g: &Graph, x: &TensorRef) -> Result<TensorRef> {
    let [batch, time, rest @ ..] = x.dims() else { refuse!("a tensor of shape {} has no steps", x.shape) };
    let both = batch.zip(*time).and_then(|(batch, time)| batch.checked_mul(time));
    let dims = [&[both], rest].concat();
    reshaped(g, x, dims, |axis| if axis == 0 { g.scalar_i32(-1) } else { g.dim_of(x, axis as i64 + 1) })
}

/// With the batch and the time of `x` instead of the first dimension.
fn unfolded(g: &Graph, y: &TensorRef, x: &TensorRef) -> Result<TensorRef> {
    let Some((_, rest)) = y.dims().split_first() else { refuse!("the layer in it returns a scalar") };
    let dims = [&x.dims()[..2], rest].concat();
    reshaped(g, y, dims, |axis| match axis {
        0 => g.scalar_i32(-1),
        1 => g.dim_of(x, 1),
        axis => g.dim_of(y, axis as i64 - 1),
    })
}

/// Reshapes to sizes of which several may be unknown.
fn reshaped(
    g: &Graph,
    x: &TensorRef,
    dims: Vec<Dim>,
    unknown: impl Fn(usize) -> Result<TensorRef>,
) -> Result<TensorRef> {
    if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return g.reshape(x, &dims);
    }
    let sizes = g.pack_dims(&dims, unknown)?;
    g.reshape_to(x, &sizes, Shape::new(dims))
}

/// Whether anything of a step counts.
fn of_steps(g: &Graph, mask: &TensorRef) -> Result<TensorRef> {
    let mut mask = mask.clone();
    while mask.rank() > 2 {
        mask = g.any(&mask, &[-1], false)?;
    }
    Ok(mask)
}
