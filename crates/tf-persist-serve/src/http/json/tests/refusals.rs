use super::*;

const INT: Inputs<'static> = &[("x", DType::Int32)];
const TWO: Inputs<'static> = &[("s", DType::String), ("i", DType::Int32)];

fn invalid(body: &str, inputs: Inputs<'_>) -> String {
    let (code, message) = refusal(body, inputs);
    assert_eq!(code, Code::InvalidArgument, "{message}");
    message
}

#[test]
fn neither_format_or_both() {
    assert_eq!(invalid("{}", INT), "Missing 'inputs' or 'instances' key");
    assert_eq!(invalid("{\"Instances\": [1]}", INT), "Missing 'inputs' or 'instances' key");
    assert_eq!(
        invalid("{\"instances\": [1], \"inputs\": 1}", INT),
        "JSON Value: {\n    \"instances\": [1],\n    \"inputs\": 1\n} Not formatted correctly expecting only one of 'inputs' or \
         'instances' keys to exist "
    );
    assert_eq!(
        invalid("{\"instances\": {\"x\": 1}}", INT),
        "JSON Value: {\n    \"instances\": {\n        \"x\": 1\n    }\n} Expecting 'instances' to be an list/array"
    );
    assert_eq!(
        invalid("{\"instances\": []}", INT),
        "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"
    );
    assert_eq!(invalid("{\"instances\": []}", &[("x", DType::Float32)]), invalid("{\"instances\": []}", INT));
}

#[test]
fn a_signature_without_inputs() {
    assert_eq!(invalid("{\"inputs\": 1}", &[]), "Failed to get input map for signature: DEFAULT");
    let body = "{\"inputs\": 1, \"signature_name\": \"s\"}";
    assert_eq!(invalid(body, &[]), "Failed to get input map for signature: s");
}

