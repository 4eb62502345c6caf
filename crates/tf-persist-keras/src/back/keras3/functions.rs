//! The calls of TensorFlow's functions in models of Keras 2 (`TFOpLambda`, `SlicingOpLambda`) as nodes of `keras.ops`.

use serde_json::{Map, Value, json};

use super::nodes;
use crate::back::modules::module_of;
use crate::layers::{Argument, Arguments};
use crate::parse::{Origin, inbound};
use crate::reason::{Result, refuse, shown_name};

/// A function, the class of its operation, its arguments in their order, and those that the config has: by the name in
/// TensorFlow, that in Keras, and the value if they are missing.
struct Row(
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str, &'static str)],
);

const TWO: &[&str] = &["x", "y"];
const REDUCED: &[(&str, &str, &str)] = &[("axis", "axis", "null"), ("keepdims", "keepdims", "false")];
const AXIS: &[(&str, &str, &str)] = &[("axis", "axis", "-1")];

const TABLE: &[Row] = &[
    Row(&["math.add", "__operators__.add"], "Add", TWO, &[]),
    Row(&["math.subtract"], "Subtract", TWO, &[]),
    Row(&["math.multiply"], "Multiply", TWO, &[]),
    Row(&["math.divide", "math.truediv"], "TrueDivide", TWO, &[]),
    Row(&["math.floordiv", "floor_div"], "FloorDivide", TWO, &[]),
    Row(&["math.floormod", "math.mod"], "Mod", TWO, &[]),
    Row(&["math.pow"], "Power", TWO, &[]),
    Row(&["math.maximum"], "Maximum", TWO, &[]),
    Row(&["math.minimum"], "Minimum", TWO, &[]),
    Row(&["math.greater"], "Greater", TWO, &[]),
    Row(&["math.greater_equal"], "GreaterEqual", TWO, &[]),
    Row(&["math.less"], "Less", TWO, &[]),
    Row(&["math.less_equal"], "LessEqual", TWO, &[]),
    Row(&["math.equal"], "Equal", TWO, &[]),
    Row(&["__operators__.eq"], "Equal", &["self", "other"], &[]),
    Row(&["math.not_equal"], "NotEqual", TWO, &[]),
    Row(&["__operators__.ne"], "NotEqual", &["self", "other"], &[]),
    Row(&["math.logical_and"], "LogicalAnd", TWO, &[]),
    Row(&["math.logical_or"], "LogicalOr", TWO, &[]),
    Row(&["math.logical_not"], "LogicalNot", &["x"], &[]),
    Row(&["math.negative"], "Negative", &["x"], &[]),
    Row(&["math.abs"], "Absolute", &["x"], &[]),
    Row(&["math.square"], "Square", &["x"], &[]),
    Row(&["math.sqrt"], "Sqrt", &["x"], &[]),
    Row(&["math.rsqrt"], "Rsqrt", &["x"], &[]),
    Row(&["math.exp"], "Exp", &["x"], &[]),
    Row(&["math.expm1"], "Expm1", &["x"], &[]),
    Row(&["math.log"], "Log", &["x"], &[]),
    Row(&["math.log1p"], "Log1p", &["x"], &[]),
    Row(&["math.sin"], "Sin", &["x"], &[]),
    Row(&["math.cos"], "Cos", &["x"], &[]),
    Row(&["math.tanh", "nn.tanh"], "Tanh", &["x"], &[]),
    Row(&["math.sign"], "Sign", &["x"], &[]),
    Row(&["math.floor"], "Floor", &["x"], &[]),
    Row(&["math.ceil"], "Ceil", &["x"], &[]),
    Row(&["math.erf"], "Erf", &["x"], &[]),
    Row(&["math.sigmoid", "nn.sigmoid"], "Sigmoid", &["x"], &[]),
    Row(&["math.softplus", "nn.softplus"], "Softplus", &["features"], &[]),
    Row(&["nn.relu"], "Relu", &["features"], &[]),
    Row(&["nn.relu6"], "Relu6", &["features"], &[]),
    Row(&["nn.selu"], "Selu", &["features"], &[]),
    Row(&["nn.silu", "nn.swish"], "Silu", &["features"], &[]),
    Row(&["nn.gelu"], "Gelu", &["features"], &[("approximate", "approximate", "false")]),
    Row(&["nn.leaky_relu"], "LeakyRelu", &["features"], &[("alpha", "negative_slope", "0.2")]),
    Row(&["nn.softmax"], "Softmax", &["logits"], AXIS),
    Row(&["nn.log_softmax"], "LogSoftmax", &["logits"], AXIS),
    Row(&["math.reduce_mean"], "Mean", &["input_tensor"], REDUCED),
    Row(&["math.reduce_sum"], "Sum", &["input_tensor"], REDUCED),
    Row(&["math.reduce_max"], "Max", &["input_tensor"], REDUCED),
    Row(&["math.reduce_min"], "Min", &["input_tensor"], REDUCED),
    Row(&["math.reduce_prod"], "Prod", &["input_tensor"], REDUCED),
    Row(&["math.reduce_any"], "Any", &["input_tensor"], REDUCED),
    Row(&["math.reduce_all"], "All", &["input_tensor"], REDUCED),
    Row(&["reshape"], "Reshape", &["tensor"], &[("shape", "newshape", "")]),
    Row(&["transpose"], "Transpose", &["a"], &[("perm", "axes", "null")]),
    Row(&["expand_dims"], "ExpandDims", &["input"], &[("axis", "axis", "")]),
    Row(&["squeeze"], "Squeeze", &["input"], &[("axis", "axis", "null")]),
    Row(&["tile"], "Tile", &["input"], &[("multiples", "repeats", "")]),
    Row(&["concat"], "Concatenate", &["values"], &[("axis", "axis", "")]),
    Row(&["stack"], "Stack", &["values"], &[("axis", "axis", "0")]),
    Row(&["cast"], "Cast", &["x"], &[("dtype", "dtype", "")]),
    Row(&["where", "where_v2"], "Where", &["condition", "x", "y"], &[]),
    Row(&["linalg.matmul"], "Matmul", &["a", "b"], &[]),
    Row(&["clip_by_value"], "Clip", &["t"], &[("clip_value_min", "x_min", ""), ("clip_value_max", "x_max", "")]),
    Row(&["__operators__.getitem"], "GetItem", &["tensor", "slice_spec"], &[]),
];

