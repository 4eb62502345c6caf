//! Operations give the dtypes and shapes of Keras, and refuse what they do not know.

use std::collections::HashSet;

use super::*;
use crate::config::Dialect;
use crate::graph::{Graph, Program, Shape, TensorRef};
use crate::layers::Shared;
use serde_json::{Value, json};

/// The tensors that an operation gives when it is called with tensors of these shapes, or values.
fn call_in(dialect: Dialect, class: &str, config: &Value, inputs: &[Value]) -> Result<Vec<TensorRef>> {
    let config = config.as_object().cloned().unwrap_or_default();
    let reader = Config::new(&config, dialect);
    let built = match dialect {
        Dialect::Keras3 => build(class, None, &reader),
        Dialect::Keras2 => tensorflow::build(class, &reader),
    };
    let layer = built.ok_or("the class is unknown")??;
    let (graph, shared) = (Graph::new(&Program::new()), Shared::default());
    let cx = Context::new(&graph, dialect, &shared);
    let mut positional = Vec::new();
    for input in inputs {
        positional.push(match input.get("shape") {
            Some(Value::Array(dims)) => {
                let dtype = crate::config::policy::dtype(input["dtype"].as_str().unwrap_or("float32"))?;
                let shape = Shape::new(dims.iter().map(Value::as_u64).collect::<Vec<_>>());
                graph.argument("x", dtype, shape)?.into()
            }
            _ => argument(input),
        });
    }
    let mut arguments = Arguments::new(positional, Vec::new());
    let result = layer.call(&cx, &mut arguments)?;
    arguments.finish()?;
    Ok(result.tensors().into_iter().map(|tensor| tensor.tensor.clone()).collect())
}

fn argument(value: &Value) -> Argument {
    match value {
        Value::Array(items) => Argument::List(items.iter().map(argument).collect()),
        Value::Object(slice) if slice.contains_key("slice") => {
            let bound = |index: usize| slice["slice"][index].as_i64();
            Argument::Slice([bound(0), bound(1), bound(2)])
        }
        Value::String(dots) if dots == "..." => Argument::Ellipsis,
        plain => Argument::Plain(plain.clone()),
    }
}

/// As text: `float32[?,4]`.
fn call(class: &str, config: &Value, inputs: &[Value]) -> std::result::Result<String, String> {
    let shown = |tensors: Vec<TensorRef>| {
        tensors.iter().map(|it| format!("{}{}", it.dtype, it.shape)).collect::<Vec<_>>().join(" ")
    };
    call_in(Dialect::Keras3, class, config, inputs).map(shown).map_err(|reason| reason.to_string())
}

fn tensor(dtype: &str, dims: &[i64]) -> Value {
    let dims: Vec<Value> = dims.iter().map(|dim| if *dim < 0 { Value::Null } else { json!(dim) }).collect();
    json!({"shape": dims, "dtype": dtype})
}

#[test]
fn classes_and_their_names_are_unique() {
    let mut classes = HashSet::new();
    for entry in TABLES.iter().flat_map(|table| table.iter()) {
        assert!(classes.insert(entry.class), "{} is twice in the tables", entry.class);
        let names: Vec<&str> =
            entry.arguments.split(' ').chain(entry.parameters.split(' ')).filter(|name| !name.is_empty()).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{}", entry.class);
    }
    assert!(classes.len() > 280, "{}", classes.len());
}

#[test]
fn numbers_follow_tensors() {
    let of = |class: &str, dtype: &str, number: Value| call(class, &Value::Null, &[tensor(dtype, &[-1, 4]), number]);
    assert_eq!(of("Add", "float16", json!(2.5)), Ok("float16[?,4]".into()));
    assert_eq!(of("Add", "int32", json!(2.5)), Ok("float32[?,4]".into()));
    assert_eq!(of("Multiply", "int8", json!(2)), Ok("int8[?,4]".into()));
    assert_eq!(of("TrueDivide", "int32", json!(2)), Ok("float32[?,4]".into()));
    assert_eq!(of("Greater", "float16", json!(2.5)), Ok("bool[?,4]".into()));
    assert_eq!(of("Arctan2", "float16", json!(2.5)), Ok("float32[?,4]".into()));
    assert!(of("Add", "int32", json!(1_u64 << 60)).unwrap_err().contains("kept exactly"));
}

#[test]
fn keys_slice_as_in_python() {
    let x = tensor("float32", &[-1, 4, 6]);
    let item = |key: Value| call("GetItem", &Value::Null, &[x.clone(), key]);
    let all = json!({"slice": [null, null, null]});
    assert_eq!(item(json!(0)), Ok("float32[4,6]".into()));
    assert_eq!(item(json!([all, 1])), Ok("float32[?,6]".into()));
    assert_eq!(item(json!(["...", {"slice": [null, null, -2]}])), Ok("float32[?,4,3]".into()));
    assert_eq!(
        item(json!([all, null, {"slice": [1, 9_223_372_036_854_775_807_i64, null]}])),
        Ok("float32[?,1,3,6]".into())
    );
    assert!(item(json!([0, 0, 0, 0])).is_err());
    assert!(item(json!(["...", "..."])).unwrap_err().contains("two ellipses"));
    assert!(item(json!([all, 4])).is_err());
    assert!(item(json!(1.5)).is_err());
}

