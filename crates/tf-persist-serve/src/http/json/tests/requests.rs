use super::*;

#[test]
fn every_dtype_is_read() {
    fn check<T: tf_persist_core::Element + PartialEq + std::fmt::Debug>(dtype: DType, json: &str, values: &[T]) {
        let tensor = row(json, dtype);
        assert_eq!((tensor.dtype(), tensor.shape(), tensor.view::<T>().unwrap()), (dtype, &[values.len()][..], values));
        let tensor = column(&format!("[{json}]"), dtype);
        assert_eq!(
            (tensor.dtype(), tensor.shape(), tensor.view::<T>().unwrap()),
            (dtype, &[1, values.len()][..], values)
        );
        let tensor = one(format!("{{\"inputs\": {{\"y\": [[], 1], \"x\": {json}}}}}"), dtype).1;
        assert_eq!(tensor.view::<T>().unwrap(), values);
    }
    check(DType::Bool, "[true, false, true]", &[true, false, true]);
    check(DType::Int32, "[-2147483648, 0, -0, 2147483647]", &[i32::MIN, 0, 0, i32::MAX]);
    check(
        DType::Int64,
        "[-9223372036854775808, 9007199254740993, 9223372036854775807]",
        &[i64::MIN, 9_007_199_254_740_993, i64::MAX],
    );
    check(DType::UInt32, "[0, -0, 4294967295]", &[0, 0, u32::MAX]);
    check(DType::UInt64, "[0, 9007199254740993, 18446744073709551615]", &[0, 9_007_199_254_740_993, u64::MAX]);
    // Anything that fits 32 bits is accepted; its upper bits are dropped.
    check(DType::Int8, "[-128, 127, 300, -2147483648]", &[-128_i8, 127, 44, 0]);
    check(DType::Int16, "[-32768, 32767, 65537]", &[i16::MIN, i16::MAX, 1]);
    check(DType::UInt8, "[0, 255, 256, -1]", &[0_u8, 255, 0, 255]);
    check(DType::Float32, "[1, 2.0, 3, 5.003, 0.007, 0.0, -0.0, -0]", &[1_f32, 2.0, 3.0, 5.003, 0.007, 0.0, -0.0, 0.0]);
    check(DType::Float64, "[0.1, -1e300, 3, 0.662, 1E+2, 25e-1]", &[0.1, -1e300, 3.0, 0.662, 100.0, 2.5]);
}

#[test]
fn integers_may_lose_digits_in_floats() {
    for token in ["1435774380", "1435774380.0", "1.43577438e9"] {
        assert_eq!(row(&format!("[{token}]"), DType::Float32).view::<f32>().unwrap(), [1_435_774_336.0]);
    }
    let huge =
        "[123456789012345678901234567890, -123456789012345678901234567890, 18446744073709551616, -9223372036854775809]";
    let expected =
        [1.2345678901234568e29, -1.2345678901234568e29, 18_446_744_073_709_551_616.0, -9_223_372_036_854_775_808.0];
    assert_eq!(row(huge, DType::Float64).view::<f64>().unwrap(), expected);
}

#[test]
fn floats_overflow_to_infinity_and_underflow_to_zero() {
    let tensor = row("[1.79769e+308, -1.79769e+308, 2.22507e-308, -2.22507e-308]", DType::Float32);
    let bits: Vec<u32> = tensor.view::<f32>().unwrap().iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0].map(f32::to_bits));
    assert_eq!(row("[1e-400, 1e-99999999999999999999]", DType::Float64).view::<f64>().unwrap(), [0.0, 0.0]);
}

#[test]
fn nan_and_infinity_are_read() {
    let tensor = row("[Inf, Infinity, -Inf, -Infinity]", DType::Float64);
    assert_eq!(tensor.view::<f64>().unwrap(), [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY]);
    assert!(row("[NaN, -NaN]", DType::Float32).view::<f32>().unwrap().iter().all(|value| value.is_nan()));
}

#[test]
fn shapes_follow_the_nesting() {
    for (json, shape) in [
        ("[1, 2, 3]", &[3][..]),
        ("[[1, 2], [3, 4], [5, 6]]", &[3, 2]),
        ("[[[1, 2], [3, 4], [5, 6]]]", &[1, 3, 2]),
        ("[[], []]", &[2, 0]),
        ("[[[], []], [[], []]]", &[2, 2, 0]),
        ("[[[[[7]]]]]", &[1, 1, 1, 1, 1]),
    ] {
        for dtype in [DType::Int32, DType::Float32] {
            assert_eq!(row(json, dtype).shape(), shape);
            assert_eq!(column(json, dtype).shape(), shape);
        }
    }
    assert_eq!(column("[]", DType::Int32).shape(), [0]);
    assert_eq!(column("5", DType::Float32).shape(), [0_usize; 0]);
    assert_eq!(column("[[]]", DType::Float16).shape(), [1, 0]);
    let deep = format!("{}1{}", "[".repeat(254), "]".repeat(254));
    assert_eq!(column(&deep, DType::Float32).shape(), [1; 254]);
}

