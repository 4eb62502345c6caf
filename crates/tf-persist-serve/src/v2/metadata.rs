//! The metadata of a model: its versions, and the inputs and outputs of one of its signatures.

use tf_persist_core::{DType, PartialShape, SignatureDef};

use super::infer::signature;
use crate::models::{Models, Servable, State};
use crate::status::Status;

/// The platform of all models, by Triton's name.
pub(crate) const PLATFORM: &str = "tensorflow_savedmodel";

/// The metadata of a model.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// The available versions, in ascending order.
    pub(crate) versions: Vec<String>,
    pub(crate) inputs: Vec<TensorMetadata>,
    pub(crate) outputs: Vec<TensorMetadata>,
}

/// An input or output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TensorMetadata {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    /// The sizes; -1 for one that is not known. A shape whose rank is not known is `[-1]`, since the protocol has no
    /// other way to say so.
    pub(crate) shape: Vec<i64>,
}

/// The metadata of a model with the tensors of a signature; `None` is the one that requests without a name run.
///
/// # Errors
/// As for a request that runs the signature.
pub(crate) fn metadata(models: &Models, servable: &Servable, name: Option<&str>) -> Result<Metadata, Status> {
    let served = signature(servable, name)?;
    let definition = served.signature.definition();
    let mut versions: Vec<i64> = (models.status(servable.name(), None).unwrap_or_default().iter())
        .filter(|found| found.state.for_clients() == State::Available)
        .map(|found| found.version)
        .collect();
    versions.sort_unstable();
    let input = |(name, dtype): (&str, DType)| tensor(definition, name, Some(dtype));
    Ok(Metadata {
        versions: versions.iter().map(i64::to_string).collect(),
        inputs: served.signature.inputs().map(input).collect(),
        outputs: served.signature.outputs().map(|name| tensor(definition, name, None)).collect(),
    })
}

/// An input, whose dtype is known, or an output. A sparse tensor has three of them, such as `x.values`.
fn tensor(definition: &SignatureDef, name: &str, dtype: Option<DType>) -> TensorMetadata {
    let of = |name: &str| if dtype.is_some() { definition.input(name) } else { definition.output(name) };
    let part = || {
        let (whole, part) = name.rsplit_once('.')?;
        let info = of(whole)?;
        Some(match part {
            "indices" => (DType::Int64, vec![-1, -1]),
            "dense_shape" => (DType::Int64, vec![-1]),
            _ => (info.dtype, vec![-1]),
        })
    };
    let found = of(name).map(|info| (info.dtype, sizes(&info.shape))).or_else(part);
    let (found, shape) = found.unwrap_or((DType::Invalid, vec![-1]));
    TensorMetadata { name: name.to_owned(), dtype: dtype.unwrap_or(found), shape }
}

fn sizes(shape: &PartialShape) -> Vec<i64> {
    let size = |size: &Option<u64>| size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1);
    shape.sizes().map_or_else(|| vec![-1], |sizes| sizes.iter().map(size).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_are_not_known_are_minus_one() {
        assert_eq!(sizes(&PartialShape::new(vec![None, Some(3)])), [-1, 3]);
        assert!(sizes(&PartialShape::new(vec![])).is_empty());
        assert_eq!(sizes(&PartialShape::unknown()), [-1]);
    }
}
