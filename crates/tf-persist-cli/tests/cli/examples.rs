//! `run --examples`: JSON objects of features as `tf.Example`s.

use serde_json::json;

use crate::support::Dir;

/// A model that returns the features that it parses from `in`, and one string input that it does not parse.
fn parser(dir: &Dir) {
    let strings = |values: &[&str]| {
        let all: String = values.iter().map(|value| format!("string_val: \"{value}\" ")).collect();
        format!(
            r#"op: "Const" attr {{ key: "dtype" value {{ type: DT_STRING }} }}
               attr {{ key: "value" value {{ tensor {{ dtype: DT_STRING tensor_shape {{ dim {{ size: {} }} }} {all} }} }} }}"#,
            values.len()
        )
    };
    let empty = |name: &str, dtype: &str| {
        format!(
            r#"node {{ name: "{name}" op: "Const" attr {{ key: "dtype" value {{ type: {dtype} }} }}
               attr {{ key: "value" value {{ tensor {{ dtype: {dtype} tensor_shape {{ dim {{ size: 0 }} }} }} }} }} }}"#
        )
    };
    let (int_default, float_default) = (empty("no_age", "DT_INT64"), empty("no_v", "DT_FLOAT"));
    let (names, sparse, dense) = (strings(&[]), strings(&["tags"]), strings(&["age", "v"]));
    let string_input = |name: &str| {
        format!(
            r#"inputs {{ key: "{name}" value {{ name: "{name}:0" dtype: DT_STRING tensor_shape {{ dim {{ size: -1 }} }} }} }}"#
        )
    };
    let (input, text) = (string_input("in"), string_input("text"));
    let output = |key: &str, tensor: &str, dtype: &str| {
        format!(
            r#"outputs {{ key: "{key}" value {{ name: "{tensor}" dtype: {dtype} tensor_shape {{ unknown_rank: true }} }} }}"#
        )
    };
    let (age, v) = (output("age", "p:3", "DT_INT64"), output("v", "p:4", "DT_FLOAT"));
    let (tags, said) = (output("tags", "p:1", "DT_STRING"), output("said", "said:0", "DT_STRING"));
    let graph = format!(
        r#"saved_model_schema_version: 1
        meta_graphs {{
          meta_info_def {{ tags: "serve" }}
          graph_def {{
            node {{ name: "in" op: "Placeholder" attr {{ key: "dtype" value {{ type: DT_STRING }} }}
                   attr {{ key: "shape" value {{ shape {{ dim {{ size: -1 }} }} }} }} }}
            node {{ name: "text" op: "Placeholder" attr {{ key: "dtype" value {{ type: DT_STRING }} }} }}
            node {{ name: "said" op: "Identity" input: "text" attr {{ key: "T" value {{ type: DT_STRING }} }} }}
            node {{ name: "names" {names} }}
            node {{ name: "sparse_keys" {sparse} }}
            node {{ name: "dense_keys" {dense} }}
            node {{ name: "ragged_keys" {names} }}
            {int_default} {float_default}
            node {{ name: "p" op: "ParseExampleV2" input: "in" input: "names" input: "sparse_keys" input: "dense_keys" input: "ragged_keys"
              input: "no_age" input: "no_v"
              attr {{ key: "Tdense" value {{ list {{ type: DT_INT64 type: DT_FLOAT }} }} }}
              attr {{ key: "num_sparse" value {{ i: 1 }} }}
              attr {{ key: "sparse_types" value {{ list {{ type: DT_STRING }} }} }}
              attr {{ key: "ragged_value_types" value {{ list {{ }} }} }}
              attr {{ key: "ragged_split_types" value {{ list {{ }} }} }}
              attr {{ key: "dense_shapes" value {{ list {{ shape {{ }} shape {{ dim {{ size: 2 }} }} }} }} }} }}
            versions {{ producer: 2400 }}
          }}
          signature_def {{ key: "serving_default" value {{ {input} {age} {v} {tags} }} }}
          signature_def {{ key: "both" value {{ {input} {text} {age} {said} }} }}
          signature_def {{ key: "plain" value {{ {text} {said} }} }}
        }}"#
    );
    dir.write("m/saved_model.pbtxt", graph);
}

