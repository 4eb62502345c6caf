//! Fourier transforms, frames, and sums of segments.

use tf_persist_savedmodel::{DType, Tensor};

use super::call::Call;
use super::{Entry, op};
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::layers::Argument;
use crate::reason::{Result, refuse};

/// The frames of a signal, and the length of one.
const MAX_FRAMES: u64 = 1 << 20;

pub(super) const TABLE: &[Entry] = &[
    op("FFT", "x", "", |c| transform(c, "FFT", 1)),
    op("FFT2", "x", "", |c| transform(c, "FFT2D", 2)),
    op("IFFT2", "x", "", inverse_transform),
    op("RFFT", "x", "fft_length", real_transform),
    op("IRFFT", "x", "fft_length", inverse_real_transform),
    op("ExtractSequences", "x", "sequence_length sequence_stride", frames),
    op("ViewAsComplex", "x", "", |c| {
        c.unary(|g, x| {
            if x.rank() == 0 || x.dim(-1)? != Some(2) {
                refuse!("its input has shape {}, and the last size should be 2", x.shape);
            }
            let parts = g.unpack(x, x.rank() as i64 - 1)?;
            g.complex(&parts[0], &parts[1])
        })
    }),
    op("ViewAsReal", "x", "", |c| c.unary(|g, x| g.pack(&[&g.part("Real", x)?, &g.part("Imag", x)?], -1))),
    op("Polar", "abs_ angle", "", |c| {
        let (size, angle) = (c.tensor("abs_")?, c.tensor("angle")?);
        let g = c.g;
        Ok(g.complex(&g.mul(&size, &g.cos(&angle)?)?, &g.mul(&size, &g.sin(&angle)?)?)?.into())
    }),
    op("SegmentSum", "data segment_ids", "num_segments sorted", |c| segments(c, "SegmentSum", "UnsortedSegmentSum")),
    op("SegmentMax", "data segment_ids", "num_segments sorted", |c| segments(c, "SegmentMax", "UnsortedSegmentMax")),
    op("SegmentMin", "data segment_ids", "num_segments sorted", |c| segments(c, "SegmentMin", "UnsortedSegmentMin")),
    op("SegmentProd", "data segment_ids", "num_segments sorted", |c| segments(c, "SegmentProd", "UnsortedSegmentProd")),
];

/// `x`, a pair of real and imaginary parts.
fn pair(c: &mut Call<'_>) -> Result<[TensorRef; 2]> {
    let parts = c.operands("x")?.iter().map(|part| part.tensor(c.g)).collect::<Result<Vec<_>>>()?;
    match <[TensorRef; 2]>::try_from(parts) {
        Ok(pair) => Ok(pair),
        Err(parts) => refuse!("it takes a real and an imaginary part, and has {} tensors", parts.len()),
    }
}

/// The real and the imaginary part.
fn parts(g: &Graph, x: &TensorRef) -> Result<Argument> {
    Ok(Argument::List(vec![g.part("Real", x)?.into(), g.part("Imag", x)?.into()]))
}

fn complex_transform(g: &Graph, op: &'static str, x: &TensorRef, rank: usize) -> Result<TensorRef> {
    if x.rank() < rank {
        refuse!("its input has shape {}, and rank {rank} is needed", x.shape);
    }
    g.add(op, &[x], vec![("Tcomplex", x.dtype.into())], x.dtype, x.shape.clone())
}

fn transform(c: &mut Call<'_>, op: &'static str, rank: usize) -> Result<Argument> {
    let [real, imaginary] = pair(c)?;
    let x = c.g.complex(&real, &imaginary)?;
    parts(c.g, &complex_transform(c.g, op, &x, rank)?)
}

/// As Keras, by the transform of the conjugate.
fn inverse_transform(c: &mut Call<'_>) -> Result<Argument> {
    let [real, imaginary] = pair(c)?;
    let g = c.g;
    let x = g.complex(&real, &g.neg(&imaginary)?)?;
    let y = complex_transform(g, "FFT2D", &x, 2)?;
    let (height, width) = (g.cast(&g.dim_of(&real, -2)?, real.dtype)?, g.cast(&g.dim_of(&real, -1)?, real.dtype)?);
    let count = g.mul(&height, &width)?;
    let real = g.real_div(&g.part("Real", &y)?, &count)?;
    let imaginary = g.real_div(&g.neg(&g.part("Imag", &y)?)?, &count)?;
    Ok(Argument::List(vec![real.into(), imaginary.into()]))
}

/// The length of a transform: an int32 vector, and the length if it is known.
fn length(c: &mut Call<'_>, otherwise: (TensorRef, Dim)) -> Result<(TensorRef, Dim)> {
    let (length, dim) = match c.int_or_none("fft_length")? {
        Some(length) => (c.g.scalar(length as f64, DType::Int32)?, u64::try_from(length).ok()),
        None => otherwise,
    };
    Ok((c.g.reshape(&length, &[Some(1)])?, dim))
}

fn with_last(x: &TensorRef, dim: Dim) -> Result<Shape> {
    match x.rank().checked_sub(1) {
        Some(last) => Ok(x.shape.with(last, dim)),
        None => refuse!("a scalar has no transform"),
    }
}

