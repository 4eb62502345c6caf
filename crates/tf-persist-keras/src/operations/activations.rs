//! Activation functions.

use super::call::Call;
use super::functions::integers_to_float;
use super::{Entry, op};
use crate::layers::Argument;
use crate::layers::activation::Function;
use crate::reason::Result;

pub(super) const TABLE: &[Entry] = &[
    op("Relu", "x", "", |c| c.activation(Function::RELU)),
    op("Relu6", "x", "", |c| c.activation(Function::Relu6)),
    op("Sigmoid", "x", "", |c| c.activation(Function::Sigmoid)),
    op("Softplus", "x", "", |c| c.activation(Function::Softplus)),
    op("Softsign", "x", "", |c| c.activation(Function::Softsign)),
    op("Selu", "x", "", |c| c.activation(Function::Selu)),
    op("Silu", "x", "", |c| c.activation(Function::Silu)),
    op("LogSigmoid", "x", "", |c| c.activation(Function::LogSigmoid)),
    op("HardSigmoid", "x", "", |c| c.activation(Function::HardSigmoid)),
    op("HardSilu", "x", "", |c| c.activation(Function::HardSilu)),
    op("HardTanh", "x", "", |c| c.activation(Function::HardTanh)),
    op("TanhShrink", "x", "", |c| c.activation(Function::TanhShrink)),
    op("SparseSigmoid", "x", "", |c| c.activation(Function::SparseSigmoid)),
    op("SparsePlus", "x", "", |c| c.activation(Function::SparsePlus)),
    op("Squareplus", "x", "b", |c| {
        let b = c.float_or("b", 4.0)?;
        c.activation(Function::Squareplus { b })
    }),
    op("LeakyRelu", "x", "negative_slope", |c| {
        let (x, negative_slope) = (c.tensor("x")?, c.float_or("negative_slope", 0.2)?);
        let x = integers_to_float(c.g, &x)?;
        Ok(Function::LeakyRelu { negative_slope }.apply(c.g, c.cx.dialect, &x)?.into())
    }),
    op("Elu", "x", "alpha", |c| {
        let alpha = c.float_or("alpha", 1.0)?;
        c.activation(Function::Elu { alpha })
    }),
    op("Celu", "x", "alpha", |c| {
        let alpha = c.float_or("alpha", 1.0)?;
        c.activation(Function::Celu { alpha })
    }),
    op("Gelu", "x", "approximate", |c| {
        let approximate = c.bool_or("approximate", true)?;
        c.activation(Function::Gelu { approximate })
    }),
    op("Glu", "x", "axis", |c| {
        let axis = c.int_or("axis", -1)?;
        c.activation(Function::Glu { axis })
    }),
    op("SoftShrink", "x", "threshold", |c| {
        let threshold = c.float_or("threshold", 0.5)?;
        c.activation(Function::SoftShrink { threshold })
    }),
    op("HardShrink", "x", "threshold", |c| {
        let threshold = c.float_or("threshold", 0.5)?;
        c.activation(Function::HardShrink { threshold })
    }),
    op("Threshold", "x", "threshold default_value", |c| {
        let (threshold, default) = (c.float_or("threshold", 0.0)?, c.float_or("default_value", 0.0)?);
        c.activation(Function::Threshold { threshold, default })
    }),
    op("Softmax", "x", "axis", |c| {
        let axis = c.axis_or_all()?;
        c.activation(Function::Softmax { axis })
    }),
    op("LogSoftmax", "x", "axis", |c| {
        let axis = c.axis_or_all()?;
        c.activation(Function::LogSoftmax { axis })
    }),
    op("Sparsemax", "x", "axis", |c| {
        let axis = c.int_or("axis", -1)?;
        c.activation(Function::Sparsemax { axis })
    }),
];

impl Call<'_> {
    fn activation(&mut self, function: Function) -> Result<Argument> {
        let x = self.tensor("x")?;
        Ok(function.apply(self.g, self.cx.dialect, &x)?.into())
    }
}