#[test]
fn features_are_given_as_the_graph_parses_them() {
    let dir = Dir::new();
    parser(&dir);
    dir.write("e.json", r#"[{"age": 3, "v": [0.5, 1], "tags": ["x", {"b64": "AP8="}]}, {"age": 4, "v": [2, 3]}]"#);
    let report = dir.cmd("run m --examples e.json --format json").run().ok().json();
    let outputs = json!({"age": [3, 4], "v": [[0.5, 1.0], [2.0, 3.0]], "tags": ["x", {"b64": "AP8="}]});
    assert_eq!(report["outputs"], outputs);
    // Of several string inputs it is the one that is parsed, whichever others are given; a feature that is not read is
    // said.
    let both = "run m --signature both --format json --examples - --input";
    for inputs in [vec!["text=[\"hi\"]"], vec!["text=[\"hi\"]", "--input", "in="]] {
        let stdin = r#"[{"age": 7, "v": [0, 0], "label": 1}]"#;
        let ran = dir.cmd(both).args(inputs).stdin(stdin).run().ok();
        let reads = "warning: the model does not read `label` of `standard input`; the features that it reads are `age`, `tags`, `v`";
        ran.check(ran.err().contains(reads), "it is not said that a feature is not read");
        assert_eq!(ran.json()["outputs"], json!({"age": [7], "said": ["hi"]}));
    }
}

#[test]
fn a_graph_of_tensorflow_1_is_given_examples() {
    let dir = Dir::new();
    // The flower of the same numbers as a serialized example, and by its numbers.
    dir.write("e.json", r#"[{"x": [5.1, 3.5, 1.4, 0.2]}, {"x": [6, 3, 5, 2]}]"#);
    let classified =
        dir.cmd("run models/tf1_graph/model --signature classify --examples e.json --format json").run().ok().json();
    let plain = dir
        .cmd("run models/tf1_graph/model --format json --input")
        .arg("x=[[5.1,3.5,1.4,0.2],[6,3,5,2]]")
        .run()
        .ok()
        .json();
    for row in 0..2 {
        assert_eq!(classified["outputs"]["classes"][row][0], plain["outputs"]["species"][row]);
    }
    dir.write("e.json", r#"[{"x": ["a", "b", "c", "d"]}]"#);
    let ran = dir.cmd("run models/tf1_graph/model --signature classify --examples e.json").without_tensorflow().run();
    ran.fails().says("e.json: at [0], feature `x`: a string where float32 is expected");
}

#[test]
fn sequence_examples_are_refused_by_name() {
    let dir = Dir::new();
    parser(&dir);
    let text = std::fs::read_to_string(dir.path("m/saved_model.pbtxt")).unwrap();
    dir.write("m/saved_model.pbtxt", text.replace("ParseExampleV2", "ParseSequenceExampleV2"));
    dir.write("e.json", "[{\"age\": 3}]");
    let ran = dir.cmd("run m --examples e.json").without_tensorflow().run().fails();
    ran.says("input `in` takes tf.SequenceExamples").hints("--input 'in=[{\"b64\":");
}

#[test]
fn models_without_example_inputs_are_refused() {
    let dir = Dir::new();
    parser(&dir);
    dir.write("e.json", "[{\"age\": 3}]");
    for (line, said) in [
        ("m --signature plain --examples e.json", "signature `plain`: the graph parses no tf.Examples from `text`"),
        ("models/half_plus_two/model --examples e.json", "it has no input that takes strings"),
        ("models/text/model --examples e.json", "the graph parses no tf.Examples from `text`"),
        ("m --examples e.json --input in=[\"x\"]", "every input that takes strings is given by --input"),
        ("m --examples e.json --input nope=", "has no input `nope`"),
        ("m --signature both --examples e.json", "needs `text`, which was not given"),
        ("m --examples nope.json", "cannot read `nope.json`: No such file"),
    ] {
        dir.cmd(&format!("run {line}")).without_tensorflow().run().fails().says(said);
    }
    dir.cmd("run m --examples e.json --inputs e.json").without_tensorflow().run().misused();
    // What the graph demands and is not there, TensorFlow names.
    let ran = dir.cmd("run m --examples e.json").run().fails();
    ran.says("v (data type: float) is required but could not be found")
        .hints("give every example the feature `v`, of float");
}
