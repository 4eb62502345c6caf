//! What is written, and that it is read again.

use std::io;

use half::{bf16, f16};
use num_complex::Complex;
use proptest::prelude::*;

use super::*;
use crate::tensor::npy::tests::any_tensor;

fn bare(tensor: &Tensor) -> String {
    written(&[("y", tensor)], Form::Column, true).unwrap()
}

#[test]
fn columns_with_and_without_names() {
    let (a, b) = (Tensor::from_slice(&[2, 1], &[1.0_f32, 2.5]).unwrap(), Tensor::scalar(-7_i64).unwrap());
    assert_eq!(bare(&a), r#"{"outputs": [[1.0], [2.5]]}"#);
    assert_eq!(written(&[("y", &a)], Form::Column, false).unwrap(), r#"{"outputs": {"y": [[1.0], [2.5]]}}"#);
    assert_eq!(
        written(&[("a", &a), ("b\"", &b)], Form::Column, true).unwrap(),
        r#"{"outputs": {"a": [[1.0], [2.5]], "b\"": -7}}"#
    );
    assert_eq!(written(&[], Form::Column, true).unwrap(), r#"{"outputs": {}}"#);
    assert_eq!(bare(&Tensor::zeros(DType::Float32, &[2, 0]).unwrap()), r#"{"outputs": [[], []]}"#);
    assert_eq!(bare(&Tensor::zeros(DType::Float32, &[0, 2]).unwrap()), r#"{"outputs": []}"#);
}

#[test]
fn rows_with_and_without_names() {
    let (a, b) =
        (Tensor::from_slice(&[2, 2], &[1, 2, 3, 4]).unwrap(), Tensor::from_slice(&[2], &[true, false]).unwrap());
    assert_eq!(written(&[("a", &a)], Form::Row, true).unwrap(), r#"{"predictions": [[1, 2], [3, 4]]}"#);
    assert_eq!(written(&[("b", &b)], Form::Row, false).unwrap(), r#"{"predictions": [{"b": true}, {"b": false}]}"#);
    assert_eq!(
        written(&[("a", &a), ("b", &b)], Form::Row, true).unwrap(),
        r#"{"predictions": [{"a": [1, 2], "b": true}, {"a": [3, 4], "b": false}]}"#
    );
    let none = Tensor::zeros(DType::Float32, &[0, 3]).unwrap();
    assert_eq!(written(&[("a", &none)], Form::Row, true).unwrap(), r#"{"predictions": []}"#);
    let empty = Tensor::zeros(DType::Float32, &[2, 0]).unwrap();
    assert_eq!(written(&[("a", &empty)], Form::Row, true).unwrap(), r#"{"predictions": [[], []]}"#);
}

#[test]
fn numbers_are_short_and_give_the_same_bits() {
    let floats = [0.1_f32, 3.0, 9e6, 1e-7, 1e16, f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-45];
    assert_eq!(
        bare(&Tensor::from_slice(&[11], &floats).unwrap()),
        r#"{"outputs": [0.1, 3.0, 9000000.0, 1e-7, 1e+16, 3.4028235e+38, NaN, Infinity, -Infinity, -0.0, 1e-45]}"#
    );
    assert_eq!(bare(&Tensor::scalar(0.1_f64).unwrap()), r#"{"outputs": 0.1}"#);
    assert_eq!(bare(&Tensor::scalar(f16::from_f32(1.5)).unwrap()), r#"{"outputs": 1.5}"#);
    assert_eq!(bare(&Tensor::scalar(bf16::NEG_INFINITY).unwrap()), r#"{"outputs": -Infinity}"#);
    assert_eq!(bare(&Tensor::scalar(u64::MAX).unwrap()), r#"{"outputs": 18446744073709551615}"#);
    assert_eq!(bare(&Tensor::scalar(i8::MIN).unwrap()), r#"{"outputs": -128}"#);
    let complex = Tensor::from_slice(&[1], &[Complex::new(1.0_f64, -2.5)]).unwrap();
    assert_eq!(bare(&complex), r#"{"outputs": [{"real": 1.0, "imag": -2.5}]}"#);
}

#[test]
fn strings_are_text_where_they_can_be() {
    let tensor = Tensor::from_strings(&[3], [&b"zw\xc3\xb6lf \"\\\n\r\t\x01\0"[..], b"\xff\0", b""]).unwrap();
    assert_eq!(bare(&tensor), r#"{"outputs": ["zwölf \"\\\n\r\t\u0001\u0000", {"b64": "/wA="}, ""]}"#);
    let text = Tensor::from_strings(&[], ["text"]).unwrap();
    assert_eq!(written(&[("image_bytes", &text)], Form::Column, true).unwrap(), r#"{"outputs": {"b64": "dGV4dA=="}}"#);
}

#[test]
fn outputs_that_have_no_rows_in_common_are_refused() {
    let (scalar, two) = (Tensor::scalar(1_u8).unwrap(), Tensor::zeros(DType::UInt8, &[2]).unwrap());
    let three = Tensor::zeros(DType::UInt8, &[3]).unwrap();
    let error = written(&[("y", &scalar)], Form::Row, true).unwrap_err();
    assert_eq!(error.to_string(), "output `y`: a scalar has no rows");
    assert!(error.hint().unwrap().text().contains("`inputs`"));
    let error = written(&[("y", &two), ("z", &three)], Form::Row, true).unwrap_err();
    assert_eq!(error.to_string(), "output `z`: it has 3 rows, and the first output has 2");
    let lists = Tensor::zeros(DType::UInt8, &[1 << 40, 0]).unwrap();
    assert!(written(&[("y", &lists)], Form::Column, true).unwrap_err().to_string().contains("too many empty lists"));
}

#[test]
fn an_error_of_the_writer_is_passed_on() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tensor = Tensor::zeros(DType::UInt8, &[1 << 17]).unwrap();
    let layout = Layout { form: Form::Column, bare_single: true };
    let error = write_outputs("answer.json", &mut Full, [("y", &tensor)], layout).unwrap_err();
    assert!(error.to_string().starts_with("cannot write `answer.json`"));
}

#[test]
fn the_dtypes_of_tensorflow_serving() {
    assert!(is_served_by_tensorflow_serving(DType::UInt32));
    for dtype in [DType::Float16, DType::BFloat16, DType::UInt16, DType::Complex64, DType::QInt8, DType::Resource] {
        assert!(!is_served_by_tensorflow_serving(dtype));
    }
}

/// The same but for NaN, of which JSON knows one.
fn same(a: &Tensor, b: &Tensor) -> bool {
    fn floats(tensor: &Tensor) -> Option<Vec<u64>> {
        let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        Some(match tensor.dtype() {
            DType::Float16 => tensor.view::<f16>().ok()?.iter().map(|value| bits(value.to_f64())).collect(),
            DType::BFloat16 => tensor.view::<bf16>().ok()?.iter().map(|value| bits(value.to_f64())).collect(),
            DType::Float32 => tensor.view::<f32>().ok()?.iter().map(|value| bits(f64::from(*value))).collect(),
            DType::Float64 => tensor.view::<f64>().ok()?.iter().map(|value| bits(*value)).collect(),
            DType::Complex64 => {
                let values = tensor.view::<Complex<f32>>().ok()?.iter();
                values.flat_map(|value| [bits(value.re.into()), bits(value.im.into())]).collect()
            }
            DType::Complex128 => {
                let values = tensor.view::<Complex<f64>>().ok()?.iter();
                values.flat_map(|value| [bits(value.re), bits(value.im)]).collect()
            }
            _ => return None,
        })
    }
    match (floats(a), floats(b)) {
        (Some(first), Some(second)) => a.dtype() == b.dtype() && a.shape() == b.shape() && first == second,
        _ => a == b,
    }
}

/// The shape that lists can express: the inside of an empty list is unknown.
fn said(tensor: &Tensor) -> Tensor {
    let known = tensor.shape().iter().position(|size| *size == 0).map_or(tensor.shape().len(), |zero| zero + 1);
    tensor.clone().reshape(&tensor.shape()[..known]).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(tensor in any_tensor(), name in "x|x_bytes|\\PC{1,3}") {
        let text = written(&[(&name, &tensor)], Form::Column, false).unwrap().replacen("outputs", "inputs", 1);
        let read = request(&text, &[(&name, tensor.dtype())]).unwrap();
        prop_assert!(same(&read[0].1, &said(&tensor)), "{text} gave {:?}", read[0].1);
        let text = written(&[(&name, &tensor)], Form::Column, true).unwrap().replacen("outputs", "inputs", 1);
        let read = request(&text, &[(&name, tensor.dtype())]).unwrap();
        prop_assert!(same(&read[0].1, &said(&tensor)), "{text} gave {:?}", read[0].1);
        if tensor.shape().first().is_some_and(|rows| *rows > 0) {
            for bare in [true, false] {
                let text = written(&[(&name, &tensor)], Form::Row, bare).unwrap().replacen("predictions", "instances", 1);
                let read = request(&text, &[(&name, tensor.dtype())]).unwrap();
                prop_assert!(same(&read[0].1, &said(&tensor)), "{text} gave {:?}", read[0].1);
            }
        }
    }

    #[test]
    fn two_outputs_are_read_again_by_row(rows in 1..4_usize, a in any::<[f32; 6]>(), b in any::<[u64; 3]>()) {
        let a = Tensor::from_slice(&[rows, 2], &a[..rows * 2]).unwrap();
        let b = Tensor::from_slice(&[rows], &b[..rows]).unwrap();
        let text = written(&[("a", &a), ("b", &b)], Form::Row, true).unwrap().replacen("predictions", "instances", 1);
        let read = request(&text, &[("a", DType::Float32), ("b", DType::UInt64)]).unwrap();
        prop_assert!(same(&read[0].1, &a) && same(&read[1].1, &b));
    }

    #[test]
    fn half_floats_and_quantised_numbers_are_read_again(bits in any::<[u16; 4]>()) {
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        for dtype in [DType::Float16, DType::BFloat16, DType::QInt16, DType::QUInt16] {
            let tensor = Tensor::from_bytes(dtype, &[4], &bytes).unwrap();
            let text = bare(&tensor).replacen("outputs", "inputs", 1);
            prop_assert!(same(&only(&text, dtype), &tensor), "{text}");
        }
    }
}
