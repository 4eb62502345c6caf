//! Convolutions and pooling over one to three spatial dimensions, and what turns dilated ones into plain ones.

use tf_persist_savedmodel::{DType, Tensor};

use super::super::{Attr, Dim, Graph, Shape, TensorRef};
use super::nn::Padding;
use crate::reason::{Result, refuse};

/// Paddings or crops of some dimensions: known sizes, or a tensor of shape `[dimensions, 2]`.
#[derive(Debug, Clone)]
pub(crate) enum Margins {
    Known(Vec<(u64, u64)>),
    /// The tensor, and the sum of both margins of each dimension where it is known.
    Computed(TensorRef, Vec<Dim>),
}

impl Margins {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Known(margins) => margins.len(),
            Self::Computed(_, totals) => totals.len(),
        }
    }

    /// The sum of both margins of a dimension, if it is known.
    pub(super) fn total(&self, index: usize) -> Dim {
        match self {
            Self::Known(margins) => margins.get(index).and_then(|(before, after)| before.checked_add(*after)),
            Self::Computed(_, totals) => totals.get(index).copied().flatten(),
        }
    }
}

impl Graph {
    /// A constant or the computed tensor of shape `[dimensions, 2]`.
    pub(super) fn margins(&self, margins: &Margins) -> Result<TensorRef> {
        let margins = match margins {
            Margins::Known(margins) => margins,
            Margins::Computed(tensor, _) => return Ok(tensor.clone()),
        };
        let mut flat = Vec::new();
        for size in margins.iter().flat_map(|(before, after)| [before, after]) {
            let Ok(size) = i32::try_from(*size) else { refuse!("a padding of {size} is too large") };
            flat.push(size);
        }
        self.constant(Tensor::from_slice(&[margins.len(), 2], &flat)?)
    }

    /// Moves blocks of the dimensions behind the batch into the batch.
    pub(crate) fn space_to_batch(&self, x: &TensorRef, block: &[u64], paddings: &Margins) -> Result<TensorRef> {
        check_blocks(x, block, paddings)?;
        let mut dims = x.dims().to_vec();
        dims[0] = dims[0].and_then(|batch| block.iter().try_fold(batch, |batch, size| batch.checked_mul(*size)));
        for (index, size) in block.iter().enumerate() {
            let padded = dims[index + 1].zip(paddings.total(index)).and_then(|(dim, pad)| dim.checked_add(pad));
            if padded.is_some_and(|padded| padded % size != 0) {
                refuse!("a dimension of size {padded:?} does not split into blocks of {size}");
            }
            dims[index + 1] = padded.map(|padded| padded / size);
        }
        self.blocks("SpaceToBatchND", x, block, ("Tpaddings", paddings), Shape::new(dims))
    }

    /// Undoes [`Graph::space_to_batch`], then crops.
    pub(crate) fn batch_to_space(&self, x: &TensorRef, block: &[u64], crops: &Margins) -> Result<TensorRef> {
        check_blocks(x, block, crops)?;
        let mut dims = x.dims().to_vec();
        dims[0] = dims[0].map(|batch| block.iter().fold(batch, |batch, size| batch / size));
        for (index, size) in block.iter().enumerate() {
            let dim = dims[index + 1].zip(crops.total(index));
            dims[index + 1] = dim.and_then(|(dim, crop)| dim.checked_mul(*size)?.checked_sub(crop));
        }
        self.blocks("BatchToSpaceND", x, block, ("Tcrops", crops), Shape::new(dims))
    }

