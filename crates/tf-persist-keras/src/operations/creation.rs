//! Operations that make tensors, or give them another dtype.

use tf_persist_savedmodel::DType;

use super::call::Call;
use super::dtypes::{Kind, is_integer, result_type};
use super::functions::{clip_by_value, largest};
use super::operand::Operand;
use super::{Entry, op};
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

pub(super) const TABLE: &[Entry] = &[
    op("Cast", "x", "dtype", |c| {
        let (x, dtype) = (c.tensor("x")?, c.dtype_or_none("dtype")?);
        match dtype {
            Some(dtype) => Ok(c.g.cast(&x, dtype)?.into()),
            None => refuse!("it has no `dtype`"),
        }
    }),
    op("SaturateCast", "x", "dtype", saturate_cast),
    op("ConvertToTensor", "x", "dtype sparse ragged", as_tensor),
    op("Array", "x", "dtype", as_tensor),
    op("OnesLike", "x", "dtype", |c| like(c, 1.0)),
    op("ZerosLike", "x", "dtype", |c| like(c, 0.0)),
    op("EmptyLike", "x", "dtype", |c| like(c, 0.0)),
    op("Full", "fill_value", "shape dtype", |c| {
        let (value, sizes) = (c.operand("fill_value")?, c.ints("shape")?);
        let dtype = c.dtype_or_none("dtype")?.unwrap_or(DType::Float32);
        let shape = Shape::new(super::shapes::open_dims(&sizes)?);
        Ok(c.g.broadcast_to(&value.to(c.g, dtype)?, &c.g.vector_i32(&sizes)?, shape)?.into())
    }),
    op("FullLike", "x fill_value", "dtype", |c| {
        let (x, value) = (c.tensor("x")?, c.operand("fill_value")?);
        let dtype = result_type(&[Kind::Typed(c.dtype_or_none("dtype")?.unwrap_or(x.dtype))])?;
        Ok(c.g.broadcast_to(&value.to(c.g, dtype)?, &c.g.shape_of(&x)?, x.shape.clone())?.into())
    }),
    op("Arange", "start stop step", "dtype", arange),
    op("Linspace", "start stop", "num endpoint retstep dtype axis", |c| {
        let spacing = Spacing::of(c)?;
        let (values, step) = spacing.linear(c)?;
        Ok(if spacing.with_step { Argument::List(vec![values.into(), step.into()]) } else { values.into() })
    }),
    op("Logspace", "start stop", "num endpoint base dtype axis", |c| {
        let base = c.float_or("base", 10.0)?;
        let (exponents, _) = Spacing::of(c)?.linear(c)?;
        Ok(c.g.pow(&c.g.cast(&c.g.scalar(base, DType::Float32)?, exponents.dtype)?, &exponents)?.into())
    }),
    op("View", "x", "dtype", view),
];

fn as_tensor(c: &mut Call<'_>) -> Result<Argument> {
    let (x, dtype) = (c.operand("x")?, c.dtype_or_none("dtype")?);
    if c.bool_or("sparse", false)? || c.bool_or("ragged", false)? {
        refuse!("its result is sparse or ragged, which is not supported");
    }
    Ok(match dtype {
        // Numbers are converted first, and then cast.
        Some(dtype) if is_integer(dtype) || dtype == DType::Bool => c.g.cast(&x.tensor(c.g)?, dtype)?,
        Some(dtype) => x.to(c.g, dtype)?,
        None => x.tensor(c.g)?,
    }
    .into())
}

fn like(c: &mut Call<'_>, value: f64) -> Result<Argument> {
    let (x, dtype) = (c.tensor("x")?, c.dtype_or_none("dtype")?);
    let g = c.g;
    let dtype = dtype.unwrap_or(x.dtype);
    Ok(g.fill(&g.shape_of(&x)?, &g.scalar(value, dtype)?, x.shape.clone())?.into())
}