#[test]
fn unknown_sizes_stay_open() {
    let x = tensor("float32", &[-1, -1, 6]);
    let one = |class: &str, config: Value| call(class, &config, std::slice::from_ref(&x));
    assert_eq!(one("Mean", json!({"axis": 1, "keepdims": true})), Ok("float32[?,1,6]".into()));
    assert_eq!(one("Reshape", json!({"newshape": [-1, 3, 2]})), Ok("float32[?,3,2]".into()));
    assert_eq!(one("Repeat", json!({"repeats": 2, "axis": 1})), Ok("float32[?,?,6]".into()));
    assert_eq!(one("TopK", json!({"k": 2, "sorted": true})), Ok("float32[?,?,2] int32[?,?,2]".into()));
    assert_eq!(one("Softmax", json!({"axis": null})), Ok("float32[?,?,6]".into()));
    let y = tensor("float32", &[6, 3]);
    assert_eq!(call("Matmul", &Value::Null, &[x.clone(), y]), Ok("float32[?,?,3]".into()));
    let equation = json!({"subscripts": "...ab,bc->...ac"});
    assert_eq!(call("Einsum", &equation, &[x.clone(), tensor("float32", &[6, 2])]), Ok("float32[?,?,2]".into()));
}

#[test]
fn what_cannot_be_is_refused() {
    let x = tensor("float32", &[-1, 4]);
    let one = |class: &str, config: Value| call(class, &config, std::slice::from_ref(&x)).unwrap_err();
    assert!(one("Mean", json!({"axis": 1, "frob": 2})).contains("`frob`"));
    assert!(one("Sum", json!({"axis": 7})).contains("axis 7"));
    assert!(one("Split", json!({"indices_or_sections": [3, 1], "axis": 1})).contains("do not split"));
    assert!(one("Repeat", json!({"repeats": [1 << 30, 1, 1, 1], "axis": 1})).contains("too many"));
    assert!(one("Transpose", json!({"axes": [0, 0]})).contains("permute"));
    assert!(one("ArraySplit", json!({"indices_or_sections": 0, "axis": 1})).contains("impossible"));
    assert!(one("Cast", json!({"dtype": "float31"})).contains("float31"));
    assert!(one("Pad", json!({"pad_width": [[0, 1], [2, -3]]})).contains("size"));
    assert!(one("Einsum", json!({"subscripts": "ab,bc->ac"})).contains("1 tensors"));
    assert!(one("Einsum", json!({"subscripts": "a!->a"})).contains("einsum"));
    assert!(one("Vander", json!({})).contains("rank 1"));
    assert_eq!(call("Frob", &Value::Null, &[]).unwrap_err(), "the class is unknown");
    assert!(call("Add", &Value::Null, std::slice::from_ref(&x)).unwrap_err().contains("`x2`"));
    assert!(call("Relu", &Value::Null, &[x.clone(), json!(1)]).is_err());
}

#[test]
fn functions_of_tensorflow_are_known_by_name() {
    let x = tensor("float32", &[-1, 4]);
    let of = |config: Value, inputs: &[Value]| {
        call_in(Dialect::Keras2, "TFOpLambda", &config, inputs).map(|it| format!("{}{}", it[0].dtype, it[0].shape))
    };
    assert_eq!(of(json!({"function": "math.truediv"}), &[x.clone(), json!(2)]), Ok("float32[?,4]".into()));
    assert_eq!(of(json!({"function": "compat.v1.shape"}), std::slice::from_ref(&x)), Ok("int32[2]".into()));
    assert_eq!(of(json!({"function": "reshape"}), &[x.clone(), json!([-1, 2, 2])]), Ok("float32[?,2,2]".into()));
    let same = of(json!({"function": "__operators__.eq"}), std::slice::from_ref(&x)).unwrap_err();
    assert!(same.to_string().contains("does not write the second operand"), "{same}");
    let ensured = [x.clone(), json!([5, null])];
    assert_eq!(of(json!({"function": "ensure_shape"}), &ensured), Ok("float32[5,4]".into()));
    let huge = [x.clone(), json!([i64::MAX, i64::MAX, i64::MAX, -1]), json!(1)];
    assert!(of(json!({"function": "split"}), &huge).is_err());
    let error = of(json!({"function": "math.frob"}), std::slice::from_ref(&x)).unwrap_err().to_string();
    assert_eq!(error, "the function `math.frob` of TensorFlow is not supported");
}

#[test]
fn nodes_of_graphs_have_constants_between_inputs() {
    let node = json!({"op": "Mean", "attr": {"T": {"type": "DT_FLOAT"}, "keep_dims": {"b": true}}});
    let config = json!({"node_def": &node, "constants": {"1": [1]}});
    let x = tensor("float32", &[-1, 4, 6]);
    let found = call_in(Dialect::Keras2, "TensorFlowOpLayer", &config, std::slice::from_ref(&x)).unwrap();
    assert_eq!(found[0].shape.to_string(), "[?,1,6]");
    let array = json!({"class_name": "__numpy__", "config": {"value": [1], "dtype": "int32"}});
    let config = json!({"node_def": node, "constants": {"1": array}});
    assert!(call_in(Dialect::Keras2, "TensorFlowOpLayer", &config, std::slice::from_ref(&x)).is_ok());
    let bad = json!({"node_def": {"op": "Frob"}, "constants": {}});
    assert!(call_in(Dialect::Keras2, "TensorFlowOpLayer", &bad, &[x]).is_err());
}
