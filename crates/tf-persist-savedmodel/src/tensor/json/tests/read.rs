//! What is read.

use half::{bf16, f16};
use num_complex::Complex;

use super::*;

#[test]
fn columns_stand_alone_or_by_name() {
    let expected = Tensor::from_slice(&[2, 2], &[1.0_f32, 2.5, -3.0, 4e2]).unwrap();
    assert_eq!(only(r#"{"inputs": [[1, 2.5], [-3.0, 4e2]]}"#, DType::Float32), expected);
    assert_eq!(only(r#"{"inputs": {"x": [[1, 2.5], [-3.0, 4e2]]}}"#, DType::Float32), expected);
    assert_eq!(only(r#" {"other": [{}, null, "]"], "inputs" : 7 } "#, DType::Int64), Tensor::scalar(7_i64).unwrap());
    let tensors = request(r#"{"inputs": {"b": ["u"], "a": 1}}"#, &[("a", DType::UInt8), ("b", DType::String)]).unwrap();
    assert_eq!(tensors[0], ("a".into(), Tensor::scalar(1_u8).unwrap()));
    assert_eq!(tensors[1], ("b".into(), Tensor::from_strings(&[1], ["u"]).unwrap()));
    assert!(request(r#"{"inputs": {}}"#, &[]).unwrap().is_empty());
}

#[test]
fn rows_are_a_batch() {
    let expected = Tensor::from_slice(&[2, 2], &[1, 2, 3, 4]).unwrap();
    assert_eq!(only(r#"{"instances": [[1, 2], [3, 4]]}"#, DType::Int32), expected);
    assert_eq!(only(r#"{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}"#, DType::Int32), expected);
    assert_eq!(only(r#"{"instances": [{"x": [1, 2]}]}"#, DType::Int32).shape(), [1, 2]);
    assert_eq!(only(r#"{"instances": [1, 2]}"#, DType::Int32).shape(), [2]);
    assert_eq!(only(r#"{"instances": [{"x": 1}, {"x": 2}]}"#, DType::Int32).shape(), [2]);
    assert_eq!(only(r#"{"instances": [{"x": []}, {"x": []}]}"#, DType::Int32).shape(), [2, 0]);
    let inputs = [("a", DType::Float64), ("b", DType::Bool)];
    let tensors = request(r#"{"instances": [{"a": [1], "b": true}, {"b": false, "a": [2]}]}"#, &inputs).unwrap();
    assert_eq!(tensors[0].1, Tensor::from_slice(&[2, 1], &[1.0, 2.0]).unwrap());
    assert_eq!(tensors[1].1, Tensor::from_slice(&[2], &[true, false]).unwrap());
}

#[test]
fn a_request_says_what_it_is_before_it_is_decoded() {
    let request = Request::parse("request", br#"{"instances": [1], "signature_name": "a\u0062"}"#).unwrap();
    assert_eq!((request.signature_name(), request.form().unwrap()), (Some("ab"), Form::Row));
    let request = Request::parse("request", br#"{"inputs": 1}"#).unwrap();
    assert_eq!((request.signature_name(), request.form().unwrap()), (None, Form::Column));
}

#[test]
fn floats_take_any_number_in_range() {
    assert_eq!(value("[1, -0, 1e-400]", DType::Float64).view::<f64>().unwrap()[1..], [-0.0, 0.0]);
    let floats =
        value("[16777217, 0.1, NaN, Infinity, -Infinity, 1e-60, 123456789012345678901234567890]", DType::Float32);
    let floats = floats.view::<f32>().unwrap();
    assert_eq!(floats[..2], [16_777_216.0, 0.1]);
    assert!(floats[2].is_nan());
    assert_eq!(floats[3..], [f32::INFINITY, f32::NEG_INFINITY, 0.0, 1.234_567_9e29]);
    assert_eq!(value("-0", DType::Float32).view::<f32>().unwrap()[0].to_bits(), (-0.0_f32).to_bits());
    assert_eq!(value("[1.5, Infinity]", DType::Float16).view::<f16>().unwrap(), [f16::from_f32(1.5), f16::INFINITY]);
    assert_eq!(value("[1.5, NaN]", DType::BFloat16).view::<bf16>().unwrap()[0], bf16::from_f32(1.5));
}

#[test]
fn integers_are_read_to_the_ends_of_their_range() {
    assert_eq!(value("[-128, 127, -0]", DType::Int8).view::<i8>().unwrap(), [-128, 127, 0]);
    assert_eq!(value("[0, 255, -0]", DType::UInt8).view::<u8>().unwrap(), [0, 255, 0]);
    assert_eq!(value("[-32768, 32767]", DType::Int16).view::<i16>().unwrap(), [i16::MIN, i16::MAX]);
    assert_eq!(value("[65535]", DType::UInt16).view::<u16>().unwrap(), [u16::MAX]);
    assert_eq!(value("[-2147483648, 2147483647]", DType::Int32).view::<i32>().unwrap(), [i32::MIN, i32::MAX]);
    assert_eq!(value("[4294967295]", DType::UInt32).view::<u32>().unwrap(), [u32::MAX]);
    let ends = value("[-9223372036854775808, 9223372036854775807]", DType::Int64);
    assert_eq!(ends.view::<i64>().unwrap(), [i64::MIN, i64::MAX]);
    assert_eq!(value("[18446744073709551615]", DType::UInt64).view::<u64>().unwrap(), [u64::MAX]);
    assert_eq!(value("[-1]", DType::QInt8).dtype(), DType::QInt8);
    assert_eq!(value("[true, false]", DType::Bool).view::<bool>().unwrap(), [true, false]);
}

#[test]
fn strings_are_text_or_base64() {
    let strings = value(
        r#"["zw\u00f6lf\n", "\ud834\udd1e", {"b64": "AP8="}, {"b64":"AP8"}, {"b64": "\/w=="}, ""]"#,
        DType::String,
    );
    let expected = [&b"zw\xc3\xb6lf\n"[..], "𝄞".as_bytes(), b"\0\xff", b"\0\xff", b"\xff", b""];
    assert_eq!(strings, Tensor::from_strings(&[6], expected).unwrap());
    assert_eq!(value(r#"{"b64": "AA=="}"#, DType::String), Tensor::from_strings(&[], [b"\0"]).unwrap());
}

#[test]
fn a_base64_object_is_a_value_and_another_object_has_inputs() {
    let expected = Tensor::from_strings(&[], [b"\0"]).unwrap();
    assert_eq!(only(r#"{"inputs": {"b64": "AA=="}}"#, DType::String), expected);
    assert_eq!(only(r#"{"inputs": {"x": {"b64": "AA=="}}}"#, DType::String), expected);
    let rows = expected.clone().reshape(&[1]).unwrap();
    assert_eq!(only(r#"{"instances": [{"b64": "AA=="}]}"#, DType::String), rows);
    assert_eq!(only(r#"{"instances": [{"x": {"b64": "AA=="}}]}"#, DType::String), rows);
    // An input of that name, where no base64 can be meant.
    let tensors = request(r#"{"inputs": {"b64": ["AA=="]}}"#, &[("b64", DType::String)]).unwrap();
    assert_eq!(tensors[0].1, Tensor::from_strings(&[1], ["AA=="]).unwrap());
    let tensors = request(r#"{"inputs": {"b64": 1}}"#, &[("b64", DType::Int8)]).unwrap();
    assert_eq!(tensors[0].1, Tensor::scalar(1_i8).unwrap());
}

#[test]
fn complex_numbers_are_objects() {
    let expected = [Complex::new(1.0_f32, -2.0), Complex::new(0.0, f32::INFINITY)];
    let text = r#"[{"real": 1, "imag": -2}, {"imag": Infinity, "real": 0}]"#;
    assert_eq!(value(text, DType::Complex64), Tensor::from_slice(&[2], &expected).unwrap());
    let one = Tensor::from_slice(&[1], &[Complex::new(1.0_f64, 2.0)]).unwrap();
    assert_eq!(only(r#"{"instances": [{"real": 1, "imag": 2}]}"#, DType::Complex128), one);
    assert_eq!(only(r#"{"inputs": {"x": [{"real": 1, "imag": 2}]}}"#, DType::Complex128), one);
    assert_eq!(only(r#"{"inputs": {"imag": 2, "real": 1}}"#, DType::Complex128).shape(), [0; 0]);
}

#[test]
fn shapes_are_those_of_the_lists() {
    let shape = |text| value(text, DType::Int32).shape().to_vec();
    assert_eq!(shape("1"), [0; 0]);
    assert_eq!(shape("[]"), [0]);
    assert_eq!(shape("[[], []]"), [2, 0]);
    assert_eq!(shape("[[[1, 2, 3], [4, 5, 6]]]"), [1, 2, 3]);
    assert_eq!(shape("[[[]], [[]], [[]]]"), [3, 1, 0]);
    let deep = format!("{}1{}", "[".repeat(254), "]".repeat(254));
    assert_eq!(shape(&deep), [1; 254]);
}

#[test]
fn extra_inputs_may_be_ignored_in_columns() {
    let text = br#"{"inputs": {"y": [[1], "ragged"], "x": 1}}"#;
    let request = Request::parse("request", text).unwrap();
    let tensors = request.tensors("s", &[("x", DType::Int8)], ExtraInputs::Ignore).unwrap();
    assert_eq!(tensors[0].1, Tensor::scalar(1_i8).unwrap());
    let rows = Request::parse("request", br#"{"instances": [{"x": 1, "y": 2}]}"#).unwrap();
    assert!(rows.tensors("s", &[("x", DType::Int8)], ExtraInputs::Ignore).is_err());
}

#[test]
fn many_numbers_are_decoded_into_aligned_memory() {
    let numbers: Vec<String> = (0..100_000).map(|number| format!("{number}.5")).collect();
    let text = numbers.join(",");
    for text in [format!("{{\"inputs\": [{text}]}}"), format!("{{\"inputs\": {{\"x\": [{text}]}}}}")] {
        let tensor = only(&text, DType::Float32);
        assert_eq!(tensor.bytes().unwrap().as_ptr() as usize % crate::tensor::ALIGNMENT, 0);
        let expected = (0..100_000).map(|number| number as f32 + 0.5);
        assert!(tensor.view::<f32>().unwrap().iter().copied().eq(expected));
    }
}
