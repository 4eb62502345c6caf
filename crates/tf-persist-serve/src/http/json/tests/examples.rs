use tf_persist_proto::tensorflow::example::Example;
use tf_persist_proto::tensorflow::feature::{Feature, feature::Kind};

use super::*;

fn parse(body: &str) -> Vec<Example> {
    let body = ExamplesBody::parse(body.as_bytes()).unwrap();
    body.examples.iter().map(|bytes| tf_persist_proto::parse(&bytes.to_vec().into()).unwrap()).collect()
}

fn refused(body: &str) -> String {
    let status = ExamplesBody::parse(body.as_bytes()).unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument);
    status.message
}

fn feature<'a>(example: &'a Example, name: &str) -> &'a Feature {
    &example.features.feature[name]
}

fn bytes(example: &Example, name: &str) -> Vec<Vec<u8>> {
    match &feature(example, name).kind {
        Some(Kind::BytesList(list)) => list.value.iter().map(|value| value.to_vec()).collect(),
        other => panic!("{other:?}"),
    }
}

fn floats(example: &Example, name: &str) -> Vec<f32> {
    match &feature(example, name).kind {
        Some(Kind::FloatList(list)) => list.value.clone(),
        other => panic!("{other:?}"),
    }
}

fn ints(example: &Example, name: &str) -> Vec<i64> {
    match &feature(example, name).kind {
        Some(Kind::Int64List(list)) => list.value.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn kinds_follow_the_tokens() {
    let examples = parse(
        r#"{"examples": [
            {"names": ["foo", "bar"], "ratings": [8.0, 9.0, NaN, Infinity, 1e2], "age": 20},
            {"names": ["baz", {"b64": "aGVsbG8="}], "ratings": -Infinity, "mix": [1, true, false, -5, -9223372036854775808]},
            {"none": [], "b": {"b64": ""}},
            {}
        ]}"#,
    );
    assert_eq!(bytes(&examples[0], "names"), [b"foo", b"bar"]);
    let ratings = floats(&examples[0], "ratings");
    assert!(ratings[2].is_nan());
    assert_eq!((&ratings[..2], &ratings[3..]), (&[8.0, 9.0][..], &[f32::INFINITY, 100.0][..]));
    assert_eq!(ints(&examples[0], "age"), [20]);
    assert_eq!(bytes(&examples[1], "names"), [b"baz".to_vec(), b"hello".to_vec()]);
    assert_eq!(floats(&examples[1], "ratings"), [f32::NEG_INFINITY]);
    assert_eq!(ints(&examples[1], "mix"), [1, 1, 0, -5, i64::MIN]);
    assert!(feature(&examples[2], "none").kind.is_none());
    assert_eq!(bytes(&examples[2], "b"), [b""]);
    assert!(examples[3].features.feature.is_empty());
}

#[test]
fn each_example_has_the_context() {
    let body = r#"{"signature_name": "s", "examples": [{"a": 1}, {"q": "own", "a": 2}],
        "context": {"q": "pizza", "place": ["sfo"]}}"#;
    assert_eq!(ExamplesBody::parse(body.as_bytes()).unwrap().signature_name.unwrap(), "s");
    // Concatenated messages are one message for protobuf: TensorFlow merges them.
    let serialized = |body: &str| -> Vec<Vec<u8>> {
        let body = ExamplesBody::parse(body.as_bytes()).unwrap();
        body.examples.iter().map(<[u8]>::to_vec).collect()
    };
    let alone = serialized(r#"{"examples": [{"q": "pizza", "place": ["sfo"]}, {"a": 1}, {"q": "own", "a": 2}]}"#);
    assert_eq!(serialized(body), [[&alone[0][..], &alone[1]].concat(), [&alone[0][..], &alone[2]].concat()]);
    assert_eq!(parse(r#"{"context": {"a": 1}, "examples": [{}]}"#).len(), 1);
}

#[test]
fn last_feature_of_a_name_counts() {
    assert_eq!(ints(&parse("{\"examples\": [{\"a\": \"x\", \"a\": 2}]}")[0], "a"), [2]);
}

#[test]
fn invalid_examples_are_refused() {
    for (body, expected) in [
        (
            "{\"signature_name\": [1], \"examples\": [{}]}",
            "JSON Value: {\n    \"signature_name\": [1],\n    \"examples\": [{}]\n} not formatted correctly. 'signature_name' key must be a string value.",
        ),
        ("{\"context\": [{}]}", "Example must be JSON object but got JSON Array"),
        ("{}", "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ("{\"examples\": {}}", "JSON Value: {\n    \"examples\": {}\n} Expecting 'examples' value to be an list/array"),
        ("{\"examples\": []}", "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ("{\"examples\": [[{}]]}", "Example must be JSON object but got JSON Array"),
        ("{\"examples\": [{}, 5]}", "Example must be JSON object but got JSON Number"),
        ("{\"examples\": [{\"n\": [10, null]}]}", "Feature: n has element with unexpected JSON type: Null"),
        ("{\"examples\": [{\"n\": [10, 10.0]}]}", "Unexpected element type in feature: n expecting type: int64"),
        ("{\"examples\": [{\"n\": [1.0, true]}]}", "Unexpected element type in feature: n expecting type: float"),
        ("{\"examples\": [{\"n\": [\"a\", 1]}]}", "Unexpected element type in feature: n expecting type: bytes"),
        (
            "{\"examples\": [{\"n\": [1, {\"b64\": \"\"}]}]}",
            "Unexpected element type in feature: n expecting type: int64",
        ),
        ("{\"examples\": [{\"n\": [10, {\"t\": 10}]}]}", "Feature: n has element with unexpected JSON type: Object"),
        ("{\"examples\": [{\"n\": [[10], 20]}]}", "Feature: n has element with unexpected JSON type: Array"),
        ("{\"examples\": [{\"n\": {\"b64\": \"a\"}}]}", "Unable to base64 decode"),
        (
            "{\"examples\": [{\"n\": [20, 18446744073709551603]}]}",
            "Feature: n has uint64_t element. Only int64_t is supported.",
        ),
        (
            "{\"examples\": [{\"n\": [2.0, 18446744073709551603]}]}",
            "Unexpected element type in feature: n expecting type: float",
        ),
    ] {
        assert_eq!(refused(body), expected);
    }
}
