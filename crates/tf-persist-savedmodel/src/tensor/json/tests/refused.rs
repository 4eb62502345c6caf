//! What is refused, and in which words.

use crate::error::TensorError;
use proptest::prelude::*;

use super::*;

fn value_refusal(text: &str, dtype: DType) -> String {
    read_value("x", text.as_bytes(), dtype).unwrap_err().to_string()
}

fn refusal(text: &str, inputs: &[(&str, DType)]) -> String {
    request(text, inputs).unwrap_err().to_string()
}

const ONE: &[(&str, DType)] = &[("x", DType::Int32)];
const TWO: &[(&str, DType)] = &[("a", DType::Int32), ("b", DType::Int32)];

#[test]
fn floats_that_are_too_large() {
    for (text, dtype, said) in [
        ("1e39", DType::Float32, "x: 1e39 is outside the range of float32; infinity is written Infinity"),
        (
            "[0, -1e39]",
            DType::Float32,
            "x: at [1]: -1e39 is outside the range of float32; infinity is written -Infinity",
        ),
        ("1e400", DType::Float64, "x: 1e400 is outside the range of float64; infinity is written Infinity"),
        ("65520", DType::Float16, "x: 65520 is outside the range of float16; infinity is written Infinity"),
        ("3.4e38", DType::Float16, "x: 3.4e38 is outside the range of float16; infinity is written Infinity"),
    ] {
        assert_eq!(value_refusal(text, dtype), said);
    }
    assert!(value_refusal("1e39", DType::BFloat16).contains("outside the range of bfloat16"));
    assert!(value_refusal(r#"{"real": 1e39, "imag": 0}"#, DType::Complex64).contains("1e39 is outside the range"));
}

#[test]
fn what_is_not_json() {
    for text in [
        "",
        " ",
        "{",
        "[1",
        "{\"inputs\": }",
        "{\"inputs\": 01}",
        "{\"inputs\": tru}",
        "{\"inputs\": [1,]}",
        "{\"a\" 1}",
    ] {
        let error = refusal(text, ONE);
        assert!(error.contains("not valid JSON at column ") || error.contains("not a list"), "{text}: {error}");
    }
    assert_eq!(
        refusal("{\"inputs\":\n [1, x]}", ONE),
        "request: it is not valid JSON at line 2 column 6: expected value"
    );
    assert!(value_refusal("[1, x]", DType::Int32).contains("JSON at column 5: "));
    assert!(value_refusal("x", DType::String).contains("JSON at column 1: "));
    // A line of a file has its end.
    assert_eq!(refusal("{\"inputs\": [1\n", ONE).split(':').nth(1).unwrap(), " it is not valid JSON at column 14");
    assert!(refusal("{\"inputs\":\n[1\n", ONE).contains("at line 2 column 2: "));
    assert!(value_refusal("1 2", DType::Int32).contains("trailing characters"));
    assert!(refusal("{\"inputs\": 1} 2", ONE).contains("trailing characters"));
    assert!(refusal("{\"inputs\": Inf}", ONE).contains("not valid JSON"));
}

#[test]
fn what_is_no_text() {
    let error = read_value("x", b"[\"a\", \"\xff\"]", DType::String).unwrap_err().to_string();
    assert!(error.contains("invalid unicode code point"), "{error}");
    assert!(read_value("x", b"\"\\ud800\"", DType::String).is_err());
    assert!(read_value("x", b"\"a\nb\"", DType::String).is_err());
    // Decoding comes upon it in the second pass, and still names the place in the whole text.
    let request = Request::parse("request", b"{\"inputs\":\n [\"\xff\"]}").unwrap();
    let error = request.tensors("s", &[("x", DType::String)], ExtraInputs::Refuse).unwrap_err().to_string();
    assert!(error.starts_with("request, input `x`: it is not valid JSON at line 2 column 4"), "{error}");
}

#[test]
fn requests_of_the_wrong_outline() {
    assert_eq!(refusal("[1]", ONE), "request: a request is a JSON object with `inputs` or `instances`, not a list");
    assert_eq!(refusal("{}", ONE), "request: the request has neither `inputs` nor `instances`");
    assert!(refusal(r#"{"inputs": 1, "instances": [1]}"#, ONE).contains("has both"));
    assert!(refusal(r#"{"signature_name": null, "inputs": 1}"#, ONE).contains("`signature_name` must be a string"));
    assert!(refusal(r#"{"inputs": 1, "inputs": 1}"#, ONE).contains("given twice"));
    assert!(refusal(r#"{"instances": [1], "instances": [1]}"#, ONE).contains("given twice"));
    assert!(refusal(r#"{"signature_name": "a", "signature_name": "a"}"#, ONE).contains("given twice"));
}

#[test]
fn names_that_are_not_those_of_the_signature() {
    assert_eq!(refusal(r#"{"inputs": {"y": 1}}"#, ONE), "signature `s` has no input `y`; its inputs are `x`");
    assert_eq!(refusal(r#"{"inputs": {"x": 1, "y": 1}}"#, ONE), "signature `s` has no input `y`; its inputs are `x`");
    assert_eq!(
        refusal(r#"{"instances": [{"x": 1, "y": 1}]}"#, ONE),
        "signature `s` has no input `y`; its inputs are `x`"
    );
    assert_eq!(refusal(r#"{"instances": [{"a": 1, "b": 1}, {"b": 1}]}"#, TWO), "request: at [1]: input `a` is missing");
    assert_eq!(
        refusal(r#"{"instances": [{"b": 1}, {"a": 1, "b": 1}]}"#, TWO),
        "request: at [1]: input `a` is given here, and not in the items before it"
    );
    assert_eq!(refusal(r#"{"inputs": {"x": 1, "x": 1}}"#, ONE), "input `x` of signature `s` is given twice");
    assert_eq!(refusal(r#"{"instances": [{"x": 1, "x": 1}]}"#, ONE), "input `x` of signature `s` is given twice");
    assert_eq!(
        refusal(r#"{"inputs": [1]}"#, TWO),
        "request: `inputs` must name its inputs, of which signature `s` has 2"
    );
    assert!(refusal(r#"{"instances": [[1]]}"#, TWO).contains("`instances` must name its inputs"));
    assert!(refusal(r#"{"inputs": 1}"#, &[]).contains("must name its inputs, of which signature `s` has 0"));
    let strings = [("x", DType::String)];
    assert!(refusal(r#"{"inputs": {"b64": "AA==", "x": "a"}}"#, &strings).contains("no input `b64`"));
}

#[test]
fn rows_that_are_no_batch() {
    assert_eq!(refusal(r#"{"instances": []}"#, ONE), "request: `instances` must not be empty");
    assert_eq!(refusal(r#"{"instances": {"x": 1}}"#, ONE), "request: `instances` must be a list, not an object");
    assert_eq!(
        refusal(r#"{"instances": [{"x": 1}, 2]}"#, ONE),
        "request: at [1]: a number where the items before it are objects"
    );
    assert_eq!(
        refusal(r#"{"instances": [1, {"x": 2}]}"#, ONE),
        "request, input `x`: at [1]: an object where int32 is expected"
    );
    assert_eq!(
        refusal(r#"{"instances": [{"x": [1, 2]}, {"x": [1]}]}"#, ONE),
        "request, input `x`: at [1]: a list of 1, where the lists before it have 2"
    );
    assert_eq!(
        refusal(r#"{"instances": [{"x": [1]}, {"x": 1}]}"#, ONE),
        "request, input `x`: at [1]: a single value where the values before it are lists"
    );
}

#[test]
fn ragged_lists() {
    let ragged = |text| value_refusal(text, DType::Int32);
    assert_eq!(ragged("[[1, 2], [3]]"), "x: at [1]: a list of 1, where the lists before it have 2");
    assert_eq!(ragged("[[1, 2], [3, 4, 5]]"), "x: at [1][2]: a value too many: the lists before this one have 2");
    assert_eq!(ragged("[[1, 2], 3]"), "x: at [1]: a single value where the values before it are lists");
    assert_eq!(ragged("[[1, 2], [3, [4]]]"), "x: at [1][1]: a list where int32 is expected");
    assert_eq!(ragged("[1, [2]]"), "x: at [1]: a list where int32 is expected");
    assert_eq!(ragged("[[1], [[2]]]"), "x: at [1][0]: a list where the values before it have none");
    assert_eq!(ragged("[[], [1]]"), "x: at [1][0]: a value too many: the lists before this one have 0");
    assert_eq!(ragged("[[1], []]"), "x: at [1]: a list of 0, where the lists before it have 1");
    assert_eq!(ragged("[[], [[]]]"), "x: at [1][0]: a value too many: the lists before this one have 0");
    assert_eq!(ragged("[[[1], [2]], [[3]]]"), "x: at [1]: a list of 1, where the lists before it have 2");
    assert_eq!(ragged("[[[1]], [[2], [3]]]"), "x: at [1][1]: a value too many: the lists before this one have 1");
    assert_eq!(ragged("[[], 1]"), "x: at [1]: a single value where the values before it are lists");
}

#[test]
fn values_of_another_kind() {
    assert_eq!(value_refusal("[1, null]", DType::Float32), "x: at [1]: null where float32 is expected");
    assert_eq!(value_refusal("null", DType::String), "x: null where a string is expected");
    assert_eq!(value_refusal("\"1\"", DType::Float32), "x: a string where float32 is expected");
    assert_eq!(value_refusal("true", DType::Int8), "x: `true` where int8 is expected");
    assert_eq!(value_refusal("1", DType::Bool), "x: a number where bool (true or false) is expected");
    assert_eq!(value_refusal("[1]", DType::String), "x: at [0]: a number where a string is expected");
    assert_eq!(value_refusal("{}", DType::Float16), "x: an object where float16 is expected");
    assert_eq!(
        value_refusal("1", DType::Complex64),
        "x: a number where complex64 ({\"real\": r, \"imag\": i}) is expected"
    );
    for text in ["{}", r#"{"real": 1}"#, r#"{"real": 1, "imag": 2, "x": 3}"#, r#"{"real": 1, "real": 1, "imag": 2}"#] {
        assert!(
            value_refusal(text, DType::Complex64).contains("a complex number is {\"real\": r, \"imag\": i}"),
            "{text}"
        );
    }
    assert!(matches!(
        read_value("x", b"1", DType::Resource).unwrap_err(),
        Error::Tensor(TensorError::UnsupportedDType { .. })
    ));
    assert!(matches!(
        request(r#"{"inputs": 1}"#, &[("x", DType::Other(24))]).unwrap_err(),
        Error::Tensor(TensorError::UnsupportedDType { .. })
    ));
}

#[test]
fn integers_that_are_none_or_out_of_range() {
    assert_eq!(value_refusal("[1.0]", DType::Int32), "x: at [0]: 1.0 is not written as an integer, which int32 takes");
    for text in ["1e3", "NaN", "-Infinity", "1E0"] {
        assert!(value_refusal(text, DType::Int64).contains("not written as an integer"), "{text}");
    }
    assert_eq!(value_refusal("300", DType::UInt8), "x: 300 is outside the range of uint8");
    for (text, dtype) in [
        ("128", DType::Int8),
        ("-129", DType::QInt8),
        ("-1", DType::UInt8),
        ("32768", DType::Int16),
        ("65536", DType::UInt16),
        ("2147483648", DType::Int32),
        ("-1", DType::UInt32),
        ("9223372036854775808", DType::Int64),
        ("-9223372036854775809", DType::Int64),
        ("18446744073709551616", DType::UInt64),
        ("-1", DType::UInt64),
        ("99999999999999999999", DType::UInt64),
        ("100000000000000000000", DType::UInt64),
    ] {
        assert!(value_refusal(text, dtype).contains("outside the range"), "{text}");
    }
    assert!(value_refusal(&"1".repeat(4000), DType::Int64).len() < 100);
    let long = format!("{{\"inputs\": {}}}", "1".repeat(5000));
    assert!(refusal(&long, ONE).contains("number out of range"));
}

#[test]
fn strings_that_are_not_base64() {
    let error = |text| value_refusal(text, DType::String);
    assert!(error(r#"{"b64": "?"}"#).contains("it is not base64"));
    assert!(error(r#"{"b64": "AP_-"}"#).contains("it is not base64"));
    assert!(error(r#"{"b64": 1}"#).contains("an object other than {\"b64\": \"…\"}"));
    assert!(error(r#"{"b64": "AA==", "x": 1}"#).contains("an object other than"));
    assert!(error(r#"{"text": "AA=="}"#).contains("an object other than"));
    assert!(error("{}").contains("an object other than"));
}

#[test]
fn nesting_that_no_tensor_has() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(value_refusal(&deep(255), DType::Int32).contains("deeper than TensorFlow's limit of 254"));
    assert!(value_refusal(&"[".repeat(1_000_000), DType::Int32).contains("deeper than TensorFlow's limit"));
    let inputs = format!("{{\"inputs\": {}}}", deep(100_000));
    assert!(refusal(&inputs, ONE).contains("deeper than TensorFlow's limit of 254"), "{}", refusal(&inputs, ONE));
    let other = format!("{{\"other\": {}", "{\"a\":[".repeat(100_000));
    assert!(refusal(&other, ONE).contains("nested too deeply at column "), "{}", refusal(&other, ONE));
}

/// Texts that are nearly JSON.
fn soup() -> impl Strategy<Value = String> {
    r#"(\{"(inputs|instances|signature_name)": )?([\[\]{},:"]|"(x|y|b64|real|imag)"[:, ]|-?[0-9]{1,22}(\.[0-9]{1,3})?([eE][-+]?[0-9]{1,5})?|NaN|-?Infinity|null|true|false|[-+.eE0-9]|\\u[0-9a-f]{4}|\PC){0,30}"#
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_makes_it_panic(text in soup(), dtype in 1..24_i32) {
        let dtype = DType::from_number(dtype);
        let _ = read_value("x", text.as_bytes(), dtype);
        let _ = request(&text, &[("x", dtype)]);
        let _ = request(&text, &[("x", dtype), ("y", DType::Float32)]);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = read_value("x", &bytes, DType::Float32);
        let _ = Request::parse("request", &bytes);
    }
}