/// Whether layers of this class are calls of a function.
pub(super) fn is_function(class: &str) -> bool {
    matches!(class, "TFOpLambda" | "SlicingOpLambda")
}

/// The function of a layer, and how it is called.
fn call_of(entry: &Value) -> Result<(&'static Row, Arguments<Origin>)> {
    let symbol = entry.get("config").and_then(|config| config.get("function")?.as_str()).unwrap_or_default();
    let name = symbol.strip_prefix("compat.v1.").unwrap_or(symbol);
    let Some(row) = TABLE.iter().find(|row| row.0.contains(&name)) else {
        refuse!("the function `{}` of TensorFlow has no counterpart that is known", shown_name(symbol))
    };
    let mut calls = inbound(entry.get("inbound_nodes"))?;
    match (calls.pop(), calls.is_empty()) {
        (Some(call), true) => Ok((row, call)),
        _ => refuse!("it is called {} times, and should be once", calls.len() + 1),
    }
}

/// The module, the class and the config of the operation.
pub(super) fn operation(entry: &Value, name: String) -> Result<(&'static str, String, Map<String, Value>)> {
    let (row, call) = call_of(entry)?;
    let mut config = Map::from_iter([("name".to_owned(), Value::from(name))]);
    for (index, (old, new, default)) in row.3.iter().enumerate() {
        let positional = call.positional.get(row.2.len() + index).and_then(Option::as_ref);
        let keyword = call.keyword.iter().find(|(key, _)| key == old).map(|(_, value)| value);
        let value = match keyword.or(positional) {
            Some(value) => plain(value, old)?,
            None => match serde_json::from_str(default) {
                Ok(value) => value,
                Err(_) => refuse!("it is called without `{old}`"),
            },
        };
        config.insert((*new).to_owned(), value);
    }
    // One axis, which need not be in a list.
    if row.1 == "Squeeze" && config["axis"].as_array().is_some_and(|axes| axes.is_empty()) {
        config.insert("axis".into(), Value::Null);
    }
    for (key, value) in &call.keyword {
        let is_known = row.2.contains(&key.as_str()) || row.3.iter().any(|(old, ..)| old == key) || key == "name";
        // Such as `transpose_b` or `conjugate`.
        if !is_known && !matches!(value, Argument::Plain(Value::Null | Value::Bool(false))) {
            refuse!("it is called with `{}`, which is not known", shown_name(key));
        }
    }
    Ok((module_of(row.1), row.1.to_owned(), config))
}

/// The call of the operation.
pub(super) fn call(entry: &Value, rename: &dyn Fn(&Origin) -> Result<Value>) -> Result<Value> {
    let (row, call) = call_of(entry)?;
    let mut args = Vec::new();
    for (index, name) in row.2.iter().enumerate() {
        let positional = call.positional.get(index).and_then(Option::as_ref);
        let keyword = call.keyword.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let Some(value) = positional.or(keyword) else { refuse!("it is called without `{name}`") };
        let value = nodes::argument(value, rename)?;
        args.push(if *name == "slice_spec" { key(&value) } else { value });
    }
    // A list of one tensor is written as that tensor.
    if matches!(row.1, "Concatenate" | "Stack") && !args[0].is_array() {
        args[0] = json!([args[0]]);
    }
    Ok(json!({"args": args, "kwargs": {}}))
}

/// The value of an argument without tensors.
fn plain(value: &Argument<Origin>, name: &str) -> Result<Value> {
    match value {
        Argument::Plain(value) => Ok(value.clone()),
        Argument::List(items) => {
            items.iter().map(|item| plain(item, name)).collect::<Result<Vec<_>>>().map(Value::from)
        }
        _ => refuse!("`{name}` is a tensor, and an operation of Keras 3 takes numbers"),
    }
}

/// A key of `x[key]`.
fn key(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(key).collect::<Vec<_>>().into(),
        Value::Object(object) if object.contains_key("class_name") => match object.get("class_name") {
            Some(class) if class == "__ellipsis__" => json!({"class_name": "__ellipsis__", "config": {}}),
            _ => value.clone(),
        },
        Value::Object(object) => {
            let bound = |name: &str| object.get(name).cloned().unwrap_or_default();
            let config = json!({"start": bound("start"), "stop": bound("stop"), "step": bound("step")});
            json!({"class_name": "__slice__", "config": config})
        }
        other => other.clone(),
    }
}
