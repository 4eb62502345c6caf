//! Checks a dataset against a signature, without TensorFlow.

use std::path::Path;

use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::saved_model::{SignatureDef, TensorInfo, TensorKind};
use tf_persist_savedmodel::tensor::{Tensor, npy};

use super::Dataset;
use crate::error::{Error, Hint, ModelError, Result, TensorError, TrainError};

/// Checks a dataset against a signature, and gives its arrays the dtypes of the signature.
///
/// Unlike in a run, the declared shapes are binding: graphs that train are traced with them.
pub(super) fn to_signature(
    data: Dataset,
    signature: &SignatureDef,
    model: &Path,
    batch_size: usize,
) -> Result<Dataset> {
    check_signature(signature, model)?;
    check_names(&data, signature)?;
    let (source, arrays) = data.into_parts();
    let mut fitted = Vec::with_capacity(arrays.len());
    for (name, array) in arrays {
        let Some(info) = signature.input(&name) else { continue };
        let array = as_dtype(&source, signature, &name, info.dtype, array)?;
        check_shape(&source, signature, &name, info, &array, batch_size)?;
        fitted.push((name, array));
    }
    Dataset::new(source, fitted)
}

/// Every input must take an array with one row per example.
fn check_signature(signature: &SignatureDef, model: &Path) -> Result<()> {
    let refuse = |name: &str, what: String| {
        let reason = format!("input `{name}` of signature `{}` {what}", signature.name);
        Err(Error::Train(TrainError::NotTrainable { path: model.to_path_buf(), reason, hint: None }))
    };
    for (name, info) in &signature.inputs {
        if !matches!(info.kind, TensorKind::Dense { .. }) {
            return refuse(name, "is sparse, and batches are rows of dense arrays".into());
        }
        if !info.dtype.is_supported() {
            return refuse(name, format!("is {}, which cannot be fed", info.dtype));
        }
        if info.shape.rank() == Some(0) && signature.default_of(name, info.dtype).is_none() {
            return refuse(name, "is a scalar, and batches are rows of arrays".into());
        }
    }
    if signature.inputs.is_empty() {
        let reason = format!("signature `{}` has no inputs", signature.name);
        return Err(Error::Train(TrainError::NotTrainable { path: model.to_path_buf(), reason, hint: None }));
    }
    Ok(())
}

/// The names of weights of rows in Keras's `fit`.
const WEIGHTS: [&str; 2] = ["sample_weight", "class_weight"];

fn check_names(data: &Dataset, signature: &SignatureDef) -> Result<()> {
    let given = |name: &str| data.arrays().any(|(other, _)| other == name);
    let needed = |(name, info): &&(String, TensorInfo)| signature.default_of(name, info.dtype).is_none();
    let unknown: Vec<&str> =
        data.arrays().map(|(name, _)| name).filter(|name| signature.input(name).is_none()).collect();
    let missing: Vec<&str> =
        signature.inputs.iter().filter(needed).map(|(name, _)| name.as_str()).filter(|name| !given(name)).collect();
    if unknown.is_empty() && missing.is_empty() {
        return Ok(());
    }
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("{} missing", quoted_list(missing.iter().copied())));
    }
    if !unknown.is_empty() {
        parts.push(format!("{} unknown", quoted_list(unknown.iter().copied())));
    }
    let has = quoted_list(data.arrays().map(|(name, _)| name));
    let takes = quoted_list(signature.inputs.iter().map(|(name, _)| name.as_str()));
    let arguments: Vec<String> = signature.inputs.iter().map(|(name, _)| format!("{name}=…")).collect();
    let weights = unknown.iter().find(|name| WEIGHTS.contains(name)).filter(|_| missing.is_empty());
    let hint = match weights {
        Some(name) => format!(
            "`{name}` would weight the rows, which this model cannot: leave it out, or export the model in Python with an \
             input for it, as the exporter `tf_persist_keras` can"
        ),
        None => format!("name the arrays as the inputs: np.savez(FILE, {})", arguments.join(", ")),
    };
    Err(Error::Model(ModelError::Tensor(TensorError::InvalidData {
        source_name: data.source().to_owned(),
        reason: format!("{}: it has {has}, and signature `{}` takes {takes}", parts.join(", "), signature.name),
        hint: Some(hint.into()),
    })))
}

