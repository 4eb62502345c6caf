//! The requests of a trial: those that are recorded in the model, else generated ones.

use tf_persist_savedmodel::internals::are_sizes_checked_by_ops;
use tf_persist_savedmodel::saved_model::SignatureDef;
use tf_persist_savedmodel::tensor::Tensor;
use tf_persist_savedmodel::warmup::{Kind, Records};
use tf_persist_savedmodel::{DType, element_count};

use super::super::{LoadedModel, Signature};

/// The most recorded requests that are tried.
const MAX_RECORDED: usize = 8;

/// The most elements of a generated tensor.
const MAX_ELEMENTS: usize = 1 << 24;

/// The sizes that are tried for dimensions that are open, besides the first one.
const OPEN_SIZES: [usize; 3] = [32, 8, 1];

/// A request: the name of a signature, and its inputs by name.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) signature: String,
    pub(super) inputs: Vec<(String, Tensor)>,
}

/// Requests that are recorded in the model.
pub(super) fn recorded(model: &LoadedModel) -> Vec<Request> {
    let Ok(Some(records)) = Records::open(model.saved_model()) else { return Vec::new() };
    let ours = |tags: &[String]| tags.is_empty() || model.meta_graph().has_tags(tags);
    let records =
        records.map_while(Result::ok).filter(|record| record.request.kind == Kind::Predict && ours(&record.tags));
    let requests = records
        .map(|record| Request { signature: record.request.signature().to_owned(), inputs: record.request.inputs });
    requests.take(MAX_RECORDED).collect()
}

/// Requests to a signature with made-up inputs, the likeliest to succeed first; none if nothing is known of an input's
/// shape, or strings are asked for: what they must hold is not declared.
pub(super) fn generated(signature: &Signature) -> Vec<Request> {
    let definition = signature.definition();
    let inputs: Vec<(String, DType)> = signature.inputs().map(|(name, dtype)| (name.to_owned(), dtype)).collect();
    let is_open = |name: &str| shape_of(definition, name).is_none_or(|shape| shape.iter().skip(1).any(Option::is_none));
    let any_open = inputs.iter().any(|(name, _)| is_open(name));
    // Some kernels end the process on a shape that they cannot take.
    let model = signature.model();
    if any_open && !are_sizes_checked_by_ops(model.saved_model(), model.meta_graph(), definition) {
        return Vec::new();
    }
    let sizes = if any_open { &OPEN_SIZES[..] } else { &OPEN_SIZES[..1] };
    let of_size = |size: usize| {
        let inputs = inputs.iter().map(|(name, dtype)| {
            let shape: Vec<usize> = shape_of(definition, name)?
                .iter()
                .enumerate()
                .map(|(axis, known)| known.unwrap_or(if axis == 0 { 1 } else { size }))
                .collect();
            Some((name.clone(), made_up(*dtype, &shape)?))
        });
        Some(Request { signature: definition.name.clone(), inputs: inputs.collect::<Option<_>>()? })
    };
    sizes.iter().filter_map(|size| of_size(*size)).collect()
}

/// The sizes of an input, as far as they are declared; `None` if its rank is not.
fn shape_of(definition: &SignatureDef, name: &str) -> Option<Vec<Option<usize>>> {
    let sizes = definition.input(name)?.shape.sizes()?;
    Some(sizes.iter().map(|size| size.map(|size| usize::try_from(size).unwrap_or(usize::MAX))).collect())
}

/// A tensor of numbers between 0 and 1; whole numbers are 0 and 1, which are indices into almost every table.
fn made_up(dtype: DType, shape: &[usize]) -> Option<Tensor> {
    let count = element_count(shape).ok().filter(|count| *count <= MAX_ELEMENTS)?;
    let mut state = 0x9e37_79b9_u32;
    let mut next = move || {
        // A linear congruential generator (Numerical Recipes): any spread-out numbers do.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let floats = |next: &mut dyn FnMut() -> u32| (0..count).map(|_| next() as f32 / 16_777_216.0).collect::<Vec<f32>>();
    match dtype {
        DType::Float32 => Tensor::from_slice(shape, &floats(&mut next)).ok(),
        DType::Float64 => {
            let numbers: Vec<f64> = floats(&mut next).into_iter().map(f64::from).collect();
            Tensor::from_slice(shape, &numbers).ok()
        }
        DType::Int32 => Tensor::from_slice(shape, &(0..count).map(|_| (next() & 1) as i32).collect::<Vec<_>>()).ok(),
        DType::Int64 => Tensor::from_slice(shape, &(0..count).map(|_| i64::from(next() & 1)).collect::<Vec<_>>()).ok(),
        DType::UInt8 => Tensor::from_slice(shape, &(0..count).map(|_| (next() & 255) as u8).collect::<Vec<_>>()).ok(),
        DType::Bool => Tensor::from_slice(shape, &(0..count).map(|_| next() & 1 == 1).collect::<Vec<_>>()).ok(),
        // Others are rare; zeros do.
        dtype if dtype.is_supported() && dtype != DType::String => Tensor::zeros(dtype, shape).ok(),
        _ => None,
    }
}