fn real_transform(c: &mut Call<'_>) -> Result<Argument> {
    let x = c.tensor("x")?;
    let g = c.g;
    let dtype = match x.dtype {
        DType::Float32 => DType::Complex64,
        DType::Float64 => DType::Complex128,
        dtype => refuse!("its input is {dtype}, and should be float32 or float64"),
    };
    let (length, size) = length(c, (g.dim_of(&x, -1)?, x.dim(-1)?))?;
    // TensorFlow fills short inputs up, and cuts long ones.
    let padded = match (x.dim(-1)?, size) {
        (Some(have), Some(wanted)) if have < wanted => {
            let mut paddings = vec![(0, 0); x.rank()];
            paddings[x.rank() - 1] = (0, wanted - have);
            g.pad(&x, &paddings, None)?
        }
        _ => x.clone(),
    };
    let shape = with_last(&x, size.map(|size| size / 2 + 1))?;
    let attrs = vec![("Treal", x.dtype.into()), ("Tcomplex", dtype.into())];
    let y = g.add("RFFT", &[&padded, &length], attrs, dtype, shape)?;
    parts(g, &y)
}

fn inverse_real_transform(c: &mut Call<'_>) -> Result<Argument> {
    let [real, imaginary] = pair(c)?;
    let g = c.g;
    let x = g.complex(&real, &imaginary)?;
    let size = x.dim(-1)?.map(|size| size.saturating_sub(1).saturating_mul(2));
    let two = g.scalar_i32(2)?;
    let computed = g.mul(&g.sub(&g.dim_of(&x, -1)?, &g.scalar_i32(1)?)?, &two)?;
    let (length, size) = length(c, (computed, size))?;
    let padded = match (x.dim(-1)?, size.map(|size| size / 2 + 1)) {
        (Some(have), Some(wanted)) if have < wanted => {
            let mut paddings = vec![(0, 0); x.rank()];
            paddings[x.rank() - 1] = (0, wanted - have);
            g.pad(&x, &paddings, None)?
        }
        _ => x.clone(),
    };
    let attrs = vec![("Tcomplex", x.dtype.into()), ("Treal", real.dtype.into())];
    Ok(g.add("IRFFT", &[&padded, &length], attrs, real.dtype, with_last(&x, size)?)?.into())
}

/// Overlapping parts of the last axis.
fn frames(c: &mut Call<'_>) -> Result<Argument> {
    let (x, length, stride) = (c.tensor("x")?, c.size("sequence_length")?, c.size("sequence_stride")?);
    let g = c.g;
    if length == 0 || stride == 0 || length > MAX_FRAMES || stride > 1 << 24 {
        refuse!("frames of length {length} and stride {stride} are impossible");
    }
    let count = x.dim(-1)?.map(|size| size.checked_sub(length).map_or(0, |rest| rest / stride + 1));
    let starts = match count {
        Some(count) if count <= MAX_FRAMES => {
            g.vector_i32(&(0..count).map(|it| (it * stride) as i64).collect::<Vec<_>>())?
        }
        Some(count) => refuse!("{count} frames are too many"),
        None => {
            let room = g.sub(&g.dim_of(&x, -1)?, &g.scalar(length as f64, DType::Int32)?)?;
            let stride = g.scalar(stride as f64, DType::Int32)?;
            let end = g.maximum(&g.add_v2(&room, &g.scalar_i32(1)?)?, &g.scalar_i32(0)?)?;
            g.range(&g.scalar_i32(0)?, &end, &stride, None)?
        }
    };
    let offsets = g.constant(Tensor::from_slice(&[1, length as usize], &(0..length as i32).collect::<Vec<_>>())?)?;
    let indices = g.add_v2(&g.expand_dims(&starts, 1)?, &offsets)?;
    Ok(g.gather(&x, &indices, -1)?.into())
}

fn segments(c: &mut Call<'_>, sorted: &'static str, unsorted: &'static str) -> Result<Argument> {
    let (data, ids) = (c.tensor("data")?, c.tensor("segment_ids")?);
    let (count, is_sorted) = (c.int_or_none("num_segments")?, c.bool_or("sorted", false)?);
    let g = c.g;
    if ids.rank() != 1 || data.rank() == 0 {
        refuse!("segments {} do not fit data of shape {}", ids.shape, data.shape);
    }
    let attrs = vec![("T", data.dtype.into()), ("Tindices", ids.dtype.into())];
    if is_sorted {
        return Ok(g.add(sorted, &[&data, &ids], attrs, data.dtype, data.shape.with(0, None))?.into());
    }
    let (number, dim) = match count {
        Some(count) => (g.scalar(count as f64, DType::Int32)?, u64::try_from(count).ok()),
        None if unsorted == "UnsortedSegmentSum" => {
            // As many as there are different ones.
            let outputs = vec![(ids.dtype, Shape::new([None])), (DType::Int32, ids.shape.clone())];
            let attrs = vec![("T", ids.dtype.into()), ("out_idx", DType::Int32.into())];
            let unique = g.add_many("Unique", &[&ids], attrs, outputs)?;
            (g.dim_of(&unique[0], 0)?, None)
        }
        None => {
            let next = g.add_v2(&g.max(&ids, &[0], false)?, &g.scalar(1.0, ids.dtype)?)?;
            (g.cast(&next, DType::Int32)?, None)
        }
    };
    let attrs = [attrs, vec![("Tnumsegments", DType::Int32.into())]].concat();
    Ok(g.add(unsorted, &[&data, &ids, &number], attrs, data.dtype, data.shape.with(0, dim))?.into())
}
