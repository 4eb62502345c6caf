//! Concatenates the inputs of several requests for one run, and splits its outputs (`batching/batching_session.cc`,
//! `batching_util.cc`).

use std::ops::Range;

use tf_persist_core::{ModelError, Result, Strings, Tensor};

use super::policy::BatchPolicy;
use super::{InferenceRequest, InferenceResponse};

/// The concatenated inputs of several requests, padded to an allowed number of rows, and the number of rows that were
/// added. The first row of the last request is repeated, as in TensorFlow Serving.
pub(super) fn concat(
    requests: &[&InferenceRequest],
    rows: usize,
    policy: &BatchPolicy,
) -> Result<(Vec<(String, Tensor)>, usize)> {
    let padding = policy.padded(rows) - rows;
    let Some(first) = requests.first() else { return Ok((Vec::new(), 0)) };
    let mut inputs = Vec::with_capacity(first.inputs.len());
    for (index, (name, _)) in first.inputs.iter().enumerate() {
        let tensors = || requests.iter().filter_map(move |request| request.inputs.get(index)).map(|(_, tensor)| tensor);
        let filled = match largest(tensors()) {
            Some(inner) if policy.pad_inner => {
                tensors().map(|tensor| pad(tensor, &inner)).collect::<Result<Vec<_>, _>>()?
            }
            _ => Vec::new(),
        };
        let mut parts: Vec<&Tensor> = if filled.is_empty() { tensors().collect() } else { filled.iter().collect() };
        let row = match parts.last() {
            Some(last) if padding > 0 => Some(last.rows(0..1)?),
            _ => None,
        };
        parts.extend(row.iter().cycle().take(padding));
        inputs.push((name.clone(), Tensor::concatenate(&parts)?));
    }
    Ok((inputs, padding))
}

/// The outputs of some rows; `None` if an output does not have as many rows as the inputs.
pub(super) fn split(outputs: &InferenceResponse, rows: Range<usize>, of: usize) -> Option<InferenceResponse> {
    let part = |(name, tensor): &(String, Tensor)| {
        (tensor.row_count() == Some(of)).then_some(())?;
        Some((name.clone(), tensor.rows(rows.clone()).ok()?))
    };
    outputs.iter().map(part).collect()
}

/// The largest inner sizes; `None` if all tensors have the same. All tensors have the same rank.
fn largest<'t>(mut tensors: impl Iterator<Item = &'t Tensor>) -> Option<Vec<usize>> {
    let first = tensors.next()?.shape().get(1..)?;
    let (mut largest, mut differ) = (first.to_vec(), false);
    for tensor in tensors {
        for (size, other) in largest.iter_mut().zip(tensor.shape().get(1..)?) {
            differ |= size != other;
            *size = (*size).max(*other);
        }
    }
    differ.then_some(largest)
}

/// A tensor whose rows are enlarged to the shape `inner`. New elements are copies of the first one.
fn pad(tensor: &Tensor, inner: &[usize]) -> Result<Tensor, ModelError> {
    let mut shape = tensor.shape().to_vec();
    if shape.get(1..) == Some(inner) {
        return Ok(tensor.clone());
    }
    let old = shape.clone();
    shape[1..].copy_from_slice(inner);
    let count = tf_persist_core::element_count(&shape)?;
    // The index in the old tensor of an element of the new one; 0 if it has none.
    let source = |mut rest: usize| {
        let (mut from, mut stride) = (0, 1);
        for (new, old) in shape.iter().zip(&old).rev() {
            let index = rest % new;
            if index >= *old {
                return 0;
            }
            from += index * stride;
            rest /= new;
            stride *= old;
        }
        from
    };
    if let Ok(strings) = tensor.strings() {
        let all: Strings = (0..count).map(|index| strings.get(source(index)).unwrap_or_default()).collect();
        return Tensor::from_string_array(&shape, all);
    }
    let size = tensor.dtype().size().unwrap_or(1);
    let mut filled = Tensor::zeros(tensor.dtype(), &shape)?;
    let bytes = tensor.bytes()?;
    for (index, element) in filled.bytes_mut()?.chunks_exact_mut(size).enumerate() {
        let from = source(index) * size;
        element.copy_from_slice(&bytes[from..from + size]);
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(shape: &[usize], values: &[f32]) -> InferenceRequest {
        let tensor = Tensor::from_slice(shape, values).unwrap();
        InferenceRequest { inputs: vec![("x".into(), tensor)], outputs: Vec::new(), deadline: None }
    }

    fn policy(allowed_sizes: &[usize], pad_inner: bool) -> BatchPolicy {
        let policy =
            BatchPolicy::from_settings(&crate::batching::RunSettings::default(), std::path::Path::new("")).unwrap();
        BatchPolicy { allowed_sizes: allowed_sizes.to_vec(), pad_inner, ..policy }
    }

    #[test]
    fn pads_to_an_allowed_number_of_rows() {
        let (a, b) = (request(&[2, 1], &[1.0, 2.0]), request(&[1, 1], &[3.0]));
        let (inputs, padding) = concat(&[&b, &a], 3, &policy(&[2, 5], false)).unwrap();
        assert_eq!((inputs[0].1.view::<f32>().unwrap(), padding), (&[3.0, 1.0, 2.0, 1.0, 1.0][..], 2));
        assert_eq!(split(&inputs, 0..1, 5).unwrap(), b.inputs);
        assert_eq!(split(&inputs, 1..3, 5).unwrap(), a.inputs);
        assert_eq!(split(&inputs, 0..1, 3), None);
    }

    #[test]
    fn pads_inner_sizes_with_the_first_element() {
        let (a, b) = (request(&[1, 2, 1], &[1.0, 2.0]), request(&[1, 1, 3], &[3.0, 4.0, 5.0]));
        assert!(concat(&[&a, &b], 2, &policy(&[], false)).is_err());
        let (inputs, _) = concat(&[&a, &b], 2, &policy(&[], true)).unwrap();
        assert_eq!(inputs[0].1.shape(), [2, 2, 3]);
        assert_eq!(inputs[0].1.view::<f32>().unwrap(), [1., 1., 1., 2., 1., 1., 3., 4., 5., 3., 3., 3.]);
        let text = |strings: &[&str]| Tensor::from_strings(&[1, strings.len()], strings).unwrap();
        let filled = pad(&text(&["a", "b"]), &[3]).unwrap();
        assert_eq!(filled, text(&["a", "b", "a"]));
    }
}