#[test]
fn ragged_rows() {
    let prefix =
        |index: usize| format!("Failed to process element: {index} of 'instances' list. Error: INVALID_ARGUMENT: ");
    for (values, index, expected) in [
        ("[[1,2],[3,4],[5,6,7]]", 2, "Expecting tensor size: 2 but got: 3"),
        ("[[1,2],[3,4],[[5,6]]]", 2, "Expecting shape [2] but got: [1,2]"),
        ("[1,[1]]", 1, "Expecting shape [] but got: [1]"),
        ("[[1],1]", 1, "Expecting shape [1] but got: []"),
        ("[[],[[]]]", 1, "Expecting shape [0] but got: [1,0]"),
        ("[[[1,2],[3]]]", 0, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ("[[[1,2],[]]]", 0, "Encountered list at unexpected size: 0 at level: 1 expected size: 2"),
        ("[[1,[2]]]", 0, "Encountered list at unexpected level: 1 expected < 1"),
        ("[[[1],2]]", 0, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ("[[1,2],[\"a\",\"b\"]]", 1, "JSON Value: \"a\" Type: String is not of expected type: int32"),
        // The size of a list is reported before errors in it, an earlier element before that.
        ("[[[[1],[2]],[[3],[\"a\"],[4]]]]", 0, "Encountered list at unexpected size: 3 at level: 1 expected size: 2"),
        ("[[[1,2],[\"a\",[]],[5]]]", 0, "JSON Value: \"a\" Type: String is not of expected type: int32"),
        ("[[[[1,2]],[[3,4],[\"a\"]]],[]]", 0, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    ] {
        let body = format!("{{\"instances\": {values}}}");
        assert_eq!(invalid(&body, INT), prefix(index) + expected, "{values}");
        let floats = invalid(&body, &[("x", DType::Float32)]);
        assert_eq!(floats, prefix(index) + &expected.replace("int32", "float"), "{values}");
        // Named values are checked one by one.
        let named = values.strip_prefix('[').and_then(|values| values.strip_suffix(']')).unwrap();
        if index == 0 && !named.contains("],[]") {
            let message = invalid(&format!("{{\"instances\": [{{\"x\": {named}}}]}}"), INT);
            assert_eq!(message, prefix(0).replace(" of", " key: x of") + expected);
        }
    }
}

#[test]
fn ragged_columns() {
    for (values, expected) in [
        ("[[1,2],[3]]", "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ("[[1,2],3]", "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ("[1,[2]]", "Encountered list at unexpected level: 1 expected < 1"),
        ("[[],1]", "JSON Value: 1 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    ] {
        assert_eq!(invalid(&format!("{{\"inputs\": {values}}}"), INT), expected);
        assert_eq!(invalid(&format!("{{\"inputs\": {{\"x\": {values}}}}}"), INT), expected);
        assert_eq!(invalid(&format!("{{\"inputs\": {values}}}"), &[("x", DType::Float32)]), expected);
    }
}

#[test]
fn values_of_the_wrong_type() {
    for (dtype, name, value, shown, kind) in [
        (DType::Int32, "int32", "1.0", "1.0", "Number"),
        (DType::Int32, "int32", "1e2", "100.0", "Number"),
        (DType::Int32, "int32", "2147483648", "2147483648", "Number"),
        (DType::Int32, "int32", "-2147483649", "-2147483649", "Number"),
        (DType::Int32, "int32", "NaN", "", "Number"),
        (DType::Int8, "int8", "2147483648", "2147483648", "Number"),
        (DType::Int16, "int16", "0.5", "0.5", "Number"),
        (DType::UInt8, "uint8", "0.5", "0.5", "Number"),
        (DType::Int64, "int64", "9223372036854775808", "9223372036854775808", "Number"),
        (DType::UInt32, "uint32", "-1", "-1", "Number"),
        (DType::UInt32, "uint32", "4294967296", "4294967296", "Number"),
        (DType::UInt64, "uint64", "-1", "-1", "Number"),
        (DType::UInt64, "uint64", "18446744073709551616", "18446744073709552000.0", "Number"),
        (DType::Int32, "int32", "true", "true", "True"),
        (DType::Int32, "int32", "null", "null", "Null"),
        (DType::Float32, "float", "\"1.0\"", "\"1.0\"", "String"),
        (DType::Float64, "double", "false", "false", "False"),
        (DType::Float32, "float", "null", "null", "Null"),
        (DType::Float32, "float", "{\"b64\":\"AAAA\"}", "{\n    \"b64\": \"AAAA\"\n}", "Object"),
        (DType::String, "string", "1", "1", "Number"),
        (DType::String, "string", "false", "false", "False"),
        (DType::String, "string", "null", "null", "Null"),
        (DType::Bool, "bool", "1", "1", "Number"),
        (DType::Bool, "bool", "\"true\"", "\"true\"", "String"),
        (DType::Float16, "half", "{\"b64\":\"\"}", "{\n    \"b64\": \"\"\n}", "Object"),
    ] {
        let expected = format!("JSON Value: {shown} Type: {kind} is not of expected type: {name}");
        let inputs: Inputs<'_> = &[("x", dtype)];
        assert_eq!(invalid(&format!("{{\"inputs\": [{value}]}}"), inputs), expected);
        let expected = format!("Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: {expected}");
        assert_eq!(invalid(&format!("{{\"instances\": [{value}]}}"), inputs), expected);
    }
}

#[test]
fn dtypes_without_json_values() {
    for (dtype, name) in [
        (DType::Float16, "half"),
        (DType::BFloat16, "bfloat16"),
        (DType::UInt16, "uint16"),
        (DType::Complex64, "complex64"),
        (DType::QInt8, "qint8"),
        (DType::Resource, "resource"),
    ] {
        let inputs: Inputs<'_> = &[("x", dtype)];
        let expected = format!("Conversion of JSON Value: 1 to type: {name}");
        assert_eq!(refusal("{\"inputs\": [1]}", inputs), (Code::Unimplemented, expected.clone()));
        assert_eq!(refusal("{\"inputs\": {\"x\": 1}}", inputs), (Code::Unimplemented, expected.clone()));
        let expected = format!("Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: {expected}");
        assert_eq!(refusal("{\"instances\": [1]}", inputs), (Code::InvalidArgument, expected));
    }
}

#[test]
fn base64_that_is_none() {
    let string: Inputs<'_> = &[("x", DType::String)];
    for bad in ["a$b!", "a", "YQ=", "YWI==", "YWJj=", "YQ==YQ==", "YQ=A", "=", "YWJjZ", "YW-_"] {
        let message = invalid(&format!("{{\"inputs\": {{\"b64\": \"{bad}\"}}}}"), string);
        assert_eq!(message, "Unable to base64 decode", "{bad}");
    }
    let message = invalid("{\"inputs\": [{\"b64\": 5}]}", string);
    assert_eq!(message, "JSON Value: {\n    \"b64\": 5\n} not formatted correctly for base64 data");
    let message = invalid("{\"instances\": [[{\"b64\": \"\", \"x\": 1}]]}", string);
    assert!(message.ends_with("not formatted correctly for base64 data"), "{message}");
    // At the top level, it counts as an object of named inputs.
    for object in ["{\"b64\": 5}", "{\"b64\": null}", "{\"b64\": \"YQ==\", \"b64\": \"\"}"] {
        let message = invalid(&format!("{{\"instances\": [{object}]}}"), string);
        assert!(message.starts_with("Failed to process element: 0 key: b64 of 'instances' list."), "{message}");
        assert_eq!(invalid(&format!("{{\"inputs\": {object}}}"), string), "Missing named input: x in 'inputs' object.");
    }
}

#[test]
fn named_rows() {
    let element = "Failed to process element: ";
    for (instances, expected) in [
        (
            "[{\"i\":[1],\"s\":\"\"},{\"i\":[[1]],\"s\":\"\"}]",
            "1 key: i of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1] but got: [1,1]",
        ),
        (
            "[{\"i\":[1],\"s\":\"\"},{\"i\":[1,2],\"s\":\"\"}]",
            "1 key: i of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2",
        ),
        (
            "[{\"i\":[\"x\"],\"s\":\"\"}]",
            "0 key: i of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"x\" Type: String is not of expected type: int32",
        ),
        (
            "[{\"i\":1,\"o\":1,\"s\":\"\"}]",
            "0 key: o of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: o",
        ),
        ("[{\"i\":1}]", "0 of 'instances' list. JSON object: {\n    \"i\": 1\n} keys must be equal to: i,s"),
        (
            "[{\"i\":1,\"s\":\"\"},{\"s\":\"\"}]",
            "1 of 'instances' list. JSON object: {\n    \"s\": \"\"\n} keys must be equal to: i,s",
        ),
        ("[{}]", "0 of 'instances' list. JSON object: {} keys must be equal to: i,s"),
    ] {
        assert_eq!(invalid(&format!("{{\"instances\": {instances}}}"), TWO), format!("{element}{expected}"));
    }
    for second in ["[1]", "1", "{\"b64\": \"\"}"] {
        let body = format!("{{\"instances\": [{{\"i\":1,\"s\":\"\"}}, {second}]}}");
        assert_eq!(invalid(&body, TWO), "Expecting object but got list at item 1 of input list");
    }
    assert_eq!(
        invalid("{\"instances\": [[1]]}", TWO),
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"
    );
    assert_eq!(
        invalid("{\"instances\": [1, 2, {\"x\": 1}]}", INT),
        "Expecting value/list but got object at item 2 of input list"
    );
    let message = invalid("{\"instances\": [{\"z\": 1}]}", INT);
    assert!(message.ends_with("JSON object: does not have named input: z"));
}

#[test]
fn named_columns() {
    assert_eq!(
        invalid("{\"inputs\": [1]}", TWO),
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map"
    );
    assert_eq!(invalid("{\"inputs\": {\"i\": 1}}", TWO), "Missing named input: s in 'inputs' object.");
    assert_eq!(invalid("{\"inputs\": {}}", INT), "Missing named input: x in 'inputs' object.");
}

/// No value is begun after 256 bytes; one that was begun is finished.
#[test]
fn snippets_are_truncated() {
    let long = "a".repeat(300);
    let message = invalid(&format!("{{\"y\": \"{long}\", \"inputs\": 1, \"instances\": [1]}}"), INT);
    assert_eq!(
        message,
        format!(
            "JSON Value: {{\n    \"y\": \"{long}\" Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    );
    let numbers = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]".repeat(20).replace("][", "], [");
    let message = invalid(&format!("{{\"instances\": [], \"more\": [{numbers}]}}"), INT);
    let shown = message.strip_prefix("JSON Value: ").unwrap().strip_suffix(" No values in 'instances' array").unwrap();
    assert!((256..262).contains(&shown.len()), "{}", shown.len());
    assert!(shown.starts_with("{\n    \"instances\": [],\n    \"more\": [[0, 1, 2, 3"), "{shown}");
}

#[test]
fn numbers_in_snippets() {
    for (token, shown) in [
        ("1e-7", "1e-7"),
        ("1.5e-10", "1.5e-10"),
        ("0.001234", "0.001234"),
        ("0.000001", "0.000001"),
        ("1e21", "1e21"),
        ("1e20", "100000000000000000000.0"),
        ("12.34", "12.34"),
        ("-0.0", "-0.0"),
        ("0.0", "0.0"),
        ("-1.25e300", "-1.25e300"),
        ("-0", "0"),
        ("-7", "-7"),
        ("1234e5", "123400000.0"),
        ("5e-324", "5e-324"),
    ] {
        let message = invalid(&format!("{{\"inputs\": {token}}}"), &[("x", DType::Bool)]);
        assert_eq!(message, format!("JSON Value: {shown} Type: Number is not of expected type: bool"));
    }
    let message = invalid("{\"inputs\": \"\\u0001\\u001f\\\"\\\\\\/é\\n\"}", INT);
    assert!(message.starts_with("JSON Value: \"\\u0001\\u001F\\\"\\\\/é\\n\" Type"), "{message}");
}
