//! Ops that move elements.

use tf_persist_savedmodel::DType;

use super::broadcast::{broadcast_axes, reshape_like, sum_over};
use super::reduce::inverse;
use super::step::{Gradients, Step};
use crate::graph::{Attr, Dim, Shape, TensorRef, axis_index};
use crate::reason::{Result, refuse};

/// `Reshape`, `ExpandDims`, `Squeeze`.
pub(super) fn reshape(step: &Step<'_>) -> Gradients {
    step.first(|| reshape_like(step.g, &step.dy()?, step.x(0)?))
}

pub(super) fn transpose(step: &Step<'_>) -> Gradients {
    step.first(|| {
        let Some(permutation) = step.constant(1) else { refuse!("its permutation is not constant") };
        let rank = step.x(0)?.rank();
        let permutation = permutation.iter().map(|axis| axis_index(*axis, rank)).collect::<Result<Vec<_>>>()?;
        step.g.transpose(&step.dy()?, &inverse(&permutation))
    })
}

pub(super) fn concat(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let (parts, dy) = (step.node.inputs.len().saturating_sub(1), step.dy()?);
    let Some([axis]) = step.constant(parts).and_then(|axis| <[i64; 1]>::try_from(axis).ok()) else {
        refuse!("its axis is not constant")
    };
    let axis = axis_index(axis, dy.rank())?;
    let known: Option<Vec<u64>> = step.node.inputs[..parts].iter().map(|part| part.dims()[axis]).collect();
    if let Some(sizes) = known {
        let split = g.split_sizes(&dy, &sizes, axis as i64)?;
        return Ok(split.into_iter().map(|part| Some(part.into())).collect());
    }
    let mut sizes = Vec::new();
    for part in &step.node.inputs[..parts] {
        sizes.push(g.dim_of(part, axis as i64)?);
    }
    let sizes = g.pack(&sizes.iter().collect::<Vec<_>>(), 0)?;
    let axis_tensor = g.scalar_i32(i32::try_from(axis).unwrap_or(i32::MAX))?;
    let attrs: Vec<(&'static str, Attr)> =
        vec![("T", dy.dtype.into()), ("Tlen", DType::Int32.into()), ("num_split", (parts as i64).into())];
    let outputs = step.node.inputs[..parts].iter().map(|part| (dy.dtype, part.shape.clone())).collect();
    let split = g.add_many("SplitV", &[&dy, &sizes, &axis_tensor], attrs, outputs)?;
    Ok(split.into_iter().map(|part| Some(part.into())).collect())
}

/// `Split`, whose axis comes first, and `SplitV`.
pub(super) fn split(step: &Step<'_>, value: usize, axis: usize) -> Gradients {
    let Some([axis]) = step.constant(axis).and_then(|axis| <[i64; 1]>::try_from(axis).ok()) else {
        refuse!("its axis is not constant")
    };
    let parts = all(step)?;
    let mut gradients = vec![None; step.node.inputs.len()];
    gradients[value] = step.if_needed(value, || {
        let joined = step.g.concat(&parts.iter().collect::<Vec<_>>(), axis)?;
        Ok(joined)
    })?;
    Ok(gradients)
}

/// The gradients of all outputs.
fn all(step: &Step<'_>) -> Result<Vec<TensorRef>> {
    (0..step.node.outputs.len()).map(|output| step.dy_of(output)).collect()
}

pub(super) fn pack(step: &Step<'_>) -> Gradients {
    let parts = step.g.unpack(&step.dy()?, step.int("axis", 0))?;
    Ok(parts.into_iter().map(|part| Some(part.into())).collect())
}

pub(super) fn unpack(step: &Step<'_>) -> Gradients {
    let parts = all(step)?;
    step.first(|| step.g.pack(&parts.iter().collect::<Vec<_>>(), step.int("axis", 0)))
}

pub(super) fn tile(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, multiples, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
        // Interleaves multiples and sizes: `[m0, s0, m1, s1, …]`.
        let pairs = g.transpose(&g.pack(&[multiples, &g.shape_of(x)?], 0)?, &[1, 0])?;
        let sizes = g.reshape(&pairs, &[None])?;
        let known = step.constant(1).unwrap_or_default();
        let mut dims: Vec<Dim> = Vec::new();
        for (axis, size) in x.dims().iter().enumerate() {
            dims.extend([known.get(axis).and_then(|times| u64::try_from(*times).ok()), *size]);
        }
        let split = g.reshape_to(&dy, &sizes, Shape::new(dims))?;
        let axes: Vec<i64> = (0..x.rank() as i64).map(|axis| 2 * axis).collect();
        g.sum(&split, &axes, false)
    })
}

