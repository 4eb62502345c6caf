//! Ops of neural networks.

use tf_persist_savedmodel::DType;

use super::super::{Attr, Attrs, Dim, Graph, Shape, TensorRef};
use crate::reason::{Result, refuse};

/// How a convolution or pooling treats the edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    Same,
    Valid,
}

impl Padding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Same => "SAME",
            Self::Valid => "VALID",
        }
    }

    /// The number of windows along a dimension.
    pub(crate) fn windows(self, dim: Dim, window: u64, stride: u64, dilation: u64) -> Result<Dim> {
        if window == 0 || stride == 0 || dilation == 0 {
            refuse!("a window of size {window}, stride {stride} and dilation {dilation} is impossible");
        }
        let Some(size) = dim else { return Ok(None) };
        let covered = (window - 1).saturating_mul(dilation).saturating_add(1);
        match self {
            Self::Same => Ok(Some(size.div_ceil(stride))),
            Self::Valid if size >= covered => Ok(Some((size - covered) / stride + 1)),
            Self::Valid => refuse!("a window of {covered} does not fit a dimension of size {size}"),
        }
    }
}

impl Graph {
    pub(crate) fn mat_mul(&self, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        self.mat_mul_with(a, b, false, false)
    }

    /// Of matrices, each transposed first if asked.
    pub(crate) fn mat_mul_with(&self, a: &TensorRef, b: &TensorRef, ta: bool, tb: bool) -> Result<TensorRef> {
        let (rows, inner) = matrix(a, ta)?;
        let (inner_b, columns) = matrix(b, tb)?;
        check_product(a, b, inner, inner_b)?;
        let mut attrs: Attrs = vec![("T", a.dtype.into())];
        attrs.extend(ta.then_some(("transpose_a", Attr::Bool(true))));
        attrs.extend(tb.then_some(("transpose_b", Attr::Bool(true))));
        self.add("MatMul", &[a, b], attrs, a.dtype, Shape::new([rows, columns]))
    }

    /// Of the matrices in the last two dimensions; the others broadcast.
    pub(crate) fn batch_mat_mul(&self, a: &TensorRef, b: &TensorRef, ta: bool, tb: bool) -> Result<TensorRef> {
        if a.rank() < 2 || b.rank() < 2 {
            refuse!("a product of shapes {} and {} is impossible", a.shape, b.shape);
        }
        let split = |x: &TensorRef, transpose: bool| {
            let (batch, matrix) = x.dims().split_at(x.rank() - 2);
            (Shape::new(batch), if transpose { (matrix[1], matrix[0]) } else { (matrix[0], matrix[1]) })
        };
        let ((batch_a, (rows, inner)), (batch_b, (inner_b, columns))) = (split(a, ta), split(b, tb));
        check_product(a, b, inner, inner_b)?;
        let dims = [batch_a.broadcast(&batch_b)?.dims(), &[rows, columns]].concat();
        let mut attrs: Attrs = vec![("T", a.dtype.into())];
        attrs.extend(ta.then_some(("adj_x", Attr::Bool(true))));
        attrs.extend(tb.then_some(("adj_y", Attr::Bool(true))));
        self.add("BatchMatMulV2", &[a, b], attrs, a.dtype, Shape::new(dims))
    }

    /// Adds a vector along the second dimension.
    pub(crate) fn bias_add_second(&self, x: &TensorRef, bias: &TensorRef) -> Result<TensorRef> {
        if bias.rank() != 1 || x.rank() < 3 || x.dtype != bias.dtype || x.dims()[1] != bias.dims()[0] {
            refuse!("a bias of shape {} cannot be added to shape {}", bias.shape, x.shape);
        }
        let attrs = vec![("T", x.dtype.into()), ("data_format", "NCHW".into())];
        self.add("BiasAdd", &[x, bias], attrs, x.dtype, x.shape.clone())
    }

    /// Adds a vector along the last dimension.
    pub(crate) fn bias_add(&self, x: &TensorRef, bias: &TensorRef) -> Result<TensorRef> {
        if bias.rank() != 1 || x.rank() < 2 || x.dtype != bias.dtype {
            refuse!("a bias of shape {} cannot be added to shape {}", bias.shape, x.shape);
        }
        x.shape.broadcast(&bias.shape)?;
        self.add("BiasAdd", &[x, bias], vec![("T", x.dtype.into())], x.dtype, x.shape.clone())
    }

    /// Along the last dimension.
    pub(crate) fn softmax(&self, x: &TensorRef) -> Result<TensorRef> {
        self.unary("Softmax", x)
    }

    /// Along the last dimension.
    pub(crate) fn log_softmax(&self, x: &TensorRef) -> Result<TensorRef> {
        self.unary("LogSoftmax", x)
    }

    /// Einstein's sum. The equation has an output, and no ellipsis.
    pub(crate) fn einsum(&self, equation: &str, inputs: &[&TensorRef]) -> Result<TensorRef> {
        let impossible = || format!("the equation `{equation}` does not fit its inputs");
        let (terms, output) = equation.split_once("->").ok_or_else(impossible)?;
        let terms: Vec<&str> = terms.split(',').collect();
        let mut sizes: Vec<(char, Dim)> = Vec::new();
        if terms.len() != inputs.len() || inputs.is_empty() {
            return Err(impossible().into());
        }
        for (term, input) in terms.iter().zip(inputs) {
            if term.chars().count() != input.rank() {
                return Err(impossible().into());
            }
            for (label, dim) in term.chars().zip(input.dims()) {
                match sizes.iter_mut().find(|(known, _)| *known == label) {
                    Some((_, known)) => match (*known, dim) {
                        (Some(a), Some(b)) if a != *b => return Err(impossible().into()),
                        _ => *known = known.or(*dim),
                    },
                    None => sizes.push((label, *dim)),
                }
            }
        }
        let mut dims = Vec::new();
        for label in output.chars() {
            let Some((_, dim)) = sizes.iter().find(|(known, _)| *known == label) else {
                return Err(impossible().into());
            };
            dims.push(*dim);
        }
        let dtype = inputs[0].dtype;
        let attrs = vec![("T", dtype.into()), ("N", (inputs.len() as i64).into()), ("equation", equation.into())];
        self.add("Einsum", inputs, attrs, dtype, Shape::new(dims))
    }

