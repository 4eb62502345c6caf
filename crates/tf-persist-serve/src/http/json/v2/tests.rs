use half::{bf16, f16};
use tf_persist_core::{Code, DType, Tensor};

use super::*;
use crate::v2::Output;

fn read(json: &str, binary: &[u8]) -> Result<InferBody, String> {
    infer_request(json.as_bytes(), binary, 4).map_err(|status| {
        assert!(matches!(status.code, Code::InvalidArgument | Code::Unimplemented), "{status}");
        status.message
    })
}

/// A request with one input.
fn with_data(datatype: &str, shape: &str, data: &str) -> String {
    format!("{{\"inputs\": [{{\"name\": \"x\", \"shape\": {shape}, \"datatype\": \"{datatype}\", \"data\": {data}}}]}}")
}

fn tensor(datatype: &str, shape: &str, data: &str) -> Result<Tensor, String> {
    read(&with_data(datatype, shape, data), &[]).map(|mut body| body.request.inputs.remove(0).1)
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(found: Result<T, String>, words: &str) {
    let message = found.unwrap_err();
    assert!(message.contains(words), "{message}");
}

#[test]
fn numbers_of_every_datatype() {
    let ints = |datatype: &str| tensor(datatype, "[2]", "[0, 100]").unwrap();
    assert_eq!(ints("INT8").view::<i8>().unwrap(), [0, 100]);
    assert_eq!(ints("INT16").view::<i16>().unwrap(), [0, 100]);
    assert_eq!(ints("INT32").view::<i32>().unwrap(), [0, 100]);
    assert_eq!(ints("INT64").view::<i64>().unwrap(), [0, 100]);
    assert_eq!(ints("UINT8").view::<u8>().unwrap(), [0, 100]);
    assert_eq!(ints("UINT16").view::<u16>().unwrap(), [0, 100]);
    assert_eq!(ints("UINT32").view::<u32>().unwrap(), [0, 100]);
    assert_eq!(ints("UINT64").view::<u64>().unwrap(), [0, 100]);
    assert_eq!(ints("FP16").view::<f16>().unwrap(), [f16::ZERO, f16::from_f32(100.0)]);
    assert_eq!(ints("BF16").view::<bf16>().unwrap(), [bf16::ZERO, bf16::from_f32(100.0)]);
    assert_eq!(ints("FP32").view::<f32>().unwrap(), [0.0, 100.0]);
    assert_eq!(ints("FP64").view::<f64>().unwrap(), [0.0, 100.0]);
    assert_eq!(
        tensor("BOOL", "[4]", "[true, false, 1, 0]").unwrap().view::<bool>().unwrap(),
        [true, false, true, false]
    );
    assert_eq!(tensor("BYTES", "[2]", "[\"\\u00e4\", \"\"]").unwrap(), Tensor::from_strings(&[2], ["ä", ""]).unwrap());
    let limits = format!("[{}, {}]", i64::MIN, i64::MAX);
    assert_eq!(tensor("INT64", "[2]", &limits).unwrap().view::<i64>().unwrap(), [i64::MIN, i64::MAX]);
    assert_eq!(tensor("UINT64", "[1]", &format!("[{}]", u64::MAX)).unwrap().view::<u64>().unwrap(), [u64::MAX]);
}

#[test]
fn numbers_that_are_not_finite() {
    for datatype in ["FP16", "BF16", "FP32", "FP64"] {
        let text = "[NaN, null, \"NaN\", Infinity, -Infinity, \"Infinity\", \"-Infinity\", 1.5]";
        let found = tensor(datatype, "[8]", text).unwrap();
        let found: Vec<f64> = match found.dtype() {
            DType::Float16 => found.view::<f16>().unwrap().iter().map(|value| value.to_f64()).collect(),
            DType::BFloat16 => found.view::<bf16>().unwrap().iter().map(|value| value.to_f64()).collect(),
            DType::Float32 => found.view::<f32>().unwrap().iter().map(|value| f64::from(*value)).collect(),
            _ => found.view::<f64>().unwrap().to_vec(),
        };
        assert!(found[..3].iter().all(|value| value.is_nan()), "{datatype}: {found:?}");
        let infinity = f64::INFINITY;
        assert_eq!(found[3..], [infinity, -infinity, infinity, -infinity, 1.5], "{datatype}");
    }
    is_refused(tensor("INT32", "[1]", "[null]"), "element 0 of `data` is not INT32: null");
    is_refused(tensor("FP32", "[1]", "[\"nan\"]"), "element 0 of `data` is not FP32: \"nan\"");
}

#[test]
fn data_is_flat_or_in_the_shape() {
    let expected = Tensor::from_slice(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0]).unwrap();
    for data in ["[1, 2, 3, 4]", "[[1, 2], [3, 4]]", "[[1,2],[3,4]]"] {
        assert_eq!(tensor("FP32", "[2, 2]", data).unwrap(), expected);
    }
    for data in ["[7]", "7"] {
        assert_eq!(tensor("INT32", "[]", data).unwrap(), Tensor::from_slice(&[], &[7_i32]).unwrap());
    }
    for data in ["[]", "[[], []]"] {
        assert_eq!(tensor("FP32", "[2, 0]", data).unwrap().shape(), [2, 0]);
        // As numpy writes it.
        assert_eq!(tensor("FP32", "[2, 0, 3]", data).unwrap().shape(), [2, 0, 3]);
    }
    is_refused(tensor("FP32", "[3, 0, 3]", "[[], []]"), "`data` has the shape [2, 0], not [3, 0, 3]");
    is_refused(tensor("FP32", "[0, 2]", "[[], []]"), "`data` has the shape [2, 0], not [0, 2]");
    is_refused(tensor("FP32", "[4]", "[[1, 2], [3, 4]]"), "`data` has the shape [2, 2], not [4]");
    is_refused(tensor("FP32", "[2, 2]", "[1, 2, 3]"), "`data` has 3 elements, and the shape [2, 2] has 4");
    is_refused(tensor("FP32", "[2, 2]", "[[1, 2], [3]]"), "the lists of `data` do not have the shape [2, 2]");
    is_refused(tensor("FP32", "[1]", "{}"), "element 0 of `data` is not FP32: {}");
    is_refused(tensor("INT8", "[2]", "[1, 128]"), "element 1 of `data` is not INT8: 128");
    is_refused(tensor("INT32", "[1]", "[1.0]"), "element 0 of `data` is not INT32: 1.0");
    is_refused(tensor("BYTES", "[1]", "[1]"), "element 0 of `data` is not BYTES: 1");
    is_refused(tensor("FP32", "[1099511627776]", "[1]"), "`data` has 1 elements");
    is_refused(tensor("FP32", "[1]", "[1"), "JSON Parse error");
    is_refused(tensor("FP32", "[1]", &"[".repeat(100_000)), "JSON Parse error");
    is_refused(tensor("FP32", "[1]", &format!("{}1{}", "[".repeat(300), "]".repeat(300))), "the lists of `data`");
}

