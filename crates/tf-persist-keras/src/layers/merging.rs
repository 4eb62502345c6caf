//! Layers that merge several tensors into one.

use std::collections::HashSet;

use tf_persist_savedmodel::DType;

use super::{Argument, Arguments, Context, Layer, MaskRule, Masked, finished};
use crate::config::Config;
use crate::graph::{Graph, Shape, TensorRef, axis_index};
use crate::operations::dtypes::Kind::Typed;
use crate::operations::dtypes::result_type;
use crate::reason::{Result, refuse};

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    let merge = |kind| Some(finished(Ok(Merge(kind)), config));
    match class {
        "Add" => merge(Kind::Add),
        "Subtract" => merge(Kind::Subtract),
        "Multiply" => merge(Kind::Multiply),
        "Average" => merge(Kind::Average),
        "Maximum" => merge(Kind::Maximum),
        "Minimum" => merge(Kind::Minimum),
        "Concatenate" => Some(finished(config.int_or("axis", -1).map(Concatenate), config)),
        "Dot" => Some(finished(Dot::new(config), config)),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Add,
    Subtract,
    Multiply,
    Average,
    Maximum,
    Minimum,
}

/// Combines tensors element by element.
#[derive(Debug)]
struct Merge(Kind);

impl Layer for Merge {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let inputs = arguments.inputs()?;
        let g = cx.g;
        if self.0 == Kind::Subtract && inputs.len() != 2 {
            refuse!("it is called with {} inputs, and subtracts one from another", inputs.len());
        }
        let rank = inputs.iter().map(|input| input.rank()).max().unwrap_or(0);
        let mut same_rank = Vec::new();
        for input in &inputs {
            let mut input = input.clone();
            while input.rank() < rank {
                input = g.expand_dims(&input, 1)?.into();
            }
            same_rank.push(input);
        }
        if cx.is_keras2() {
            let ignores_values = matches!(self.0, Kind::Add | Kind::Subtract | Kind::Average);
            note_masks(cx, &inputs, ignores_values);
            let output = self.fold(g, &same_rank)?;
            return Ok(Masked { tensor: output, mask: combined(g, &inputs, Graph::logical_and, false)? }.into());
        }
        let output = match self.0 {
            Kind::Multiply => masked_product(g, &same_rank)?,
            Kind::Maximum | Kind::Minimum => self.masked_fold(g, &same_rank)?,
            _ => self.fold(g, &same_rank)?.into(),
        };
        let mask = match output.mask {
            Some(mask) => Some(mask),
            None => combined(g, &inputs, Graph::logical_or, true)?,
        };
        Ok(Masked { tensor: output.tensor, mask }.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }
}

impl Merge {
    fn op(&self, g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        let [a, b] = &promoted(g, a, b)?;
        match self.0 {
            Kind::Add | Kind::Average => g.add_v2(a, b),
            Kind::Subtract => g.sub(a, b),
            Kind::Multiply => g.mul(a, b),
            Kind::Maximum => g.maximum(a, b),
            Kind::Minimum => g.minimum(a, b),
        }
    }

    /// From the first to the last.
    fn fold(&self, g: &Graph, inputs: &[Masked]) -> Result<TensorRef> {
        let Some((first, rest)) = inputs.split_first() else { refuse!("it is called without inputs") };
        let mut output = first.tensor.clone();
        for input in rest {
            output = self.op(g, &output, input)?;
        }
        if self.0 == Kind::Average {
            output = g.cast(&output, divided(output.dtype))?;
            output = g.with_scalar(&output, inputs.len() as f64, Graph::real_div)?;
        }
        Ok(output)
    }