    fn blocks(
        &self,
        op: &'static str,
        x: &TensorRef,
        block: &[u64],
        (attr, margins): (&'static str, &Margins),
        shape: Shape,
    ) -> Result<TensorRef> {
        let block = self.vector_i32(&block.iter().map(|size| int(*size)).collect::<Vec<_>>())?;
        let margins = self.margins(margins)?;
        let attrs = vec![("T", x.dtype.into()), ("Tblock_shape", DType::Int32.into()), (attr, DType::Int32.into())];
        self.add(op, &[x, &block, &margins], attrs, x.dtype, shape)
    }

    /// A convolution of `[batch, height, width, channels]` that keeps the channels apart; the kernel is
    /// `[height, width, channels, multiplier]`.
    pub(crate) fn depthwise_conv_2d(
        &self,
        x: &TensorRef,
        kernel: &TensorRef,
        strides: [u64; 2],
        padding: Padding,
    ) -> Result<TensorRef> {
        if strides[0] != strides[1] {
            refuse!(
                "a depthwise convolution with strides {} and {} is impossible: they differ",
                strides[0],
                strides[1]
            );
        }
        let mut dims = windows(x, kernel, &strides, padding)?;
        let [.., channels, multiplier] = kernel.dims() else { refuse!("a kernel has shape {}", kernel.shape) };
        if let (Some(channels), Some(of_kernel)) = (x.dim(-1)?, channels)
            && channels != *of_kernel
        {
            refuse!("a kernel of shape {} does not fit {channels} channels", kernel.shape);
        }
        dims.push(channels.zip(*multiplier).and_then(|(channels, multiplier)| channels.checked_mul(multiplier)));
        let attrs = vec![("T", x.dtype.into()), ("strides", spread(&strides)), ("padding", padding.name().into())];
        self.add("DepthwiseConv2dNative", &[x, kernel], attrs, x.dtype, Shape::new(dims))
    }

    /// A 3-D convolution of `[batch, depth, height, width, channels]`; the kernel is `[.., in, out]`.
    pub(crate) fn conv_3d(
        &self,
        x: &TensorRef,
        kernel: &TensorRef,
        strides: [u64; 3],
        padding: Padding,
    ) -> Result<TensorRef> {
        let mut dims = windows(x, kernel, &strides, padding)?;
        let [.., inner, outer] = kernel.dims() else { refuse!("a kernel has shape {}", kernel.shape) };
        if let (Some(channels), Some(inner)) = (x.dim(-1)?, inner)
            && channels != *inner
        {
            refuse!("a kernel of shape {} does not fit {channels} channels", kernel.shape);
        }
        dims.push(*outer);
        let attrs = vec![("T", x.dtype.into()), ("strides", spread(&strides)), ("padding", padding.name().into())];
        self.add("Conv3D", &[x, kernel], attrs, x.dtype, Shape::new(dims))
    }

    /// The gradient of a 2-D or 3-D convolution by its input, which has the sizes in `sizes`: a transposed convolution.
    /// The kernel is `[.., out, in]`.
    pub(crate) fn conv_transpose(
        &self,
        x: &TensorRef,
        kernel: &TensorRef,
        sizes: (&TensorRef, Shape),
        strides: &[u64],
        dilations: &[u64],
        padding: Padding,
    ) -> Result<TensorRef> {
        let op = match strides.len() {
            2 => "Conv2DBackpropInput",
            3 => "Conv3DBackpropInputV2",
            rank => refuse!("a transposed convolution over {rank} dimensions is impossible"),
        };
        if x.rank() != strides.len() + 2 || kernel.rank() != x.rank() || sizes.1.rank() != x.rank() {
            refuse!("a kernel of shape {} does not fit an input of shape {}", kernel.shape, x.shape);
        }
        if let (Some(channels), Some(inner)) = (x.dim(-1)?, kernel.dim(-1)?)
            && channels != inner
        {
            refuse!("a kernel of shape {} does not fit {channels} channels", kernel.shape);
        }
        let mut attrs = vec![("T", x.dtype.into()), ("strides", spread(strides)), ("padding", padding.name().into())];
        if op == "Conv3DBackpropInputV2" {
            attrs.push(("Tshape", DType::Int32.into()));
        }
        if dilations.iter().any(|dilation| *dilation != 1) {
            attrs.push(("dilations", spread(dilations)));
        }
        self.add(op, &[sizes.0, kernel, x], attrs, x.dtype, sizes.1)
    }

    /// `MaxPool3D` or `AvgPool3D` of `[batch, depth, height, width, channels]`.
    pub(crate) fn pool_3d(
        &self,
        op: &'static str,
        x: &TensorRef,
        size: [u64; 3],
        strides: [u64; 3],
        padding: Padding,
    ) -> Result<TensorRef> {
        if x.rank() != 5 {
            refuse!("its input has shape {}, and rank 5 is needed", x.shape);
        }
        let mut dims = x.dims().to_vec();
        for axis in 0..3 {
            dims[axis + 1] = padding.windows(dims[axis + 1], size[axis], strides[axis], 1)?;
        }
        let attrs = vec![
            ("T", x.dtype.into()),
            ("ksize", spread(&size)),
            ("strides", spread(&strides)),
            ("padding", padding.name().into()),
        ];
        self.add(op, &[x], attrs, x.dtype, Shape::new(dims))
    }
}

fn int(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Sizes of the spatial dimensions, with 1 for batch and channels.
pub(crate) fn spread(sizes: &[u64]) -> Attr {
    Attr::Ints([1].into_iter().chain(sizes.iter().map(|size| int(*size))).chain([1]).collect())
}

fn check_blocks(x: &TensorRef, block: &[u64], margins: &Margins) -> Result<()> {
    if block.len() != margins.count() || x.rank() <= block.len() || block.contains(&0) {
        refuse!("blocks of {block:?} do not fit a tensor of shape {}", x.shape);
    }
    Ok(())
}

/// The batch and the number of windows along each spatial dimension.
fn windows(x: &TensorRef, kernel: &TensorRef, strides: &[u64], padding: Padding) -> Result<Vec<Dim>> {
    let rank = strides.len() + 2;
    if x.rank() != rank || kernel.rank() != rank {
        refuse!("a kernel of shape {} does not fit an input of shape {}", kernel.shape, x.shape);
    }
    let mut dims = vec![x.dims()[0]];
    for (axis, stride) in strides.iter().enumerate() {
        let Some(size) = kernel.dims()[axis] else { refuse!("the size of a kernel is unknown") };
        dims.push(padding.windows(x.dims()[axis + 1], size, *stride, 1)?);
    }
    Ok(dims)
}
