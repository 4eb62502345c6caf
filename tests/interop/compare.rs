//! Compares fresh answers with recorded ones.

use serde::Deserialize;
use tf_persist_core::{DType, Element, Tensor};

use crate::recorded::Tensors;

/// The tolerance for numbers: `|fresh - recorded| <= atol + rtol * |recorded|`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Tolerance {
    pub(crate) atol: f64,
    pub(crate) rtol: f64,
}

/// The largest absolute difference; panics if one is outside the tolerance, or if values other than floats differ.
pub(crate) fn largest_difference(about: &str, fresh: &Tensors, recorded: &Tensors, tolerance: Tolerance) -> f64 {
    let names = |tensors: &Tensors| {
        let mut names: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(fresh), names(recorded), "{about}");
    let mut largest = 0.0_f64;
    for (name, recorded) in recorded {
        let fresh = &fresh.iter().find(|(other, _)| other == name).unwrap().1;
        match difference(fresh, recorded, tolerance) {
            Ok(difference) => largest = largest.max(difference),
            Err(reason) => panic!("{about}, `{name}`: {reason}"),
        }
    }
    largest
}

/// The largest absolute difference of two tensors, or how they differ beyond the tolerance.
pub(crate) fn difference(fresh: &Tensor, recorded: &Tensor, tolerance: Tolerance) -> Result<f64, String> {
    if (fresh.dtype(), fresh.shape()) != (recorded.dtype(), recorded.shape()) {
        let types = [fresh, recorded].map(|tensor| format!("{}{:?}", tensor.dtype(), tensor.shape()));
        return Err(format!("{} is not {}", types[0], types[1]));
    }
    let (Some(ours), Some(theirs)) = (numbers(fresh), numbers(recorded)) else {
        return if fresh == recorded { Ok(0.0) } else { Err(format!("{fresh:?} is not {recorded:?}")) };
    };
    let mut largest = 0.0_f64;
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        if ours == theirs || ours.is_nan() && theirs.is_nan() {
            continue;
        }
        let difference = (ours - theirs).abs();
        let allowed = tolerance.atol + tolerance.rtol * theirs.abs();
        if difference.is_nan() || difference > allowed {
            return Err(format!("{ours} is not {theirs} within {allowed}"));
        }
        largest = largest.max(difference);
    }
    Ok(largest)
}

/// The elements as `f64`, if they are floats or complex numbers.
fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    fn wide<T: Element + Copy>(tensor: &Tensor, widen: impl Fn(T) -> f64) -> Option<Vec<f64>> {
        Some(tensor.view::<T>().unwrap().iter().map(|value| widen(*value)).collect())
    }
    match tensor.dtype() {
        DType::Float32 | DType::Complex64 => {
            let real =
                Tensor::from_bytes(DType::Float32, &[tensor.bytes().unwrap().len() / 4], tensor.bytes().unwrap());
            wide::<f32>(&real.unwrap(), f64::from)
        }
        DType::Float64 | DType::Complex128 => {
            let real =
                Tensor::from_bytes(DType::Float64, &[tensor.bytes().unwrap().len() / 8], tensor.bytes().unwrap());
            wide::<f64>(&real.unwrap(), |value| value)
        }
        DType::Float16 => wide::<half::f16>(tensor, f64::from),
        DType::BFloat16 => wide::<half::bf16>(tensor, f64::from),
        _ => None,
    }
}
