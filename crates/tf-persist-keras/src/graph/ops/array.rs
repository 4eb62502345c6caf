//! Ops that move elements.

use tf_persist_savedmodel::DType;

use super::super::shape::element_count;
use super::super::{Attr, Dim, Graph, Shape, TensorRef, axis_index};
use super::conv::Margins;
use crate::reason::{Result, refuse};

fn int(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Graph {
    /// The shape of a tensor when the graph runs, int32.
    pub(crate) fn shape_of(&self, x: &TensorRef) -> Result<TensorRef> {
        self.add("Shape", &[x], vec![("T", x.dtype.into())], DType::Int32, Shape::new([Some(x.rank() as u64)]))
    }

    /// The size of a dimension when the graph runs, an int32 scalar; a constant if it is known.
    pub(crate) fn dim_of(&self, x: &TensorRef, axis: i64) -> Result<TensorRef> {
        let index = axis_index(axis, x.rank())?;
        match x.dims()[index] {
            Some(size) => self.scalar_i32(i32::try_from(size).unwrap_or(i32::MAX)),
            None => self.element(&self.shape_of(x)?, int(index)),
        }
    }

    /// A shape as a tensor of int32: a constant if all sizes are known, else with unknown ones from these scalars.
    pub(crate) fn pack_dims(&self, dims: &[Dim], unknown: impl Fn(usize) -> Result<TensorRef>) -> Result<TensorRef> {
        if let Some(sizes) = Shape::new(dims).sizes() {
            return self.vector_i32(
                &sizes.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
            );
        }
        let mut scalars = Vec::with_capacity(dims.len());
        for (axis, dim) in dims.iter().enumerate() {
            scalars.push(match dim {
                Some(size) => self.scalar_i32(i32::try_from(*size).unwrap_or(i32::MAX))?,
                None => unknown(axis)?,
            });
        }
        self.pack(&scalars.iter().collect::<Vec<_>>(), 0)
    }

    /// Reshapes to sizes of which at most one is unknown, and computed from the number of elements.
    pub(crate) fn reshape(&self, x: &TensorRef, dims: &[Dim]) -> Result<TensorRef> {
        let unknown = dims.iter().filter(|dim| dim.is_none()).count();
        if unknown > 1 {
            refuse!("a reshape to {} leaves two sizes open", Shape::new(dims));
        }
        let mut shape = dims.to_vec();
        if let (Some(all), Some(known)) = (x.shape.element_count(), element_count(&known(dims))) {
            match dims.iter().position(Option::is_none) {
                None if all != known => {
                    refuse!("a tensor of shape {} cannot be reshaped to {}", x.shape, Shape::new(dims))
                }
                Some(axis) if known > 0 && all % known == 0 => shape[axis] = Some(all / known),
                Some(_) if known > 0 => {
                    refuse!("a tensor of shape {} cannot be reshaped to {}", x.shape, Shape::new(dims))
                }
                _ => {}
            }
        }
        let sizes: Vec<i64> =
            dims.iter().map(|dim| dim.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX))).collect();
        let sizes = self.vector_i32(&sizes)?;
        self.reshape_to(x, &sizes, Shape::new(shape))
    }

    /// Reshapes to the sizes in a tensor, of which this is known.
    pub(crate) fn reshape_to(&self, x: &TensorRef, sizes: &TensorRef, shape: Shape) -> Result<TensorRef> {
        self.add("Reshape", &[x, sizes], vec![("T", x.dtype.into()), ("Tshape", sizes.dtype.into())], x.dtype, shape)
    }

    pub(crate) fn transpose(&self, x: &TensorRef, permutation: &[usize]) -> Result<TensorRef> {
        let mut sorted = permutation.to_vec();
        sorted.sort_unstable();
        if sorted != (0..x.rank()).collect::<Vec<_>>() {
            refuse!("{permutation:?} does not permute the {} dimensions of its input", x.rank());
        }
        let shape = Shape::new(permutation.iter().map(|axis| x.dims()[*axis]).collect::<Vec<_>>());
        let axes = self.vector_i32(&permutation.iter().map(|axis| int(*axis)).collect::<Vec<_>>())?;
        self.add("Transpose", &[x, &axes], vec![("T", x.dtype.into())], x.dtype, shape)
    }

    /// Inserts a dimension of size 1 before this axis.
    pub(crate) fn expand_dims(&self, x: &TensorRef, axis: i64) -> Result<TensorRef> {
        let index = axis_index(axis, x.rank() + 1)?;
        let mut dims = x.dims().to_vec();
        dims.insert(index, Some(1));
        let axis = self.scalar_i32(i32::try_from(axis).unwrap_or(i32::MAX))?;
        self.add("ExpandDims", &[x, &axis], vec![("T", x.dtype.into())], x.dtype, Shape::new(dims))
    }

    /// Removes dimensions of size 1.
    pub(crate) fn squeeze(&self, x: &TensorRef, axes: &[i64]) -> Result<TensorRef> {
        let mut dims: Vec<_> = x.dims().iter().copied().map(Some).collect();
        for axis in axes {
            let index = axis_index(*axis, x.rank())?;
            if dims[index].flatten().is_some_and(|size| size != 1) {
                refuse!("axis {axis} of shape {} does not have size 1", x.shape);
            }
            dims[index] = None;
        }
        let attrs = vec![("T", x.dtype.into()), ("squeeze_dims", axes.to_vec().into())];
        self.add("Squeeze", &[x], attrs, x.dtype, Shape::new(dims.into_iter().flatten().collect::<Vec<_>>()))
    }

    pub(crate) fn concat(&self, all: &[&TensorRef], axis: i64) -> Result<TensorRef> {
        let [first, rest @ ..] = all else { refuse!("there is nothing to concatenate") };
        if rest.is_empty() {
            return Ok((*first).clone());
        }
        let index = axis_index(axis, first.rank())?;
        let mut shape = first.shape.clone();
        for tensor in rest {
            if tensor.dtype != first.dtype {
                refuse!("tensors of {} and {} cannot be concatenated", first.dtype, tensor.dtype);
            }
            if tensor.rank() != first.rank() {
                refuse!("tensors of shapes {} and {} cannot be concatenated", first.shape, tensor.shape);
            }
            let size = shape.dims()[index].zip(tensor.dims()[index]).and_then(|(a, b)| a.checked_add(b));
            shape = shape.with(index, None).merge(&tensor.shape.with(index, None))?.with(index, size);
        }
        let axis = self.scalar_i32(i32::try_from(axis).unwrap_or(i32::MAX))?;
        let inputs: Vec<&TensorRef> = all.iter().copied().chain([&axis]).collect();
        let attrs = vec![("T", first.dtype.into()), ("N", int(all.len()).into())];
        self.add("ConcatV2", &inputs, attrs, first.dtype, shape)
    }

    /// Stacks tensors along a new axis.
    pub(crate) fn pack(&self, all: &[&TensorRef], axis: i64) -> Result<TensorRef> {
        let [first, rest @ ..] = all else { refuse!("there is nothing to stack") };
        let mut shape = first.shape.clone();
        for tensor in rest {
            if tensor.dtype != first.dtype {
                refuse!("tensors of {} and {} cannot be stacked", first.dtype, tensor.dtype);
            }
            shape = shape.merge(&tensor.shape)?;
        }
        let index = axis_index(axis, first.rank() + 1)?;
        let mut dims = shape.dims().to_vec();
        dims.insert(index, Some(all.len() as u64));
        let attrs = vec![("T", first.dtype.into()), ("N", int(all.len()).into()), ("axis", int(index).into())];
        self.add("Pack", all, attrs, first.dtype, Shape::new(dims))
    }

    /// The slices along an axis whose size is known.
    pub(crate) fn unpack(&self, x: &TensorRef, axis: i64) -> Result<Vec<TensorRef>> {
        let count = self.output_count(x.size(axis)?)?;
        let index = axis_index(axis, x.rank())?;
        let mut dims = x.dims().to_vec();
        dims.remove(index);
        let attrs = vec![("T", x.dtype.into()), ("num", int(count).into()), ("axis", int(index).into())];
        self.add_many("Unpack", &[x], attrs, vec![(x.dtype, Shape::new(dims)); count])
    }

    /// Equal parts along an axis.
    pub(crate) fn split(&self, x: &TensorRef, parts: usize, axis: i64) -> Result<Vec<TensorRef>> {
        let index = axis_index(axis, x.rank())?;
        let part = match x.dims()[index] {
            Some(size) if parts > 0 && size % parts as u64 == 0 => Some(size / parts as u64),
            Some(size) => refuse!("axis {axis} of size {size} does not split into {parts} equal parts"),
            None => None,
        };
        let count = self.output_count(parts as u64)?;
        let axis = self.scalar_i32(i32::try_from(index).unwrap_or(i32::MAX))?;
        let attrs = vec![("T", x.dtype.into()), ("num_split", int(count).into())];
        self.add_many("Split", &[&axis, x], attrs, vec![(x.dtype, x.shape.with(index, part)); count])
    }

    /// Parts of these sizes along an axis.
    pub(crate) fn split_sizes(&self, x: &TensorRef, sizes: &[u64], axis: i64) -> Result<Vec<TensorRef>> {
        let index = axis_index(axis, x.rank())?;
        self.output_count(sizes.len() as u64)?;
        let lengths =
            self.vector_i32(&sizes.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect::<Vec<_>>())?;
        let axis = self.scalar_i32(i32::try_from(index).unwrap_or(i32::MAX))?;
        let attrs = vec![("T", x.dtype.into()), ("Tlen", DType::Int32.into()), ("num_split", int(sizes.len()).into())];
        let outputs = sizes.iter().map(|size| (x.dtype, x.shape.with(index, Some(*size)))).collect();
        self.add_many("SplitV", &[x, &lengths, &axis], attrs, outputs)
    }

    /// The number of outputs of a node, within a limit.
    fn output_count(&self, count: u64) -> Result<usize> {
        const MOST: u64 = 1 << 20;
        match usize::try_from(count) {
            Ok(count) if count as u64 <= MOST => Ok(count),
            _ => refuse!("{count} parts are too many"),
        }
    }

    /// Repeats along each axis.
    pub(crate) fn tile(&self, x: &TensorRef, multiples: &[u64]) -> Result<TensorRef> {
        if multiples.len() != x.rank() {
            refuse!("{} multiples do not fit a tensor of rank {}", multiples.len(), x.rank());
        }
        let dims = x.dims().iter().zip(multiples);
        let dims: Vec<Dim> = dims.map(|(dim, times)| dim.and_then(|size| size.checked_mul(*times))).collect();
        let multiples: Vec<i64> = multiples.iter().map(|times| i64::try_from(*times).unwrap_or(i64::MAX)).collect();
        let multiples = self.vector_i32(&multiples)?;
        self.tile_by(x, &multiples, Shape::new(dims))
    }

    pub(crate) fn tile_by(&self, x: &TensorRef, multiples: &TensorRef, shape: Shape) -> Result<TensorRef> {
        let attrs = vec![("T", x.dtype.into()), ("Tmultiples", multiples.dtype.into())];
        self.add("Tile", &[x, multiples], attrs, x.dtype, shape)
    }

    /// Repeats to a shape.
    pub(crate) fn broadcast_to(&self, x: &TensorRef, sizes: &TensorRef, shape: Shape) -> Result<TensorRef> {
        let attrs = vec![("T", x.dtype.into()), ("Tidx", sizes.dtype.into())];
        self.add("BroadcastTo", &[x, sizes], attrs, x.dtype, shape)
    }

    /// Adds elements before and behind each axis: zeros, or `value`.
    pub(crate) fn pad(&self, x: &TensorRef, paddings: &[(u64, u64)], value: Option<&TensorRef>) -> Result<TensorRef> {
        let (paddings, shape) = self.paddings(x, paddings)?;
        let attrs = vec![("T", x.dtype.into()), ("Tpaddings", DType::Int32.into())];
        match value {
            Some(value) => self.add("PadV2", &[x, &paddings, value], attrs, x.dtype, shape),
            None => self.add("Pad", &[x, &paddings], attrs, x.dtype, shape),
        }
    }

    /// Adds zeros as many as `paddings` says.
    pub(crate) fn pad_by(&self, x: &TensorRef, paddings: &Margins) -> Result<TensorRef> {
        self.padded(x, paddings, None)
    }

    /// Adds elements of a value, as many as `paddings` says.
    pub(crate) fn pad_with(&self, x: &TensorRef, paddings: &Margins, value: &TensorRef) -> Result<TensorRef> {
        self.padded(x, paddings, Some(value))
    }

    fn padded(&self, x: &TensorRef, paddings: &Margins, value: Option<&TensorRef>) -> Result<TensorRef> {
        if paddings.count() != x.rank() {
            refuse!("{} paddings do not fit a tensor of rank {}", paddings.count(), x.rank());
        }
        let dims = x.dims().iter().enumerate();
        let dims: Vec<Dim> =
            dims.map(|(axis, dim)| dim.zip(paddings.total(axis)).and_then(|(a, b)| a.checked_add(b))).collect();
        let paddings = self.margins(paddings)?;
        let attrs = vec![("T", x.dtype.into()), ("Tpaddings", DType::Int32.into())];
        match value {
            Some(value) => self.add("PadV2", &[x, &paddings, value], attrs, x.dtype, Shape::new(dims)),
            None => self.add("Pad", &[x, &paddings], attrs, x.dtype, Shape::new(dims)),
        }
    }

    /// Pads with the elements at the edge: `REFLECT` or `SYMMETRIC`.
    pub(crate) fn mirror_pad(&self, x: &TensorRef, paddings: &[(u64, u64)], mode: &str) -> Result<TensorRef> {
        let (paddings, shape) = self.paddings(x, paddings)?;
        let attrs = vec![("T", x.dtype.into()), ("Tpaddings", DType::Int32.into()), ("mode", mode.into())];
        self.add("MirrorPad", &[x, &paddings], attrs, x.dtype, shape)
    }

    fn paddings(&self, x: &TensorRef, paddings: &[(u64, u64)]) -> Result<(TensorRef, Shape)> {
        if paddings.len() != x.rank() {
            refuse!("{} paddings do not fit a tensor of rank {}", paddings.len(), x.rank());
        }
        let dims = x.dims().iter().zip(paddings);
        let dims: Vec<Dim> = dims
            .map(|(dim, (before, after))| dim.and_then(|size| size.checked_add(*before)?.checked_add(*after)))
            .collect();
        let paddings = self.margins(&Margins::Known(paddings.to_vec()))?;
        Ok((paddings, Shape::new(dims)))
    }

    pub(crate) fn reverse(&self, x: &TensorRef, axes: &[i64]) -> Result<TensorRef> {
        for axis in axes {
            axis_index(*axis, x.rank())?;
        }
        let axes = self.vector_i32(axes)?;
        self.add("ReverseV2", &[x, &axes], vec![("T", x.dtype.into())], x.dtype, x.shape.clone())
    }

    /// Rows of `x` along an axis.
    pub(crate) fn gather(&self, x: &TensorRef, indices: &TensorRef, axis: i64) -> Result<TensorRef> {
        let index = axis_index(axis, x.rank())?;
        let dims = [&x.dims()[..index], indices.dims(), &x.dims()[index + 1..]].concat();
        let axis = self.scalar_i32(i32::try_from(index).unwrap_or(i32::MAX))?;
        let attrs =
            vec![("Tparams", x.dtype.into()), ("Tindices", indices.dtype.into()), ("Taxis", DType::Int32.into())];
        self.add("GatherV2", &[x, indices, &axis], attrs, x.dtype, Shape::new(dims))
    }

    pub(crate) fn one_hot(&self, indices: &TensorRef, depth: u64, axis: i64, dtype: DType) -> Result<TensorRef> {
        let index = axis_index(axis, indices.rank() + 1)?;
        let mut dims = indices.dims().to_vec();
        dims.insert(index, Some(depth));
        let depth = self.scalar_i32(i32::try_from(depth).unwrap_or(i32::MAX))?;
        let (on, off) = (self.scalar(1.0, dtype)?, self.scalar(0.0, dtype)?);
        let attrs: Vec<(&'static str, Attr)> =
            vec![("T", dtype.into()), ("TI", indices.dtype.into()), ("axis", axis.into())];
        self.add("OneHot", &[indices, &depth, &on, &off], attrs, dtype, Shape::new(dims))
    }

    /// A tensor of one value.
    pub(crate) fn fill(&self, sizes: &TensorRef, value: &TensorRef, shape: Shape) -> Result<TensorRef> {
        let attrs = vec![("T", value.dtype.into()), ("index_type", sizes.dtype.into())];
        self.add("Fill", &[sizes, value], attrs, value.dtype, shape)
    }

    /// Integers from `start` to `limit`.
    pub(crate) fn range(&self, start: &TensorRef, limit: &TensorRef, delta: &TensorRef, dim: Dim) -> Result<TensorRef> {
        self.add("Range", &[start, limit, delta], vec![("Tidx", start.dtype.into())], start.dtype, Shape::new([dim]))
    }
}

/// The known sizes.
fn known(dims: &[Dim]) -> Vec<Dim> {
    dims.iter().copied().filter(Option::is_some).collect()
}