#[test]
fn members_may_have_any_order() {
    let text = r#"{"inputs": [{"data": [1], "parameters": {"own": [{}]}, "datatype": "INT32", "own": null, "shape": [1],
        "name": "x"}], "own": {"a": [1, {}]}, "id": "7", "parameters": {"signature_name": "s"},
        "outputs": [{"parameters": {"binary_data": false, "classification": 2}, "name": "y"}, {"name": "z"}]}"#;
    let body = read(text, &[]).unwrap();
    assert_eq!(body.inputs(), [("x".into(), Tensor::from_slice(&[1], &[1_i32]).unwrap())]);
    assert_eq!((body.id.as_deref(), body.parameters.signature.as_deref()), (Some("7"), Some("s")));
    let output = |name: &str, binary, classes| Output { name: name.into(), binary, classes };
    assert_eq!(body.request.outputs, [output("y", Some(false), Some(2)), output("z", None, None)]);
}

#[test]
fn null_counts_as_absent() {
    let text = r#"{"inputs": [{"name": "x", "datatype": "FP32", "shape": [0], "data": null,
        "parameters": {"binary_data_size": 0, "own": null}}], "id": null, "outputs": null,
        "parameters": {"signature_name": null, "timeout": null}}"#;
    let body = read(text, &[]).unwrap();
    assert_eq!(body.inputs()[0].1.shape(), [0]);
    assert_eq!((body.id, body.parameters, body.request.outputs), (None, crate::v2::Parameters::default(), vec![]));
}

/// An input with binary data.
fn binary(name: &str, datatype: &str, shape: &str, bytes: &str) -> String {
    let size = format!("\"parameters\": {{\"binary_data_size\": {bytes}}}");
    format!("{{\"name\": \"{name}\", \"shape\": {shape}, \"datatype\": \"{datatype}\", {size}}}")
}