/// The least and the largest number of a dtype.
fn range_of(dtype: DType) -> Result<(f64, f64)> {
    Ok(match dtype {
        DType::Bool => (0.0, 1.0),
        DType::Int8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
        DType::Int16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        DType::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        DType::UInt8 => (0.0, f64::from(u8::MAX)),
        DType::UInt16 => (0.0, f64::from(u16::MAX)),
        DType::UInt32 => (0.0, f64::from(u32::MAX)),
        dtype if dtype.is_floating() => (-largest(dtype)?, largest(dtype)?),
        dtype => refuse!("a saturating cast from or to {dtype} is not supported"),
    })
}

fn saturate_cast(c: &mut Call<'_>) -> Result<Argument> {
    let (x, dtype) = (c.tensor("x")?, c.dtype_or_none("dtype")?);
    match dtype {
        Some(dtype) => Ok(saturated(c.g, &x, dtype)?.into()),
        None => refuse!("it has no `dtype`"),
    }
}

/// A tensor in another dtype, kept within its range.
pub(crate) fn saturated(g: &Graph, x: &TensorRef, dtype: DType) -> Result<TensorRef> {
    let ((in_low, in_high), (out_low, out_high)) = (range_of(x.dtype)?, range_of(dtype)?);
    // Keras rounds the limits to the dtype of the input, so that the largest integers become the smallest.
    let (low, high) = (in_low.max(out_low), in_high.min(out_high));
    let wide = if x.dtype == DType::Bool { g.cast(x, DType::Int32)? } else { x.clone() };
    let y = clip_by_value(g, &wide, &g.scalar(low, wide.dtype)?, &g.scalar(high, wide.dtype)?)?;
    g.cast(&y, dtype)
}

/// A number that is known when the model is converted.
fn known(operand: &Operand) -> Option<f64> {
    match operand {
        Operand::Int(value) => Some(*value as f64),
        Operand::Float(value) => Some(*value),
        Operand::Tensor(_) => None,
    }
}

fn arange(c: &mut Call<'_>) -> Result<Argument> {
    let (start, stop, step) = (c.operand("start")?, c.operand_or_none("stop")?, c.operand_or_none("step")?);
    let kinds: Vec<Kind> =
        [Some(&start), stop.as_ref(), step.as_ref()].into_iter().flatten().map(Operand::kind).collect();
    let dtype = match c.dtype_or_none("dtype")? {
        Some(dtype) => dtype,
        None => result_type(&kinds)?,
    };
    let (start, stop) = match stop {
        Some(stop) => (start, stop),
        None => (Operand::Int(0), start),
    };
    let step = step.unwrap_or(Operand::Int(1));
    let dim: Dim = match (known(&start), known(&stop), known(&step)) {
        (Some(start), Some(stop), Some(step)) if step != 0.0 => {
            let count = ((stop - start) / step).ceil();
            if count > f64::from(1 << 30) {
                refuse!("a range of {count} elements is too long");
            }
            Some(count.max(0.0) as u64)
        }
        _ => None,
    };
    // TensorFlow has ranges of these dtypes only.
    let inner = match dtype {
        DType::Int32 | DType::Int64 | DType::Float32 | DType::Float64 | DType::BFloat16 => dtype,
        _ => DType::Float32,
    };
    let g = c.g;
    let y = g.range(&start.to(g, inner)?, &stop.to(g, inner)?, &step.to(g, inner)?, dim)?;
    Ok(g.cast(&y, dtype)?.into())
}

/// The parameters of evenly spaced numbers.
struct Spacing {
    count: u64,
    endpoint: bool,
    with_step: bool,
    dtype: DType,
    axis: i64,
    start: TensorRef,
    stop: TensorRef,
}

impl Spacing {
    fn of(c: &mut Call<'_>) -> Result<Self> {
        let (start, stop) = (c.operand("start")?, c.operand("stop")?);
        let dtype = match c.dtype_or_none("dtype")? {
            Some(dtype) => dtype,
            None => result_type(&[start.kind(), stop.kind(), Kind::WeakFloat])?,
        };
        Ok(Self {
            count: c.int_or("num", 50).map(|count| u64::try_from(count).unwrap_or(0))?,
            endpoint: c.bool_or("endpoint", true)?,
            with_step: c.bool_or("retstep", false)?,
            dtype,
            axis: c.int_or("axis", 0)?,
            start: start.to(c.g, dtype)?,
            stop: stop.to(c.g, dtype)?,
        })
    }

