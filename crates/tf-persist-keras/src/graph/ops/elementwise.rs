//! Ops that compute each element by itself.

use tf_persist_savedmodel::DType;

use super::super::{Graph, TensorRef};
use crate::reason::{Result, refuse};

/// Methods for ops of one tensor that keep dtype and shape.
macro_rules! unary {
    ($($method:ident $op:literal),* $(,)?) => {
        impl Graph {
            $(pub(crate) fn $method(&self, x: &TensorRef) -> Result<TensorRef> {
                self.unary($op, x)
            })*
        }
    };
}

/// Methods for ops of two tensors that broadcast and keep the dtype.
macro_rules! binary {
    ($($method:ident $op:literal),* $(,)?) => {
        impl Graph {
            $(pub(crate) fn $method(&self, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
                self.binary($op, a, b)
            })*
        }
    };
}

/// Methods for ops that compare two tensors.
macro_rules! compare {
    ($($method:ident $op:literal),* $(,)?) => {
        impl Graph {
            $(pub(crate) fn $method(&self, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
                self.compare($op, a, b)
            })*
        }
    };
}

unary! {
    abs "Abs", acos "Acos", acosh "Acosh", asin "Asin", asinh "Asinh", atan "Atan", atanh "Atanh", ceil "Ceil",
    cos "Cos", cosh "Cosh", digamma "Digamma", elu "Elu", erf "Erf", erfc "Erfc", erfinv "Erfinv", exp "Exp",
    expm1 "Expm1", floor "Floor", identity "Identity", invert "Invert", lgamma "Lgamma", log "Log", log1p "Log1p",
    neg "Neg", reciprocal "Reciprocal", relu "Relu", relu6 "Relu6", rint "Rint", round "Round", rsqrt "Rsqrt",
    selu "Selu", sigmoid "Sigmoid", sign "Sign", sin "Sin", sinh "Sinh", softplus "Softplus", softsign "Softsign",
    sqrt "Sqrt", square "Square", stop_gradient "StopGradient", tan "Tan", tanh "Tanh", zeros_like "ZerosLike",
    ones_like "OnesLike",
}

binary! {
    add_v2 "AddV2", sub "Sub", mul "Mul", real_div "RealDiv", floor_div "FloorDiv", floor_mod "FloorMod",
    maximum "Maximum", minimum "Minimum", pow "Pow", squared_difference "SquaredDifference",
    div_no_nan "DivNoNan", mul_no_nan "MulNoNan", atan2 "Atan2", xlogy "Xlogy", xdivy "Xdivy",
    bitwise_and "BitwiseAnd", bitwise_or "BitwiseOr", bitwise_xor "BitwiseXor", left_shift "LeftShift",
    right_shift "RightShift", next_after "NextAfter",
}

compare! {
    less "Less", less_equal "LessEqual", greater "Greater", greater_equal "GreaterEqual",
}

impl Graph {
    pub(crate) fn unary(&self, op: &'static str, x: &TensorRef) -> Result<TensorRef> {
        self.add(op, &[x], vec![("T", x.dtype.into())], x.dtype, x.shape.clone())
    }

    pub(crate) fn binary(&self, op: &'static str, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        self.same_dtype(op, a, b)?;
        self.add(op, &[a, b], vec![("T", a.dtype.into())], a.dtype, a.shape.broadcast(&b.shape)?)
    }

    fn compare(&self, op: &'static str, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        self.same_dtype(op, a, b)?;
        self.add(op, &[a, b], vec![("T", a.dtype.into())], DType::Bool, a.shape.broadcast(&b.shape)?)
    }

    fn same_dtype(&self, op: &str, a: &TensorRef, b: &TensorRef) -> Result<()> {
        if a.dtype != b.dtype {
            refuse!("{op} of {} and {} is impossible: the dtypes differ", a.dtype, b.dtype);
        }
        Ok(())
    }

    pub(crate) fn equal(&self, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        self.compare("Equal", a, b)
    }

    pub(crate) fn not_equal(&self, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        self.compare("NotEqual", a, b)
    }

    /// Of two bool tensors.
    pub(crate) fn logical(&self, op: &'static str, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        self.add(op, &[a, b], Vec::new(), DType::Bool, a.shape.broadcast(&b.shape)?)
    }

    pub(crate) fn logical_and(&self, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        self.logical("LogicalAnd", a, b)
    }

    pub(crate) fn logical_or(&self, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        self.logical("LogicalOr", a, b)
    }

    pub(crate) fn logical_not(&self, x: &TensorRef) -> Result<TensorRef> {
        self.add("LogicalNot", &[x], Vec::new(), DType::Bool, x.shape.clone())
    }

    /// Of floats: `IsNan`, `IsInf`, `IsFinite`.
    pub(crate) fn classify(&self, op: &'static str, x: &TensorRef) -> Result<TensorRef> {
        self.add(op, &[x], vec![("T", x.dtype.into())], DType::Bool, x.shape.clone())
    }

    /// Converts numbers; the same tensor if it has the dtype.
    pub(crate) fn cast(&self, x: &TensorRef, dtype: DType) -> Result<TensorRef> {
        if x.dtype == dtype {
            return Ok(x.clone());
        }
        let attrs = vec![("SrcT", x.dtype.into()), ("DstT", dtype.into())];
        self.add("Cast", &[x], attrs, dtype, x.shape.clone())
    }

    /// Elements of `a` where the condition holds, else of `b`.
    pub(crate) fn select(&self, condition: &TensorRef, a: &TensorRef, b: &TensorRef) -> Result<TensorRef> {
        self.same_dtype("SelectV2", a, b)?;
        let shape = condition.shape.broadcast(&a.shape)?.broadcast(&b.shape)?;
        self.add("SelectV2", &[condition, a, b], vec![("T", a.dtype.into())], a.dtype, shape)
    }

    pub(crate) fn leaky_relu(&self, x: &TensorRef, alpha: f32) -> Result<TensorRef> {
        let attrs = vec![("T", x.dtype.into()), ("alpha", alpha.into())];
        self.add("LeakyRelu", &[x], attrs, x.dtype, x.shape.clone())
    }

    /// `x` and a scalar of its dtype.
    pub(crate) fn with_scalar(
        &self,
        x: &TensorRef,
        value: f64,
        op: impl FnOnce(&Self, &TensorRef, &TensorRef) -> Result<TensorRef>,
    ) -> Result<TensorRef> {
        let value = self.scalar(value, x.dtype)?;
        op(self, x, &value)
    }

    /// `x` within bounds.
    pub(crate) fn clip(&self, x: &TensorRef, low: f64, high: f64) -> Result<TensorRef> {
        let below = self.with_scalar(x, high, Self::minimum)?;
        self.with_scalar(&below, low, Self::maximum)
    }

    pub(crate) fn add_n(&self, all: &[&TensorRef]) -> Result<TensorRef> {
        let [first, rest @ ..] = all else { refuse!("there is nothing to add") };
        let mut shape = first.shape.clone();
        for tensor in rest {
            self.same_dtype("AddN", first, tensor)?;
            shape = shape.merge(&tensor.shape)?;
        }
        let attrs = vec![("T", first.dtype.into()), ("N", (all.len() as i64).into())];
        self.add("AddN", all, attrs, first.dtype, shape)
    }
}