fn as_dtype(source: &str, signature: &SignatureDef, name: &str, expected: DType, array: Tensor) -> Result<Tensor> {
    npy::into_dtype(array, expected).map_err(|given| {
        Error::Model(ModelError::Tensor(TensorError::InvalidData {
            source_name: source.to_owned(),
            reason: format!("array `{name}` is {given}, and signature `{}` takes {expected}", signature.name),
            hint: Some(Hint::new(npy::conversion(name, expected))),
        }))
    })
}

fn check_shape(
    source: &str,
    signature: &SignatureDef,
    name: &str,
    info: &TensorInfo,
    array: &Tensor,
    batch_size: usize,
) -> Result<()> {
    let Some(sizes) = info.shape.sizes() else { return Ok(()) };
    let refuse = |reason: String, hint: Option<Hint>| {
        Err(Error::Model(ModelError::Tensor(TensorError::InvalidData { source_name: source.to_owned(), reason, hint })))
    };
    let (Some((rows, row)), Some((batch, inner))) = (array.shape().split_first(), sizes.split_first()) else {
        return refuse(format!("array `{name}` has rows, and signature `{}` takes a scalar", signature.name), None);
    };
    let fits = row.len() == inner.len()
        && inner.iter().zip(row).all(|(size, given)| size.is_none_or(|size| size == *given as u64));
    if !fits {
        let wanted: Option<Vec<u64>> = inner.iter().copied().collect();
        let same_count = |wanted: &Vec<u64>| {
            let count = wanted.iter().try_fold(1_u64, |count, size| count.checked_mul(*size));
            count == Some(row.iter().map(|size| *size as u64).product())
        };
        let reshape = |wanted: Vec<u64>| {
            let sizes: Vec<String> = wanted.iter().map(|size| format!(", {size}")).collect();
            format!("reshape it in numpy if that is intended: {name}.reshape(-1{})", sizes.concat()).into()
        };
        let reason =
            format!("array `{name}` is {:?}, and signature `{}` takes {}", array.shape(), signature.name, info.shape);
        return refuse(reason, wanted.filter(same_count).map(reshape));
    }
    match batch {
        Some(batch) if *batch != batch_size as u64 => {
            let reason = format!("signature `{}` takes batches of exactly {batch} rows of `{name}`", signature.name);
            refuse(reason, Some(Hint::new("choose that batch size").set_to("batch_size", batch.to_string())))
        }
        Some(batch) if !(*rows as u64).is_multiple_of(*batch) => {
            let signature = &signature.name;
            let reason = format!(
                "it has {rows} rows, and signature `{signature}` takes batches of exactly {batch}: the last would be short"
            );
            refuse(reason, Some(format!("give a multiple of {batch} rows").into()))
        }
        _ => Ok(()),
    }
}

