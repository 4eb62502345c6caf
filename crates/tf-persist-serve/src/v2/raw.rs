//! Tensors as bytes: little-endian elements in row-major order; strings with their lengths in four bytes each.

use tf_persist_core::tensor::Strings;
use tf_persist_core::{Code, DType, Tensor, element_count};

use super::datatype::{datatype_name, known};
use crate::status::Status;

/// The bytes of the length of a string.
const LENGTH_BYTES: usize = size_of::<u32>();

/// Decodes an input. Its elements are copied once, into memory that TensorFlow adopts.
///
/// # Errors
/// `INVALID_ARGUMENT` if the bytes do not match datatype and shape.
pub(crate) fn decode(name: &str, dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, Status> {
    if dtype == DType::String {
        return decode_strings(name, shape, bytes);
    }
    let count = element_count(shape).map_err(|error| shape_error(name, &error))?;
    let wanted = dtype.size().and_then(|size| count.checked_mul(size));
    if wanted != Some(bytes.len()) {
        let (datatype, given) = (datatype_name(dtype), bytes.len());
        let wanted = wanted.map_or_else(|| "too many".to_owned(), |wanted| wanted.to_string());
        return Err(Status::invalid_argument(format!(
            "input `{name}`: {datatype} of shape {shape:?} takes {wanted} bytes, {given} were sent"
        )));
    }
    if dtype == DType::Bool
        && let Some(index) = bytes.iter().position(|byte| *byte > 1)
    {
        let reason = format!("input `{name}`: the byte {} of element {index} is not a BOOL", bytes[index]);
        return Err(Status::invalid_argument(reason));
    }
    Ok(Tensor::from_bytes(dtype, shape, bytes)?)
}

/// The error of an impossible shape.
pub(crate) fn shape_error(name: &str, error: &impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("input `{name}`: {error}"))
}

fn decode_strings(name: &str, shape: &[usize], bytes: &[u8]) -> Result<Tensor, Status> {
    let refuse = |reason: String| Err(Status::invalid_argument(format!("input `{name}`: {reason}")));
    let count = element_count(shape).map_err(|error| shape_error(name, &error))?;
    // Every string has a length, so memory is reserved only for those that were sent.
    let Some(total) = count.checked_mul(LENGTH_BYTES).and_then(|lengths| bytes.len().checked_sub(lengths)) else {
        return refuse(format!("BYTES of shape {shape:?} has {count} lengths of 4 bytes, {} were sent", bytes.len()));
    };
    let mut strings = Strings::with_capacity(count, total);
    let mut rest = bytes;
    for index in 0..count {
        let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
            return refuse(format!("the data ends before the length of string {index}"));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((string, after)) = after.split_at_checked(length) else {
            let left = after.len();
            return refuse(format!("string {index} has a length of {length} bytes, and {left} are left"));
        };
        strings.push(string);
        rest = after;
    }
    if !rest.is_empty() {
        return refuse(format!("{} bytes follow the {count} strings", rest.len()));
    }
    Ok(Tensor::from_string_array(shape, strings)?)
}

/// The number of bytes of an output, and the name of its datatype.
///
/// # Errors
/// `UNIMPLEMENTED` if the protocol does not have its dtype; `OUT_OF_RANGE` if a string is too long for its length.
pub(crate) fn encoded_len(name: &str, tensor: &Tensor) -> Result<(usize, &'static str), Status> {
    let Some(datatype) = known(tensor.dtype()) else {
        let dtype = tensor.dtype();
        let reason = format!("output `{name}`: the protocol has no datatype for {dtype}; name the outputs without it");
        return Err(Status::new(Code::Unimplemented, reason));
    };
    if tensor.dtype() != DType::String {
        return Ok((tensor.memory(), datatype));
    }
    let strings = tensor.strings()?;
    let bytes = strings.total_bytes().saturating_add(strings.len().saturating_mul(LENGTH_BYTES));
    if bytes > u32::MAX as usize && strings.iter().any(|string| u32::try_from(string.len()).is_err()) {
        let reason = format!("output `{name}`: a string is longer than 32 bits can tell");
        return Err(Status::new(Code::OutOfRange, reason));
    }
    Ok((bytes, datatype))
}

/// Appends the bytes of an output.
pub(crate) fn encode(tensor: &Tensor, out: &mut Vec<u8>) {
    if tensor.dtype() != DType::String {
        out.extend_from_slice(tensor.bytes().unwrap_or_default());
        return;
    }
    for string in tensor.strings().into_iter().flat_map(Strings::iter) {
        // The length fits: see `encoded_len`.
        out.extend_from_slice(&(string.len() as u32).to_le_bytes());
        out.extend_from_slice(string);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_the_way_there_and_back() {
        let strings = Tensor::from_strings(&[2, 2], [&b""[..], b"a", b"\xff\0", b"long enough"]).unwrap();
        let tensors = [
            Tensor::from_slice(&[2, 1], &[1.5_f32, -0.0]).unwrap(),
            Tensor::from_slice(&[], &[i64::MIN]).unwrap(),
            Tensor::from_slice(&[3], &[true, false, true]).unwrap(),
            Tensor::zeros(DType::Float16, &[0, 4]).unwrap(),
            Tensor::from_strings::<&str>(&[0], []).unwrap(),
            strings,
        ];
        for tensor in tensors {
            let mut bytes = Vec::new();
            encode(&tensor, &mut bytes);
            assert_eq!(encoded_len("y", &tensor).unwrap().0, bytes.len());
            assert_eq!(decode("x", tensor.dtype(), tensor.shape(), &bytes).unwrap(), tensor);
        }
    }

    #[test]
    fn bytes_that_do_not_match_are_refused() {
        let error = |dtype, shape: &[usize], bytes: &[u8]| decode("x", dtype, shape, bytes).unwrap_err().message;
        assert_eq!(
            error(DType::Float32, &[1, 3], &[0; 11]),
            "input `x`: FP32 of shape [1, 3] takes 12 bytes, 11 were sent"
        );
        assert!(error(DType::Float64, &[1 << 61], &[]).contains("takes too many bytes"));
        assert!(error(DType::Float64, &[1 << 40, 1 << 40], &[]).contains("does not fit 63 bits"));
        assert!(error(DType::Bool, &[2], &[1, 7]).contains("the byte 7 of element 1 is not a BOOL"));
        assert!(error(DType::String, &[1 << 50], &[0; 8]).contains("8 were sent"));
        assert!(error(DType::String, &[1], &[2, 0, 0, 0, b'a']).contains("string 0 has a length of 2 bytes, and 1 "));
        assert!(error(DType::String, &[2], &[4, 0, 0, 0, 0, 0, 0, 0]).contains("before the length of string 1"));
        assert!(error(DType::String, &[1], &[0, 0, 0, 0, 9]).contains("1 bytes follow the 1 strings"));
        assert!(error(DType::String, &[1], &[0xff; 4]).contains("4294967295"));
    }

    #[test]
    fn dtypes_that_the_protocol_lacks_are_refused() {
        let tensor = Tensor::zeros(DType::Complex64, &[1]).unwrap();
        assert_eq!(encoded_len("c", &tensor).unwrap_err().code, Code::Unimplemented);
    }
}
