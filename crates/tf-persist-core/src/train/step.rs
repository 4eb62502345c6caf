//! One run of a signature over a batch, and means over batches.

use std::collections::BTreeMap;

use half::{bf16, f16};
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::saved_model::{SignatureDef, TensorInfo};
use tf_persist_savedmodel::tensor::Tensor;

use super::Dataset;
use super::metric_names::is_root_of_mean;
use crate::error::Result;
use crate::session::Signature;

/// Outputs that hold a single number, by name.
pub(super) type Values = Vec<(String, f64)>;

/// Runs a signature on these rows, and returns the outputs that hold a single number.
pub(super) fn run(signature: &Signature, data: &Dataset, rows: &[usize]) -> Result<Values> {
    let outputs = signature.run(data.batch(rows)?)?;
    Ok(outputs.iter().filter_map(|(name, tensor)| Some((name.to_owned(), scalar(tensor)?))).collect())
}

/// The name of the loss: the output `loss`, else the only output that is a single float.
pub(super) fn loss_of(signature: &SignatureDef) -> Option<&str> {
    let is_scalar = |info: &TensorInfo| info.dtype.is_float() && info.shape.rank().is_none_or(|rank| rank == 0);
    if signature.output("loss").is_some_and(|info| info.dtype.is_float()) {
        return Some("loss");
    }
    let mut scalars = signature.outputs.iter().filter(|(_, info)| is_scalar(info));
    match (scalars.next(), scalars.next()) {
        (Some((name, _)), None) => Some(name),
        _ => None,
    }
}

/// The value of a tensor with one element.
fn scalar(tensor: &Tensor) -> Option<f64> {
    fn only<T: crate::Element>(tensor: &Tensor) -> Option<T> {
        match tensor.view::<T>().ok()? {
            [value] => Some(*value),
            _ => None,
        }
    }
    match tensor.dtype() {
        DType::Float32 => only::<f32>(tensor).map(f64::from),
        DType::Float64 => only::<f64>(tensor),
        DType::Float16 => only::<f16>(tensor).map(f64::from),
        DType::BFloat16 => only::<bf16>(tensor).map(f64::from),
        DType::Int32 => only::<i32>(tensor).map(f64::from),
        DType::Int64 => only::<i64>(tensor).map(|value| value as f64),
        _ => None,
    }
}

/// Sums of outputs over rows: each batch is weighted by its size. Those of root means are sums of squares.
#[derive(Default)]
pub(super) struct Sums {
    pub(super) values: BTreeMap<String, f64>,
    pub(super) rows: u64,
}

impl Sums {
    pub(super) fn add(&mut self, values: &[(String, f64)], rows: usize) {
        for (name, value) in values {
            let sum = self.values.entry(name.clone()).or_default();
            let value = if is_root_of_mean(name) { value * value } else { *value };
            *sum += value * rows as f64;
        }
        self.rows += rows as u64;
    }

    /// The means, with `first` in front.
    pub(super) fn means(&self, first: &str) -> Values {
        let mean = |(name, sum): (&String, &f64)| {
            let mean = sum / self.rows.max(1) as f64;
            (name.clone(), if is_root_of_mean(name) { mean.sqrt() } else { mean })
        };
        let mut means: Values = self.values.iter().map(mean).collect();
        means.sort_by_key(|(name, _)| name != first);
        means
    }
}

#[cfg(test)]
mod tests {
    use tf_persist_savedmodel::PartialShape;
    use tf_persist_savedmodel::saved_model::TensorKind;

    use super::*;

    #[test]
    fn batches_are_weighted_by_size() {
        let mut sums = Sums::default();
        let values = |accuracy, loss| [("accuracy".to_owned(), accuracy), ("loss".to_owned(), loss)];
        sums.add(&values(1.0, 2.0), 3);
        sums.add(&values(0.0, 6.0), 1);
        assert_eq!(sums.means("loss"), [("loss".to_owned(), 3.0), ("accuracy".to_owned(), 0.75)]);
    }

    #[test]
    fn squares_of_root_means_are_averaged() {
        let mut sums = Sums::default();
        for (value, rows) in [(2.0, 3), (6.0, 1)] {
            sums.add(&[("root_mean_squared_error".to_owned(), value), ("auc".to_owned(), value)], rows);
        }
        let expected = [("auc".to_owned(), 3.0), ("root_mean_squared_error".to_owned(), 12_f64.sqrt())];
        assert_eq!(sums.means("loss"), expected);
    }

    #[test]
    fn loss_is_found_by_name_or_as_the_only_float() {
        let info = |dtype, sizes: &[Option<u64>]| {
            let kind = TensorKind::Dense { name: "x:0".into() };
            TensorInfo::new(dtype, PartialShape::new(sizes.to_vec()), kind)
        };
        let signature = |outputs: &[(&str, TensorInfo)]| {
            let outputs = outputs.iter().map(|(name, info)| ((*name).to_owned(), info.clone()));
            SignatureDef::new("train", Vec::new(), outputs.collect())
        };
        let (float, count) = (info(DType::Float32, &[]), info(DType::Int64, &[]));
        let many = info(DType::Float32, &[None, Some(3)]);
        let loss = |outputs: &[(&str, TensorInfo)]| loss_of(&signature(outputs)).map(str::to_owned);
        assert_eq!(loss(&[("accuracy", float.clone()), ("loss", float.clone())]).unwrap(), "loss");
        assert_eq!(loss(&[("cost", float.clone()), ("step", count.clone()), ("y", many.clone())]).unwrap(), "cost");
        assert_eq!(loss(&[("a", float.clone()), ("b", float)]), None);
        assert_eq!(loss(&[("step", count), ("y", many)]), None);
    }

    #[test]
    fn single_float_is_known_by_dtype_and_shape() {
        let kind = || TensorKind::Dense { name: "x:0".into() };
        let info = |dtype, shape| TensorInfo::new(dtype, shape, kind());
        for (sizes, expected) in [
            (vec![], true),
            (vec![Some(1), Some(1)], true),
            (vec![None], false),
            (vec![None, Some(1)], false),
            (vec![Some(2)], false),
        ] {
            assert_eq!(
                TensorInfo::is_one_float(&info(DType::Float32, PartialShape::new(sizes.clone()))),
                expected,
                "{sizes:?}"
            );
        }
        assert!(TensorInfo::is_one_float(&info(DType::Float64, PartialShape::unknown())));
        assert!(!TensorInfo::is_one_float(&info(DType::Int64, PartialShape::new(vec![]))));
    }

    #[test]
    fn scalars_of_floats_and_integers_are_read() {
        assert_eq!(scalar(&Tensor::scalar(0.1_f32).unwrap()), Some(f64::from(0.1_f32)));
        assert_eq!(scalar(&Tensor::from_slice(&[1], &[7_i64]).unwrap()), Some(7.0));
        assert_eq!(scalar(&Tensor::from_slice(&[2], &[7_i64, 8]).unwrap()), None);
        assert_eq!(scalar(&Tensor::from_strings(&[], ["7"]).unwrap()), None);
    }
}
