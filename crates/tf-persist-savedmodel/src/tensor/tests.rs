//! What holds for tensors without TensorFlow.

use super::*;

#[test]
fn elements_go_in_and_out() {
    let tensor = Tensor::from_slice(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(tensor.dtype(), DType::Float32);
    assert_eq!(tensor.view::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(tensor.bytes().unwrap().as_ptr() as usize % ALIGNMENT, 0);
}

#[test]
fn a_wrong_view_names_both_dtypes() {
    let tensor = Tensor::scalar(1_i64).unwrap();
    assert_eq!(tensor.view::<f32>().unwrap_err().to_string(), "the tensor holds int64, not float32");
    assert!(tensor.strings().is_err());
}

#[test]
fn quantised_integers_are_seen_as_integers() {
    let tensor = Tensor::from_bytes(DType::QInt8, &[2], &[1, 255]).unwrap();
    assert_eq!(tensor.view::<i8>().unwrap(), [1, -1]);
}

#[test]
fn a_bool_that_is_none_is_refused() {
    let tensor = Tensor::from_bytes(DType::Bool, &[2], &[1, 7]).unwrap();
    assert!(tensor.view::<bool>().is_err());
}

#[test]
fn writing_to_a_shared_tensor_leaves_the_other_alone() {
    let first = Tensor::from_slice(&[2], &[1_i32, 2]).unwrap();
    let mut second = first.clone();
    second.view_mut::<i32>().unwrap()[0] = 9;
    assert_eq!(first.view::<i32>().unwrap(), [1, 2]);
    assert_eq!(second.view::<i32>().unwrap(), [9, 2]);
}

#[test]
fn writing_to_a_sole_owner_does_not_copy() {
    let mut tensor = Tensor::zeros(DType::Float32, &[1024]).unwrap();
    let before = tensor.bytes().unwrap().as_ptr();
    tensor.view_mut::<f32>().unwrap()[0] = 1.0;
    assert_eq!(tensor.bytes().unwrap().as_ptr(), before);
}

#[test]
fn strings_are_bytes() {
    let tensor = Tensor::from_strings(&[3], [&b"\xff\0\xfe"[..], b"", "zwölf".as_bytes()]).unwrap();
    let strings: Vec<&[u8]> = tensor.strings().unwrap().iter().collect();
    assert_eq!(strings, [&b"\xff\0\xfe"[..], b"", "zwölf".as_bytes()]);
}

#[test]
fn scalars_and_empty_tensors_have_their_counts() {
    assert_eq!(Tensor::scalar(true).unwrap().len(), 1);
    let empty = Tensor::zeros(DType::Float64, &[3, 0]).unwrap();
    assert!(empty.is_empty() && empty.view::<f64>().unwrap().is_empty());
    assert_eq!(Tensor::zeros(DType::String, &[2]).unwrap().strings().unwrap().get(1), Some(&b""[..]));
}

#[test]
fn refuses_wrong_counts_and_dtypes_without_size() {
    assert!(Tensor::from_slice(&[3], &[1_u8]).is_err());
    assert!(Tensor::from_bytes(DType::Float32, &[2], &[0; 7]).is_err());
    assert!(Tensor::zeros(DType::Resource, &[1]).is_err());
    assert!(Tensor::zeros(DType::Other(24), &[1]).is_err());
    assert!(Tensor::zeros(DType::Float32, &[usize::MAX]).is_err());
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    assert!(Tensor::zeros(DType::UInt8, &[1 << 55]).is_err());
}