    /// The same, where masked elements give way to the others.
    fn masked_fold(&self, g: &Graph, inputs: &[Masked]) -> Result<Masked> {
        let Some((first, rest)) = inputs.split_first() else { refuse!("it is called without inputs") };
        let mut output = first.tensor.clone();
        let mut output_mask = first.mask.as_ref().map(|mask| spread(g, mask, first)).transpose()?;
        for input in rest {
            let mask = input.mask.as_ref().map(|mask| spread(g, mask, input)).transpose()?;
            let [common, mut x] = promoted(g, &output, input)?;
            output = common;
            if let Some(mask) = &mask {
                x = g.select(mask, &x, &output)?;
            }
            if let Some(mask) = &output_mask {
                output = g.select(mask, &output, &x)?;
            }
            output_mask = match output_mask.zip(mask) {
                Some((own, mask)) => Some(g.logical_or(&own, &mask)?),
                None => None,
            };
            output = self.op(g, &output, &x)?;
        }
        let mask = output_mask.map(|mask| g.any(&mask, &[-1], false)).transpose()?;
        Ok(Masked { tensor: output, mask })
    }
}

/// The product, where masked elements count as 1; if all are masked, it is 0.
fn masked_product(g: &Graph, inputs: &[Masked]) -> Result<Masked> {
    let all_masked = inputs.iter().all(|input| input.mask.is_some());
    let (mut output, mut output_mask): (Option<TensorRef>, Option<TensorRef>) = (None, None);
    for input in inputs {
        let mut x = input.tensor.clone();
        if let Some(mask) = &input.mask {
            let mask = spread(g, mask, input)?;
            x = g.select(&mask, &x, &g.scalar(1.0, x.dtype)?)?;
            if all_masked {
                output_mask = Some(match &output_mask {
                    Some(known) => g.logical_or(known, &mask)?,
                    None => mask,
                });
            }
        }
        output = Some(match &output {
            Some(known) => {
                let [known, x] = promoted(g, known, &x)?;
                g.mul(&known, &x)?
            }
            None => x,
        });
    }
    let Some(mut output) = output else { refuse!("it is called without inputs") };
    let Some(mask) = output_mask else { return Ok(output.into()) };
    output = g.select(&mask, &output, &g.scalar(0.0, output.dtype)?)?;
    Ok(Masked { tensor: output, mask: Some(g.any(&mask, &[-1], false)?) })
}

/// Two tensors in their common dtype.
fn promoted(g: &Graph, a: &TensorRef, b: &TensorRef) -> Result<[TensorRef; 2]> {
    if a.dtype == b.dtype {
        return Ok([a.clone(), b.clone()]);
    }
    let dtype = result_type(&[Typed(a.dtype), Typed(b.dtype)])?;
    Ok([g.cast(a, dtype)?, g.cast(b, dtype)?])
}

/// The dtype of the quotients of numbers.
fn divided(dtype: DType) -> DType {
    match dtype {
        DType::Int8 | DType::UInt8 | DType::Int16 | DType::UInt16 => DType::Float32,
        DType::Int32 | DType::UInt32 | DType::Int64 | DType::UInt64 => DType::Float64,
        other => other,
    }
}

/// A mask of steps as one of all elements.
fn spread(g: &Graph, mask: &TensorRef, x: &TensorRef) -> Result<TensorRef> {
    if mask.rank() + 1 != x.rank() {
        refuse!("a mask of shape {} does not fit shape {}", mask.shape, x.shape);
    }
    let mask = g.expand_dims(mask, -1)?;
    g.broadcast_to(&mask, &g.shape_of(x)?, mask.shape.broadcast(&x.shape)?)
}

/// Notes inputs of Keras 2 that Keras 3 merges otherwise: those whose masks are different, and any masks if the values
/// of masked elements count for nothing there.
fn note_masks(cx: &Context<'_>, inputs: &[Masked], may_be_same: bool) {
    let keys: HashSet<_> = inputs.iter().map(|input| input.mask.as_ref().map(TensorRef::key)).collect();
    if keys.len() > 1 || !may_be_same && !keys.contains(&None) {
        cx.shared.merges_masks.borrow_mut().insert(cx.place.layers.join("/"));
    }
}

