use std::path::Path;

use super::*;
use FeatureKind::{Bytes, Float, Int64};

fn features(input: &ExampleInput) -> Vec<(&str, FeatureKind)> {
    input.features.iter().map(|(name, kind)| (name.as_str(), *kind)).collect()
}

fn inputs(model: &SavedModel, signature: &str) -> Vec<ExampleInput> {
    let meta_graph = model.meta_graph(None).unwrap();
    model.example_inputs(meta_graph, meta_graph.signature(signature).unwrap())
}

#[test]
fn single_keys_are_read_from_a_graph_of_tensorflow_1() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let model = SavedModel::open(models.join("tf1_graph/model")).unwrap();
    let found = inputs(&model, "regress");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].name.as_str(), found[0].is_complete), ("inputs", true));
    assert!(!found[0].features.is_empty());
    let text = SavedModel::open(models.join("text/model")).unwrap();
    assert_eq!(inputs(&text, "serving_default"), []);
}

/// A graph with a function that parses only its second argument.
fn model() -> SavedModel {
    let strings = |values: &[&str]| {
        let all: String = values.iter().map(|value| format!("string_val: \"{value}\" ")).collect();
        format!(
            r#"op: "Const" attr {{ key: "dtype" value {{ type: DT_STRING }} }}
               attr {{ key: "value" value {{ tensor {{ dtype: DT_STRING tensor_shape {{ dim {{ size: {} }} }} {all} }} }} }}"#,
            values.len()
        )
    };
    let (sparse, dense, ragged, names) = (strings(&["tags"]), strings(&["age", "v"]), strings(&["r"]), strings(&[]));
    let text = format!(
        r#"saved_model_schema_version: 1
        meta_graphs {{
          meta_info_def {{ tags: "serve" }}
          graph_def {{
            node {{ name: "text" op: "Placeholder" attr {{ key: "dtype" value {{ type: DT_STRING }} }} }}
            node {{ name: "in" op: "Placeholder" attr {{ key: "dtype" value {{ type: DT_STRING }} }} }}
            node {{ name: "dense_keys" {dense} }}
            node {{ name: "same" op: "Identity" input: "in" attr {{ key: "T" value {{ type: DT_STRING }} }} }}
            node {{ name: "call" op: "PartitionedCall" input: "text" input: "same" input: "dense_keys"
                   attr {{ key: "f" value {{ func {{ name: "parse" }} }} }} }}
            library {{ function {{
              signature {{ name: "parse" input_arg {{ name: "a" type: DT_STRING }} input_arg {{ name: "b" type: DT_STRING }}
                          input_arg {{ name: "keys" type: DT_STRING }} output_arg {{ name: "y" type: DT_INT64 }} }}
              node_def {{ name: "names" {names} }}
              node_def {{ name: "sparse_keys" {sparse} }}
              node_def {{ name: "ragged_keys" {ragged} }}
              node_def {{ name: "p" op: "ParseExampleV2" input: "b" input: "names:output:0" input: "sparse_keys:output:0" input: "keys"
                         input: "ragged_keys:output:0"
                attr {{ key: "sparse_types" value {{ list {{ type: DT_STRING }} }} }}
                attr {{ key: "Tdense" value {{ list {{ type: DT_INT64 type: DT_FLOAT }} }} }}
                attr {{ key: "ragged_value_types" value {{ list {{ type: DT_FLOAT }} }} }} }}
            }} }}
          }}
          signature_def {{ key: "f" value {{
            inputs {{ key: "t" value {{ name: "text:0" dtype: DT_STRING }} }}
            inputs {{ key: "e" value {{ name: "in:0" dtype: DT_STRING }} }}
            outputs {{ key: "y" value {{ name: "call:0" dtype: DT_INT64 }} }} }} }}
        }}"#
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("saved_model.pbtxt"), text).unwrap();
    SavedModel::open(folder.path()).unwrap()
}

#[test]
fn lists_of_keys_are_read_from_functions_with_their_input() {
    let found = inputs(&model(), "f");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].name.as_str(), found[0].is_complete), ("e", true));
    assert_eq!(features(&found[0]), [("age", Int64), ("r", Float), ("tags", Bytes), ("v", Float)]);
}
