//! Ops of images: `[batch, height, width, channels]`.

use tf_persist_savedmodel::{DType, Tensor};

use super::super::{Dim, Graph, Shape, TensorRef};
use super::nn::dims4;
use crate::reason::Result;

impl Graph {
    /// `ResizeBilinear`, `ResizeBicubic`, `ResizeArea`: to `[height, width]`, whose values are in `sizes`. The result
    /// is float32.
    pub(crate) fn resize(
        &self,
        op: &'static str,
        x: &TensorRef,
        sizes: &TensorRef,
        [height, width]: [Dim; 2],
    ) -> Result<TensorRef> {
        let [batch, _, _, channels] = dims4(x)?;
        let mut attrs = vec![("T", x.dtype.into())];
        if op != "ResizeArea" {
            attrs.push(("half_pixel_centers", true.into()));
        }
        let dtype = if op == "ResizeNearestNeighbor" { x.dtype } else { DType::Float32 };
        self.add(op, &[x, sizes], attrs, dtype, Shape::new([batch, height, width, channels]))
    }

    /// Resizes with a kernel such as `lanczos3`. `scale` is how much larger height and width become.
    pub(crate) fn scale_and_translate(
        &self,
        x: &TensorRef,
        sizes: &TensorRef,
        [height, width]: [Dim; 2],
        scale: &TensorRef,
        (kernel, antialias): (&str, bool),
    ) -> Result<TensorRef> {
        let [batch, _, _, channels] = dims4(x)?;
        let none = self.constant(Tensor::from_slice(&[2], &[0.0_f32, 0.0])?)?;
        let attrs = vec![("T", x.dtype.into()), ("kernel_type", kernel.into()), ("antialias", antialias.into())];
        let shape = Shape::new([batch, height, width, channels]);
        self.add("ScaleAndTranslate", &[x, sizes, scale, &none], attrs, DType::Float32, shape)
    }
}