/// One mask from those of the inputs; none if none has one, or if one has none and all are needed.
fn combined(
    g: &Graph,
    inputs: &[Masked],
    op: impl Fn(&Graph, &TensorRef, &TensorRef) -> Result<TensorRef>,
    all: bool,
) -> Result<Option<TensorRef>> {
    if all && inputs.iter().any(|input| input.mask.is_none()) {
        return Ok(None);
    }
    let mut output: Option<TensorRef> = None;
    for mask in inputs.iter().filter_map(|input| input.mask.as_ref()) {
        output = Some(match &output {
            Some(known) => op(g, known, mask)?,
            None => mask.clone(),
        });
    }
    Ok(output)
}

/// Joins tensors along an axis.
#[derive(Debug)]
struct Concatenate(i64);

impl Layer for Concatenate {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let inputs = arguments.inputs()?;
        let mut kinds: Vec<_> = inputs.iter().map(|input| Typed(input.dtype)).collect();
        kinds.dedup();
        let dtype = if kinds.len() > 1 { Some(result_type(&kinds)?) } else { None };
        let cast = |input: &Masked| cx.g.cast(input, dtype.unwrap_or(input.dtype));
        let tensors = inputs.iter().map(cast).collect::<Result<Vec<_>>>()?;
        let tensor = cx.g.concat(&tensors.iter().collect::<Vec<_>>(), self.0)?;
        Ok(Masked { tensor, mask: self.mask(cx, &inputs)? }.into())
    }

    fn mask_rule(&self) -> MaskRule {
        MaskRule::Own
    }
}

impl Concatenate {
    fn mask(&self, cx: &Context<'_>, inputs: &[Masked]) -> Result<Option<TensorRef>> {
        let g = cx.g;
        if inputs.iter().all(|input| input.mask.is_none()) {
            return Ok(None);
        }
        let is_last =
            inputs.iter().any(|input| axis_index(self.0, input.rank()).is_ok_and(|axis| axis + 1 == input.rank()));
        if cx.is_keras2() && is_last {
            note_masks(cx, inputs, true);
        }
        let mut masks = Vec::new();
        for input in inputs {
            let filled = |value: f64| {
                let sizes = g.shape_of(input)?;
                g.fill(&sizes, &g.scalar(value, DType::Bool)?, input.shape.clone())
            };
            masks.push(match &input.mask {
                None => filled(1.0)?,
                Some(mask) if mask.rank() >= input.rank() => mask.clone(),
                Some(mask) if cx.is_keras2() => g.expand_dims(mask, -1)?,
                Some(mask) => g.logical_or(&g.expand_dims(mask, -1)?, &filled(0.0)?)?,
            });
        }
        let joined = g.concat(&masks.iter().collect::<Vec<_>>(), self.0)?;
        let reduce = if cx.is_keras2() { Graph::all } else { Graph::any };
        Ok(Some(reduce(g, &joined, &[-1], false)?))
    }
}

/// The product of two tensors along one axis of each.
#[derive(Debug)]
struct Dot {
    axes: [i64; 2],
    normalize: bool,
}

impl Dot {
    fn new(config: &Config<'_>) -> Result<Self> {
        let axes = match config.ints("axes")?.as_slice() {
            [axis] => [*axis; 2],
            [first, second] => [*first, *second],
            axes => refuse!("`axes` has {} axes, and should have 1 or 2", axes.len()),
        };
        Ok(Self { axes, normalize: config.bool_or("normalize", false)? })
    }

    /// The vectors along an axis, of length 1.
    fn normalized(&self, cx: &Context<'_>, x: &TensorRef, axis: i64) -> Result<TensorRef> {
        let g = cx.g;
        let sum = g.sum(&g.square(x)?, &[axis], true)?;
        let inverse = match cx.is_keras2() {
            true => g.rsqrt(&g.with_scalar(&sum, 1e-12, Graph::maximum)?)?,
            false => g.with_scalar(&g.rsqrt(&sum)?, 1.0 / 1e-7, Graph::minimum)?,
        };
        g.mul(x, &inverse)
    }
}