    /// A 2-D convolution of `[batch, height, width, channels]`; the kernel is `[height, width, in / groups, out]`.
    pub(crate) fn conv_2d(
        &self,
        x: &TensorRef,
        kernel: &TensorRef,
        strides: [u64; 2],
        padding: Padding,
    ) -> Result<TensorRef> {
        let ([batch, height, width, channels], [kh, kw, inner, outer]) = (dims4(x)?, dims4(kernel)?);
        if let (Some(channels), Some(inner)) = (channels, inner)
            && (inner == 0 || channels % inner != 0)
        {
            refuse!("a kernel of shape {} does not fit {channels} channels", kernel.shape);
        }
        let (Some(kh), Some(kw)) = (kh, kw) else { refuse!("the size of a kernel is unknown") };
        let height = padding.windows(height, kh, strides[0], 1)?;
        let width = padding.windows(width, kw, strides[1], 1)?;
        let attrs = vec![("T", x.dtype.into()), ("strides", strides_4(strides)), ("padding", padding.name().into())];
        let y = self.add("Conv2D", &[x, kernel], attrs, x.dtype, Shape::new([batch, height, width, outer]))?;
        if channels.is_some() && channels == inner {
            return Ok(y);
        }
        // Grappler fuses a convolution in groups with its bias, and has no kernel for both without oneDNN. It looks no
        // further than the next op, and these two cost nothing.
        self.squeeze(&self.expand_dims(&y, 0)?, &[0])
    }

    /// `FusedBatchNormV3` of `[x, mean, variance]`: normalizes, and gives the statistics that it used. The parameters
    /// are float32: scale, offset, mean, variance.
    pub(crate) fn fused_batch_norm(
        &self,
        x: &TensorRef,
        parameters: [&TensorRef; 4],
        epsilon: f64,
        mut attrs: Attrs,
    ) -> Result<Vec<TensorRef>> {
        if !matches!(x.rank(), 4 | 5) || parameters.iter().any(|it| it.rank() != 1 || it.dtype != DType::Float32) {
            refuse!("its input of shape {} cannot be normalized", x.shape);
        }
        let channels = (DType::Float32, parameters[0].shape.clone());
        let reserved = (DType::Float32, Shape::new([None]));
        let mut outputs = vec![(x.dtype, x.shape.clone())];
        outputs.extend([channels.clone(), channels.clone(), channels.clone(), channels, reserved]);
        attrs.extend([("T", x.dtype.into()), ("U", DType::Float32.into()), ("epsilon", Attr::Float(epsilon as f32))]);
        let [scale, offset, mean, variance] = parameters;
        self.add_many("FusedBatchNormV3", &[x, scale, offset, mean, variance], attrs, outputs)
    }

    /// `MaxPool` or `AvgPool` of `[batch, height, width, channels]`.
    pub(crate) fn pool_2d(
        &self,
        op: &'static str,
        x: &TensorRef,
        size: [u64; 2],
        strides: [u64; 2],
        padding: Padding,
    ) -> Result<TensorRef> {
        let [batch, height, width, channels] = dims4(x)?;
        let height = padding.windows(height, size[0], strides[0], 1)?;
        let width = padding.windows(width, size[1], strides[1], 1)?;
        let attrs = vec![
            ("T", x.dtype.into()),
            ("ksize", strides_4(size)),
            ("strides", strides_4(strides)),
            ("padding", padding.name().into()),
        ];
        self.add(op, &[x], attrs, x.dtype, Shape::new([batch, height, width, channels]))
    }
}

/// Strides or a window of the two inner dimensions of four.
pub(crate) fn strides_4([height, width]: [u64; 2]) -> Attr {
    let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Attr::Ints(vec![1, int(height), int(width), 1])
}

pub(crate) fn dims4(x: &TensorRef) -> Result<[Dim; 4]> {
    match x.dims().try_into() {
        Ok(dims) => Ok(dims),
        Err(_) => refuse!("its input has shape {}, and rank 4 is needed", x.shape),
    }
}

fn matrix(x: &TensorRef, transpose: bool) -> Result<(Dim, Dim)> {
    match *x.dims() {
        [rows, columns] => Ok(if transpose { (columns, rows) } else { (rows, columns) }),
        _ => refuse!("a tensor of shape {} is not a matrix", x.shape),
    }
}

fn check_product(a: &TensorRef, b: &TensorRef, inner_a: Dim, inner_b: Dim) -> Result<()> {
    if a.dtype != b.dtype || a.dtype == DType::String {
        refuse!("a product of {} and {} is impossible", a.dtype, b.dtype);
    }
    match (inner_a, inner_b) {
        (Some(a_size), Some(b_size)) if a_size != b_size => {
            refuse!("a product of shapes {} and {} is impossible", a.shape, b.shape)
        }
        _ => Ok(()),
    }
}