#[test]
fn binary_data_follows_in_the_order_of_the_inputs() {
    let mixed = format!(
        "{{\"inputs\": [{}, {{\"name\": \"b\", \"shape\": [1], \"datatype\": \"BOOL\", \"data\": [true]}}, {}]}}",
        binary("a", "INT16", "[2]", "4"),
        binary("c", "BYTES", "[1]", "6"),
    );
    let body = read(&mixed, &[1, 0, 255, 255, 2, 0, 0, 0, b'o', b'k']).unwrap();
    let names: Vec<&str> = body.inputs().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(body.inputs()[0].1.view::<i16>().unwrap(), [1, -1]);
    assert_eq!(body.inputs()[2].1, Tensor::from_strings(&[1], ["ok"]).unwrap());
    let one = |shape: &str, bytes: &str| format!("{{\"inputs\": [{}]}}", binary("x", "FP32", shape, bytes));
    is_refused(read(&one("[1]", "4"), &[0; 3]), "`binary_data_size` is 4, and 3 bytes are left");
    is_refused(read(&one("[1]", "4"), &[0; 5]), "1 bytes of binary data follow those of the inputs");
    is_refused(read(&one("[2]", "4"), &[0; 4]), "takes 8 bytes, 4 were sent");
    is_refused(read(&one("[1]", "-4"), &[0; 4]), "must be a number that is not negative, not -4");
    is_refused(read(&one("[1]", "18446744073709551615"), &[0; 4]), "and 4 bytes are left");
    is_refused(read(&one("[1]", "99999999999999999999"), &[0; 4]), "must be a number that is not negative");
    is_refused(read(&one("[1]", "\"4\""), &[0; 4]), "must be a number that is not negative");
    let both = one("[1]", "4").replace("\"shape\"", "\"data\": [1], \"shape\"");
    is_refused(read(&both, &[0; 4]), "it has `data` as well as `binary_data_size`");
}

#[test]
fn requests_that_are_not_infer_requests_are_refused() {
    for (text, words) in [
        ("", "the request has no JSON"),
        ("  ", "the request has no JSON"),
        ("[]", "the request must be an object"),
        ("{", "JSON Parse error"),
        ("{\"inputs\": []} x", "text follows"),
        ("{\"inputs\": []}\0", "text follows"),
        ("{}", "has no `inputs`"),
        ("{\"inputs\": {}}", "`inputs` must be a list"),
        ("{\"inputs\": [], \"inputs\": []}", "`inputs` is there twice"),
        ("{\"inputs\": [1]}", "input 0 must be an object, not 1"),
        ("{\"inputs\": [{}]}", "input 0 has no name"),
        ("{\"inputs\": [{\"name\": \"x\"}]}", "`datatype` is missing"),
        ("{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\"}]}", "`shape` is missing"),
        ("{\"inputs\": [{\"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [1]}]}", "`data` is missing"),
        ("{\"inputs\": [{\"name\": \"x\", \"datatype\": \"float\"}]}", "`datatype` of input `x` is unknown: float"),
        ("{\"inputs\": [{\"name\": 1}]}", "`name` of input 0 must be a string, not 1"),
        ("{\"inputs\": [{\"name\": \"x\", \"shape\": [-1]}]}", "`shape` of input `x` must be a number"),
        ("{\"inputs\": [{\"name\": \"x\", \"shape\": [1.5]}]}", "`shape` of input `x` must be a number"),
        ("{\"inputs\": [{\"name\": \"x\", \"shape\": 1}]}", "`shape` of input `x` must be a list"),
        ("{\"inputs\": [], \"id\": 7}", "`id` must be a string"),
        ("{\"inputs\": [], \"outputs\": [{}]}", "an output has no name"),
        ("{\"inputs\": [], \"outputs\": [{\"parameters\": {\"binary_data\": 1}}]}", "must be true or false"),
        ("{\"inputs\": [], \"outputs\": [{\"parameters\": {\"classification\": -1}}]}", "a number of classes"),
        ("{\"inputs\": [], \"outputs\": [{\"parameters\": {\"shared_memory_region\": \"r\"}}]}", "shared memory"),
        ("{\"inputs\": [{\"parameters\": {\"shared_memory_region\": \"r\"}}]}", "shared memory is not supported"),
        ("{\"inputs\": [], \"parameters\": {\"signature_name\": 7}}", "must be a string"),
        ("{\"inputs\": null}", "has no `inputs`"),
        ("{\"inputs\": nul}", "JSON Parse error"),
        ("{\"inputs\": [], \"parameters\": {\"sequence_id\": 3}}", "sequences are not supported"),
        ("{\"inputs\": [{},{},{},{},{}]}", "input 0 has no name"),
    ] {
        is_refused(read(text, &[]), words);
    }
    let x = with_data("FP32", "[1]", "[1]");
    let five = format!("{{\"inputs\": [{}]}}", vec![x[12..x.len() - 2].to_owned(); 5].join(","));
    is_refused(read(&five, &[]), "more than 4 inputs");
    is_refused(read(&with_data("FP32", &format!("{:?}", [1; 255]), "[1]"), &[]), "more than 254 sizes");
    let twice = with_data("FP32", "[1]", "[1], \"data\": [1]");
    is_refused(read(&twice, &[]), "`data` of input `x` is there twice");
    let name = infer_request(b"{\"inputs\": [{\"name\": \"\xff\"}]}", &[], 4).unwrap_err();
    assert!(name.message.contains("is not UTF-8"), "{name}");
}