impl Layer for Dot {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let inputs = arguments.inputs()?;
        let [x, y] = inputs.as_slice() else { refuse!("it is called with {} inputs, and needs 2", inputs.len()) };
        let (mut x, mut y) = (x.tensor.clone(), y.tensor.clone());
        let axes = [axis_index(self.axes[0], x.rank())?, axis_index(self.axes[1], y.rank())?];
        if self.normalize {
            x = self.normalized(cx, &x, axes[0] as i64)?;
            y = self.normalized(cx, &y, axes[1] as i64)?;
        }
        Ok(batch_dot(cx.g, &x, &y, axes)?.into())
    }
}

/// The product along these axes, for each sample.
fn batch_dot(g: &Graph, x: &TensorRef, y: &TensorRef, [axis_x, axis_y]: [usize; 2]) -> Result<TensorRef> {
    if x.rank() < 2 || y.rank() < 2 || axis_x == 0 || axis_y == 0 {
        refuse!("a product of shapes {} and {} along axes {axis_x} and {axis_y} is impossible", x.shape, y.shape);
    }
    let from_matrix = [x.rank() == 2, y.rank() == 2];
    let x = if from_matrix[0] { g.expand_dims(x, 1)? } else { x.clone() };
    let y = if from_matrix[1] { g.expand_dims(y, 2)? } else { y.clone() };
    let axis_x = axis_x + usize::from(from_matrix[0]);
    // The axes become the last one of `x` and the second one of `y`.
    let x = moved(g, &x, axis_x, x.rank() - 1)?;
    let y = moved(g, &y, axis_y, 1)?;
    let inner = &x.dims()[1..x.rank() - 1];
    let outer = &y.dims()[2..];
    let size = |dims: &[Option<u64>]| crate::graph::shape::element_count(dims);
    let rows = if x.rank() > 3 {
        let dims = [x.dims()[0], size(inner), x.dims()[x.rank() - 1]];
        let sizes = vector(g, &[g.dim_of(&x, 0)?, g.scalar_i32(-1)?, g.dim_of(&x, -1)?])?;
        g.reshape_to(&x, &sizes, Shape::new(dims))?
    } else {
        x.clone()
    };
    let columns = if y.rank() > 3 {
        let dims = [y.dims()[0], y.dims()[1], size(outer)];
        let sizes = vector(g, &[g.dim_of(&y, 0)?, g.dim_of(&y, 1)?, g.scalar_i32(-1)?])?;
        g.reshape_to(&y, &sizes, Shape::new(dims))?
    } else {
        y.clone()
    };
    let mut z = g.batch_mat_mul(&rows, &columns, false, false)?;
    if x.rank() > 3 || y.rank() > 3 {
        let dims = [&[z.dims()[0]], inner, outer].concat();
        let mut sizes = vec![g.dim_of(&z, 0)?];
        for axis in 1..x.rank() - 1 {
            sizes.push(g.dim_of(&x, axis as i64)?);
        }
        for axis in 2..y.rank() {
            sizes.push(g.dim_of(&y, axis as i64)?);
        }
        z = g.reshape_to(&z, &vector(g, &sizes)?, Shape::new(dims))?;
    }
    match from_matrix {
        [true, _] => g.squeeze(&z, &[1]),
        [_, true] => g.squeeze(&z, &[-1]),
        _ => Ok(z),
    }
}

/// A vector of scalars.
fn vector(g: &Graph, scalars: &[TensorRef]) -> Result<TensorRef> {
    g.pack(&scalars.iter().collect::<Vec<_>>(), 0)
}

/// With an axis moved to another place.
fn moved(g: &Graph, x: &TensorRef, from: usize, to: usize) -> Result<TensorRef> {
    if from == to {
        return Ok(x.clone());
    }
    let mut order: Vec<usize> = (0..x.rank()).collect();
    let axis = order.remove(from);
    order.insert(to, axis);
    g.transpose(x, &order)
}