pub(super) fn broadcast_to(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, sizes, dy) = (step.x(0)?, step.x(1)?, step.dy()?);
        let [_, axes] = broadcast_axes(g, &g.cast(sizes, DType::Int32)?, &g.shape_of(x)?)?;
        reshape_like(g, &sum_over(g, &dy, &axes, true)?, x)
    })
}

pub(super) fn fill(step: &Step<'_>) -> Gradients {
    let g = step.g;
    let dy = step.dy()?;
    let axes: Vec<i64> = (0..dy.rank() as i64).collect();
    Ok(vec![None, step.if_needed(1, || g.sum(&dy, &axes, false))?])
}

/// `Pad` and `PadV2`: what lies between the padding.
pub(super) fn pad(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, dy) = (step.x(0)?, step.dy()?);
        let before = match step.constant(1) {
            Some(paddings) => g.vector_i32(&paddings.iter().step_by(2).copied().collect::<Vec<_>>())?,
            None => {
                let columns = g.unpack(&g.cast(step.x(1)?, DType::Int32)?, 1)?;
                columns[0].clone()
            }
        };
        super::slice::slice(g, &dy, &before, &g.shape_of(x)?, x.shape.clone())
    })
}

pub(super) fn mirror_pad(step: &Step<'_>) -> Gradients {
    let g = step.g;
    step.first(|| {
        let (x, dy) = (step.x(0)?, step.dy()?);
        let attrs = step.copied(&["T", "Tpaddings", "mode"]);
        g.add("MirrorPadGrad", &[&dy, step.x(1)?], attrs, dy.dtype, x.shape.clone())
    })
}

pub(super) fn reverse(step: &Step<'_>) -> Gradients {
    step.first(|| {
        let dy = step.dy()?;
        step.g.add("ReverseV2", &[&dy, step.x(1)?], step.node.attrs.clone(), dy.dtype, dy.shape.clone())
    })
}

pub(super) fn reverse_sequence(step: &Step<'_>) -> Gradients {
    step.first(|| {
        let dy = step.dy()?;
        step.g.add("ReverseSequence", &[&dy, step.x(1)?], step.node.attrs.clone(), dy.dtype, dy.shape.clone())
    })
}

pub(super) fn roll(step: &Step<'_>) -> Gradients {
    step.first(|| {
        let dy = step.dy()?;
        let back = step.g.neg(step.x(1)?)?;
        step.g.add("Roll", &[&dy, &back, step.x(2)?], step.node.attrs.clone(), dy.dtype, dy.shape.clone())
    })
}

/// `SpaceToBatchND` and `BatchToSpaceND` undo each other, and so do `SpaceToDepth` and `DepthToSpace`.
pub(super) fn undone_by(step: &Step<'_>, op: &'static str) -> Gradients {
    step.first(|| {
        let (x, dy) = (step.x(0)?, step.dy()?);
        let inputs: Vec<&TensorRef> = [&dy].into_iter().chain(step.node.inputs.iter().skip(1)).collect();
        step.g.add(op, &inputs, step.node.attrs.clone(), dy.dtype, x.shape.clone())
    })
}

pub(super) fn matrix_band_part(step: &Step<'_>) -> Gradients {
    step.first(|| {
        let dy = step.dy()?;
        let inputs = [&dy, step.x(1)?, step.x(2)?];
        step.g.add("MatrixBandPart", &inputs, step.node.attrs.clone(), dy.dtype, dy.shape.clone())
    })
}
