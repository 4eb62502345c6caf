//! Numbers of tensors as `f64`.

use half::{bf16, f16};
use tf_persist_core::{DType, Element, Tensor};

/// The elements of a tensor of real numbers; `None` for other dtypes.
pub(super) fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    fn all<T: Element>(tensor: &Tensor, as_number: impl Fn(T) -> f64) -> Option<Vec<f64>> {
        Some(tensor.view::<T>().ok()?.iter().map(|value| as_number(*value)).collect())
    }
    match tensor.dtype() {
        DType::Float32 => all(tensor, |value: f32| f64::from(value)),
        DType::Float64 => all(tensor, |value: f64| value),
        DType::Float16 => all(tensor, |value: f16| f64::from(value)),
        DType::BFloat16 => all(tensor, |value: bf16| f64::from(value)),
        DType::Int8 => all(tensor, |value: i8| f64::from(value)),
        DType::Int16 => all(tensor, |value: i16| f64::from(value)),
        DType::Int32 => all(tensor, |value: i32| f64::from(value)),
        DType::Int64 => all(tensor, |value: i64| value as f64),
        DType::UInt8 => all(tensor, |value: u8| f64::from(value)),
        DType::UInt16 => all(tensor, |value: u16| f64::from(value)),
        DType::Bool => all(tensor, |value: bool| f64::from(u8::from(value))),
        _ => None,
    }
}
