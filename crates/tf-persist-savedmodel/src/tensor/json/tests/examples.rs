//! `tf.Example`s out of JSON.

use tf_persist_proto::tensorflow::Example;
use tf_persist_proto::tensorflow::feature::feature::Kind;

use crate::example_features::FeatureKind;
use crate::tensor::json::read_examples;

fn kind(name: &str) -> Option<FeatureKind> {
    match name {
        "int" => Some(FeatureKind::Int64),
        "float" => Some(FeatureKind::Float),
        "bytes" => Some(FeatureKind::Bytes),
        _ => None,
    }
}

/// The lists of the features of one example, sorted by name.
fn read(text: &str) -> Vec<(String, String)> {
    let read = read_examples("x", text.as_bytes(), kind).unwrap();
    assert_eq!(read.examples.len(), 1);
    let example: Example = tf_persist_proto::parse(&read.examples.get(0).unwrap().to_vec().into()).unwrap();
    let list = |kind: &Option<Kind>| match kind {
        Some(Kind::Int64List(list)) => format!("int64 {:?}", list.value),
        Some(Kind::FloatList(list)) => format!("float {:?}", list.value),
        Some(Kind::BytesList(list)) => {
            format!("bytes {:?}", list.value.iter().map(|value| value.to_vec()).collect::<Vec<_>>())
        }
        _ => "none".into(),
    };
    example.features.feature.iter().map(|(name, feature)| (name.clone(), list(&feature.kind))).collect()
}

fn one(text: &str) -> String {
    let features = read(&format!("[{{{text}}}]"));
    assert_eq!(features.len(), 1, "{features:?}");
    features[0].1.clone()
}

fn refusal(text: &str) -> String {
    read_examples("x", text.as_bytes(), kind).unwrap_err().to_string()
}

#[test]
fn values_stand_in_the_list_that_is_asked_for() {
    assert_eq!(one(r#""int": 3"#), "int64 [3]");
    assert_eq!(one(r#""int": [true, -9223372036854775808]"#), "int64 [1, -9223372036854775808]");
    assert_eq!(one(r#""float": [1, 0.5, NaN, -Infinity]"#), "float [1.0, 0.5, NaN, -inf]");
    assert_eq!(one(r#""bytes": ["a", {"b64": "AP8="}]"#), "bytes [[97], [0, 255]]");
    assert_eq!((one(r#""int": []"#), one(r#""float": []"#)), ("int64 []".into(), "float []".into()));
}

#[test]
fn where_nothing_is_asked_the_values_say_it() {
    assert_eq!(one(r#""v": [0.5, 1]"#), "float [0.5, 1.0]");
    assert_eq!(one(r#""v": [1, 0.5]"#), "float [1.0, 0.5]");
    assert_eq!((one(r#""v": [1, 2]"#), one(r#""v": false"#)), ("int64 [1, 2]".into(), "int64 [0]".into()));
    assert_eq!((one(r#""v": "x""#), one(r#""v": []"#)), ("bytes [[120]]".into(), "none".into()));
    assert_eq!(read("[{}]"), []);
    let read = read_examples("x", br#"[{"b": 1, "int": 2}, {"a": 1, "b": 2}]"#, kind).unwrap();
    assert_eq!((read.examples.len(), read.unknown), (2, vec!["b".to_owned(), "a".to_owned()]));
}

#[test]
fn what_is_no_feature_is_refused_with_its_place() {
    for (text, said) in [
        ("{}", "x: examples are a list of objects of features, such as [{\"age\": 3}], not an object"),
        ("[]", "x: there are no examples in it"),
        ("[{}, 3]", "x: at [1]: a number where an object of features is expected"),
        (r#"[{"int": 0.5}]"#, "x: at [0], feature `int`: 0.5 is not written as an integer, which int64 takes"),
        (r#"[{"int": "3"}]"#, "x: at [0], feature `int`: a string where int64 is expected"),
        (
            r#"[{"int": 9223372036854775808}]"#,
            "x: at [0], feature `int`: 9223372036854775808 is outside the range of int64",
        ),
        (
            r#"[{"float": 1e39}]"#,
            "x: at [0], feature `float`: 1e39 is outside the range of float32; infinity is written Infinity",
        ),
        (r#"[{"float": [[1]]}]"#, "x: at [0], feature `float`: a list where float32 is expected"),
        (r#"[{"bytes": 3}]"#, "x: at [0], feature `bytes`: a number where a string is expected"),
        (r#"[{"bytes": null}]"#, "x: at [0], feature `bytes`: null where a string is expected"),
        (r#"[{"v": null}]"#, "x: at [0], feature `v`: null where a number or a string is expected"),
        (r#"[{"v": [1, "a"]}]"#, "x: at [0], feature `v`: a string where a number, as the one before it, is expected"),
        (r#"[{"v": ["a", 1]}]"#, "x: at [0], feature `v`: a number where a string, as the one before it, is expected"),
        (r#"[{"int": 1}, {"int": 1, "int": 2}]"#, "x: at [1], feature `int`: it is given twice"),
    ] {
        assert_eq!(refusal(text), said, "{text}");
    }
    assert!(refusal("[{} {}]").contains("not valid JSON at column "));
    assert!(refusal("[{}] 1").contains("not valid JSON at column "));
    assert!(refusal(&"[".repeat(10_000)).starts_with("x: "));
}