    /// The numbers, and the step between them.
    fn linear(&self, c: &Call<'_>) -> Result<(TensorRef, TensorRef)> {
        let g = c.g;
        if !self.dtype.is_floating() {
            refuse!("evenly spaced numbers of {} are not supported", self.dtype);
        }
        let mut steps = self.count as f64;
        if self.endpoint {
            steps -= 1.0;
        }
        let mut stop = self.stop.clone();
        let mut step = g.scalar(f64::NAN, DType::Float32)?;
        if steps > 0.0 {
            step = g.real_div(&g.sub(&self.stop, &self.start)?, &g.scalar(steps, self.dtype)?)?;
            if !self.endpoint && self.count > 1 {
                stop = g.sub(&stop, &step)?;
            }
        }
        Ok((self.between(g, &stop)?, step))
    }

    /// As TensorFlow's `linspace_nd`.
    fn between(&self, g: &Graph, stop: &TensorRef) -> Result<TensorRef> {
        let shape = self.start.shape.broadcast(&stop.shape)?;
        let sizes = g.broadcast_sizes(&self.start, stop)?;
        let start = g.broadcast_to(&self.start, &sizes, shape.clone())?;
        let stop = g.broadcast_to(stop, &sizes, shape.clone())?;
        let axis = crate::graph::axis_index(self.axis, shape.rank() + 1)? as i64;
        let (start, stop) = (g.expand_dims(&start, axis)?, g.expand_dims(&stop, axis)?);
        if self.count < 2 {
            return if self.count == 1 { Ok(start) } else { refuse!("no numbers are evenly spaced") };
        }
        let steps = g.scalar((self.count - 1) as f64, self.dtype)?;
        let delta = g.real_div(&g.sub(&stop, &start)?, &steps)?;
        let (one, end) = (g.scalar(1.0, DType::Int64)?, g.scalar((self.count - 1) as f64, DType::Int64)?);
        let range = g.range(&one, &end, &g.scalar(1.0, DType::Int64)?, Some(self.count - 2))?;
        let mut dims = vec![Some(1); shape.rank() + 1];
        dims[axis as usize] = Some(self.count - 2);
        let range = g.reshape(&g.cast(&range, self.dtype)?, &dims)?;
        let inner = g.add_v2(&start, &g.mul(&delta, &range)?)?;
        g.concat(&[&start, &inner, &stop], axis)
    }
}

/// The same bytes as elements of another dtype.
fn view(c: &mut Call<'_>) -> Result<Argument> {
    let (x, dtype) = (c.tensor("x")?, c.dtype_or_none("dtype")?);
    let g = c.g;
    let dtype = dtype.unwrap_or(x.dtype);
    let (Some(from), Some(to)) = (x.dtype.size(), dtype.size()) else {
        refuse!("{} cannot be seen as {dtype}", x.dtype)
    };
    if from == to {
        return Ok(g.bitcast(&x, dtype)?.into());
    }
    let Some((last, outer)) = x.dims().split_last() else {
        refuse!("a scalar of {} cannot be seen as {dtype}", x.dtype)
    };
    let attrs = vec![("T", x.dtype.into()), ("type", dtype.into())];
    if from > to {
        let ratio = (from / to) as u64;
        let split = Shape::new([x.dims(), &[Some(ratio)]].concat());
        let y = g.add("Bitcast", &[&x], attrs, dtype, split)?;
        let dims = [outer, &[last.and_then(|size| size.checked_mul(ratio))]].concat();
        return Ok(g.reshape(&y, &dims)?.into());
    }
    let ratio = (to / from) as u64;
    let Some(size) = last.filter(|size| size % ratio == 0) else {
        refuse!("rows of shape {} cannot be seen as {dtype}", x.shape)
    };
    let dims = [outer, &[Some(size / ratio), Some(ratio)]].concat();
    let parts = g.reshape(&x, &dims)?;
    Ok(g.add("Bitcast", &[&parts], attrs, dtype, Shape::new(&dims[..dims.len() - 1]))?.into())
}