fn outputs() -> Vec<(String, Tensor)> {
    [
        ("y", Tensor::from_slice(&[1, 3], &[1.5_f32, f32::NAN, f32::NEG_INFINITY]).unwrap()),
        ("h", Tensor::from_slice(&[1], &[f16::from_f32(0.1)]).unwrap()),
        ("n", Tensor::from_slice(&[2], &[i64::MIN, 7]).unwrap()),
        ("b", Tensor::from_slice(&[], &[true]).unwrap()),
        ("s", Tensor::from_strings(&[2], ["a\"b", "ä"]).unwrap()),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into()
}

#[test]
fn answers_as_json() {
    let outputs = outputs();
    let answer = InferAnswer { id: Some("i\n"), ..InferAnswer::new("m", 7, &outputs, false) };
    let (body, json) = infer_response(&answer).unwrap();
    assert_eq!(json, None);
    assert_eq!(
        String::from_utf8(body).unwrap(),
        concat!(
            r#"{"model_name":"m","model_version":"7","id":"i\n","outputs":["#,
            r#"{"name":"y","datatype":"FP32","shape":[1,3],"data":[1.5,NaN,-Infinity]},"#,
            r#"{"name":"h","datatype":"FP16","shape":[1],"data":[0.0999755859]},"#,
            r#"{"name":"n","datatype":"INT64","shape":[2],"data":[-9223372036854775808,7]},"#,
            r#"{"name":"b","datatype":"BOOL","shape":[],"data":[true]},"#,
            r#"{"name":"s","datatype":"BYTES","shape":[2],"data":["a\"b","ä"]}]}"#
        )
    );
}

#[test]
fn answers_in_binary_where_asked() {
    let outputs = outputs();
    let requested = [Output { name: "y".into(), binary: Some(false), classes: None }];
    let answer = InferAnswer { requested: &requested, ..InferAnswer::new("m", 7, &outputs, true) };
    let (body, json) = infer_response(&answer).unwrap();
    let (head, binary) = body.split_at(json.unwrap());
    let head = String::from_utf8(head.to_vec()).unwrap();
    assert!(head.contains(r#"{"name":"y","datatype":"FP32","shape":[1,3],"data":[1.5,NaN,-Infinity]}"#), "{head}");
    assert!(head.ends_with(r#"{"name":"s","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":13}}]}"#));
    let half = f16::from_f32(0.1).to_bits().to_le_bytes();
    let expected = [
        &half[..],
        &i64::MIN.to_le_bytes(),
        &7_i64.to_le_bytes(),
        &[1],
        &[3, 0, 0, 0],
        b"a\"b",
        &[2, 0, 0, 0],
        "ä".as_bytes(),
    ]
    .concat();
    assert_eq!(binary, expected);
}

#[test]
fn answers_that_json_does_not_have_are_refused() {
    let bytes = [("s".to_owned(), Tensor::from_strings(&[1], [b"\xff"]).unwrap())];
    let status = infer_response(&InferAnswer::new("m", 1, &bytes, false)).unwrap_err();
    assert_eq!(status.message, "output `s`: string 0 is not UTF-8; request the output in binary");
    assert!(infer_response(&InferAnswer::new("m", 1, &bytes, true)).is_ok());
    let complex = [("c".to_owned(), Tensor::zeros(DType::Complex64, &[1]).unwrap())];
    assert!(infer_response(&InferAnswer::new("m", 1, &complex, true)).is_err());
    let (empty, json) = infer_response(&InferAnswer::new("m", 1, &[], true)).unwrap();
    assert_eq!((empty.as_slice(), json), (&br#"{"model_name":"m","model_version":"1","outputs":[]}"#[..], None));
}