/// Names in backquotes, separated by commas.
pub(super) fn quoted_list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use tf_persist_savedmodel::PartialShape;

    use super::*;

    fn info(dtype: DType, sizes: &[Option<u64>]) -> TensorInfo {
        let kind = TensorKind::Dense { name: "x:0".into() };
        TensorInfo::new(dtype, PartialShape::new(sizes.to_vec()), kind)
    }

    fn signature(inputs: &[(&str, TensorInfo)]) -> SignatureDef {
        let inputs = inputs.iter().map(|(name, info)| ((*name).to_owned(), info.clone()));
        SignatureDef::new("train", inputs.collect(), Vec::new())
    }

    fn zeros(dtype: DType, shape: &[usize]) -> Tensor {
        Tensor::zeros(dtype, shape).unwrap()
    }

    fn fitted(arrays: &[(&str, Tensor)], signature: &SignatureDef, batch: usize) -> Result<Dataset> {
        let arrays = arrays.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
        to_signature(Dataset::new("train.npz", arrays).unwrap(), signature, Path::new("m"), batch)
    }

    /// The message and the hint of the error.
    fn refused(arrays: &[(&str, Tensor)], signature: &SignatureDef, batch: usize) -> (String, String) {
        let error = fitted(arrays, signature, batch).unwrap_err();
        (error.to_string(), error.hint().map_or_else(String::new, |hint| hint.to_string()))
    }

    fn images() -> SignatureDef {
        signature(&[("image", info(DType::Float32, &[None, Some(8), Some(8)])), ("y", info(DType::Int64, &[None]))])
    }

    #[test]
    fn fitting_arrays_are_taken_and_bits_get_their_dtype() {
        let arrays = [("y", zeros(DType::Int64, &[4])), ("image", zeros(DType::Float32, &[4, 8, 8]))];
        assert_eq!(fitted(&arrays, &images(), 3).unwrap().rows(), 4);
        let bits = signature(&[("x", info(DType::BFloat16, &[None]))]);
        let data = fitted(&[("x", zeros(DType::UInt16, &[4]))], &bits, 3).unwrap();
        assert_eq!(data.arrays().next().unwrap().1.dtype(), DType::BFloat16);
    }

    #[test]
    fn wrong_names_are_refused_with_the_right_ones() {
        let arrays = [("image", zeros(DType::Float32, &[4, 8, 8])), ("label", zeros(DType::Int64, &[4]))];
        let (error, hint) = refused(&arrays, &images(), 3);
        assert_eq!(
            error,
            "train.npz: `y` missing, `label` unknown: it has `image`, `label`, and signature `train` takes `image`, `y`"
        );
        assert!(hint.contains("np.savez(FILE, image=…, y=…)"), "{hint}");
        let weights = ("sample_weight", zeros(DType::Float32, &[4]));
        let arrays = [("image", zeros(DType::Float32, &[4, 8, 8])), ("y", zeros(DType::Int64, &[4])), weights];
        let (error, hint) = refused(&arrays, &images(), 3);
        assert!(error.contains("`sample_weight` unknown") && hint.contains("would weight the rows"), "{error} {hint}");
    }

    #[test]
    fn wrong_dtypes_come_with_a_line_of_numpy() {
        let arrays = [("image", zeros(DType::Float64, &[4, 8, 8])), ("y", zeros(DType::Int64, &[4]))];
        let (error, hint) = refused(&arrays, &images(), 3);
        assert_eq!(error, "train.npz: array `image` is float64, and signature `train` takes float32");
        assert!(hint.ends_with("image.astype(\"float32\")"), "{hint}");
    }

    #[test]
    fn wrong_inner_shapes_are_refused() {
        let arrays = [("image", zeros(DType::Float32, &[4, 64])), ("y", zeros(DType::Int64, &[4]))];
        let (error, hint) = refused(&arrays, &images(), 3);
        assert_eq!(error, "train.npz: array `image` is [4, 64], and signature `train` takes [-1, 8, 8]");
        assert!(hint.ends_with("image.reshape(-1, 8, 8)"), "{hint}");
        let arrays = [("image", zeros(DType::Float32, &[4, 8, 7])), ("y", zeros(DType::Int64, &[4]))];
        assert_eq!(refused(&arrays, &images(), 3).1, "");
        let arrays = [("image", zeros(DType::Float32, &[4, 8, 8])), ("y", zeros(DType::Int64, &[4, 1]))];
        assert!(refused(&arrays, &images(), 3).1.ends_with("y.reshape(-1)"));
    }

    #[test]
    fn fixed_batch_size_must_match() {
        let fixed = signature(&[("x", info(DType::Float32, &[Some(4)]))]);
        let rows = |rows| [("x", zeros(DType::Float32, &[rows]))];
        assert!(fitted(&rows(8), &fixed, 4).is_ok());
        assert!(refused(&rows(8), &fixed, 2).0.contains("batches of exactly 4 rows of `x`"));
        assert!(refused(&rows(7), &fixed, 4).0.contains("the last would be short"));
    }

    #[test]
    fn inputs_without_rows_are_refused() {
        let rows = [("x", zeros(DType::Float32, &[4]))];
        let scalar = signature(&[("x", info(DType::Float32, &[]))]);
        assert!(refused(&rows, &scalar, 2).0.contains("input `x` of signature `train` is a scalar"));
        let kind = TensorKind::CooSparse { values: "v:0".into(), indices: "i:0".into(), dense_shape: "s:0".into() };
        let sparse = TensorInfo::new(DType::Float32, PartialShape::new(Vec::new()), kind);
        assert!(refused(&rows, &signature(&[("x", sparse)]), 2).0.contains("is sparse"));
        let resource = signature(&[("x", info(DType::Resource, &[None]))]);
        assert!(refused(&rows, &resource, 2).0.contains("is resource, which cannot be fed"));
        assert!(refused(&rows, &signature(&[]), 2).0.contains("has no inputs"));
    }
}