#[test]
fn strings_are_bytes() {
    let strings = |tensor: &Tensor| -> Vec<Vec<u8>> { tensor.strings().unwrap().iter().map(<[u8]>::to_vec).collect() };
    let tensor = row(r#"["", "hello", "a\"b\\c\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000z"]"#, DType::String);
    assert_eq!(strings(&tensor), [b"".to_vec(), b"hello".to_vec(), "a\"b\\c/\x08\x0c\n\r\té😀\0z".into()]);
    let mut body = b"{\"instances\": [\"".to_vec();
    body.extend([0xff, 0x80, 0xc3]);
    body.extend(b"\"]}");
    assert_eq!(strings(&one(body, DType::String).1), [[0xff, 0x80, 0xc3]]);
}

#[test]
fn base64_objects_are_strings() {
    let strings = |tensor: &Tensor| -> Vec<String> {
        tensor.strings().unwrap().iter().map(|string| String::from_utf8(string.to_vec()).unwrap()).collect()
    };
    let hello = "{ \"b64\" : \"aGVsbG8=\" }";
    for (json, shape) in [
        (format!("[{hello}, {{\"b64\": \"d29ybGQ\"}}]"), vec![2]),
        (format!("[[{hello}], [{{\"b\\u00364\": \"d29y\\nbGQ=\"}}]]"), vec![2, 1]),
        ("[\"hello\", {\"b64\": \" d29ybGQ. \"}]".to_owned(), vec![2]),
    ] {
        let tensor = row(&json, DType::String);
        assert_eq!((tensor.shape(), strings(&tensor)), (&shape[..], vec!["hello".to_owned(), "world".to_owned()]));
    }
    let tensor = row(&format!("[{{\"x\": [[{hello}], [\"world\"]]}}]"), DType::String);
    assert_eq!((tensor.shape(), strings(&tensor).len()), (&[1, 2, 1][..], 2));
    assert_eq!(column(hello, DType::String).shape(), [0_usize; 0]);
    assert_eq!(strings(&column(&format!("{{\"x\": {hello}}}"), DType::String)), ["hello"]);
    assert_eq!(strings(&column("{\"b64\": \"\"}", DType::String)), [""]);
}

#[test]
fn several_inputs_are_named() {
    let inputs: Inputs<'_> = &[("a", DType::Int32), ("b", DType::String), ("c", DType::Float32)];
    let body =
        r#"{"instances": [{"a": [[1,2],[3,4]], "b": "x", "c": [NaN]}, {"c": [2], "b": "y", "a": [[5,6],[7,8]]}]}"#;
    let (format, tensors) = decode(body, inputs).unwrap();
    assert_eq!(format, Format::Row);
    let shapes: Vec<(&str, &[usize])> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape())).collect();
    assert_eq!(shapes, [("a", &[2, 2, 2][..]), ("b", &[2]), ("c", &[2, 1])]);
    assert_eq!(tensors[0].1.view::<i32>().unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(tensors[2].1.view::<f32>().unwrap()[1], 2.0);
    let body = r#"{"inputs": {"b": {"b64": "aGVsbG8="}, "other": null, "c": 1.5, "a": [[[1]]], "a": 7}}"#;
    let (format, tensors) = decode(body, inputs).unwrap();
    assert_eq!(format, Format::Column);
    assert_eq!(tensors[0].1, Tensor::from_slice(&[1, 1, 1], &[1]).unwrap());
    assert_eq!(tensors[1].1, Tensor::from_strings(&[], ["hello"]).unwrap());
    assert_eq!(tensors[2].1, Tensor::scalar(1.5_f32).unwrap());
}

/// Every value of a repeated name is read; TensorFlow drops the elements beyond the shape.
#[test]
fn repeated_names_in_an_instance() {
    assert_eq!(row("[{\"x\": 1, \"x\": 2}, {\"x\": 3}]", DType::Int32).view::<i32>().unwrap(), [1, 2]);
    let tensor = row("[{\"x\": \"a\", \"x\": \"b\"}]", DType::String);
    assert_eq!(tensor, Tensor::from_strings(&[1], ["a"]).unwrap());
    let (_, message) = refusal("{\"instances\": [{\"x\": 1, \"x\": [2]}]}", &[("x", DType::Int32)]);
    assert!(message.contains("Expecting shape [] but got: [1]"), "{message}");
}

/// As C strings.
#[test]
fn names_end_at_a_zero_byte() {
    assert_eq!(row("[{\"x\\u0000y\": 1}]", DType::Int32).view::<i32>().unwrap(), [1]);
}

#[test]
fn a_base64_object_in_the_first_instance_makes_it_plain() {
    let (_, tensors) =
        decode("{\"instances\": [{\"b64\": \"\"}]}", &[("a", DType::String), ("b", DType::String)]).unwrap();
    assert_eq!(tensors.len(), 1);
    assert_eq!(tensors[0].0, "a");
}
