//! `TensorFlowOpLayer`: a node of a graph, as files of TensorFlow 2.0 to 2.3 have it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tf_persist_savedmodel::DType;

use super::super::call::ints;
use super::arguments::typed;
use super::arrays::{reshaped, squeezed};
use crate::config::{Config, int, shown};
use crate::graph::{Graph, Shape, Slice, TensorRef};
use crate::layers::{Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// Ops of one tensor that keep its dtype and shape.
const UNARY: &[&str] = &[
    "Abs",
    "Acos",
    "Asin",
    "Atan",
    "Ceil",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Expm1",
    "Floor",
    "Identity",
    "Log",
    "Log1p",
    "LogSoftmax",
    "Neg",
    "OnesLike",
    "Reciprocal",
    "Relu",
    "Relu6",
    "Rint",
    "Round",
    "Rsqrt",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Square",
    "StopGradient",
    "Tan",
    "Tanh",
    "ZerosLike",
];

/// Ops of two tensors that broadcast and keep the dtype.
const BINARY: &[&str] = &[
    "Add",
    "AddV2",
    "Atan2",
    "DivNoNan",
    "FloorDiv",
    "FloorMod",
    "Maximum",
    "Minimum",
    "Mul",
    "MulNoNan",
    "Pow",
    "RealDiv",
    "SquaredDifference",
    "Sub",
    "Xlogy",
];

/// Reductions over constant axes.
const REDUCTIONS: &[&str] = &["All", "Any", "Max", "Mean", "Min", "Prod", "Sum"];

/// A node of a graph.
#[derive(Debug)]
pub(super) struct OpLayer {
    op: String,
    attributes: Map<String, Value>,
    /// Inputs that are not those of the call, by their index.
    constants: BTreeMap<usize, Value>,
}

impl OpLayer {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        let node: Value = match config.required("node_def")? {
            Value::String(text) => match serde_json::from_str(text) {
                Ok(node) => node,
                Err(_) => refuse!("its `node_def` is not JSON"),
            },
            node => node.clone(),
        };
        let Some(op) = node.get("op").and_then(Value::as_str) else { refuse!("its `node_def` has no `op`") };
        let attributes = node.get("attr").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut constants = BTreeMap::new();
        if let Some(given) = config.get("constants") {
            let Value::Object(given) = given else {
                refuse!("`constants` is {}, and should be an object", shown(given))
            };
            for (index, value) in given {
                // `.keras` files have arrays as `{"class_name": "__numpy__", "config": {"value": …, "dtype": …}}`.
                let array = value.get("config").and_then(|config| config.get("value"));
                match index.parse() {
                    Ok(index) => constants.insert(index, array.unwrap_or(value).clone()),
                    Err(_) => refuse!("`constants` has the key `{}`", index.escape_debug()),
                };
            }
        }
        Ok(Self { op: op.to_owned(), attributes, constants })
    }

    fn attribute(&self, name: &str, kind: &str) -> Option<&Value> {
        self.attributes.get(name)?.get(kind)
    }

    /// An integer, which JSON of protocol buffers has as a text.
    fn int_attribute(&self, name: &str, default: i64) -> Result<i64> {
        match self.attribute(name, "i") {
            None => Ok(default),
            Some(Value::String(text)) => match text.parse() {
                Ok(value) => Ok(value),
                Err(_) => refuse!("the attribute `{name}` is `{}`", text.escape_debug()),
            },
            Some(value) => int(name, value),
        }
    }

    fn bool_attribute(&self, name: &str) -> bool {
        self.attribute(name, "b").and_then(Value::as_bool).unwrap_or(false)
    }

    /// A dtype, such as `DT_FLOAT`.
    fn type_attribute(&self, name: &str) -> Option<DType> {
        let name = self.attribute(name, "type")?.as_str()?.strip_prefix("DT_")?.to_ascii_lowercase();
        let name = match name.as_str() {
            "float" => "float32",
            "double" => "float64",
            "half" => "float16",
            name => name,
        };
        crate::config::policy::dtype(name).ok()
    }

    fn list_attribute(&self, name: &str) -> Vec<i64> {
        let list = self.attribute(name, "list").and_then(|list| list.get("i")).and_then(Value::as_array);
        let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        list.map(|items| items.iter().filter_map(number).collect()).unwrap_or_default()
    }

    /// A constant input: integers such as axes.
    fn ints(&self, index: usize) -> Result<Vec<i64>> {
        match self.constants.get(&index) {
            Some(value) => ints("constants", value),
            None => refuse!("input {index} of {} is not constant, which is not supported", self.op),
        }
    }

    fn int(&self, index: usize) -> Result<i64> {
        match self.ints(index)?[..] {
            [one] => Ok(one),
            _ => refuse!("input {index} of {} is not one number", self.op),
        }
    }

    /// All inputs in order: those of the call, and constants in between.
    fn inputs(&self, g: &Graph, given: Vec<Argument>) -> Result<Vec<TensorRef>> {
        let mut all: Vec<Argument> = given;
        for (index, value) in &self.constants {
            if *index > all.len() {
                refuse!("{} has the constant {index}, and fewer inputs", self.op);
            }
            all.insert(*index, Argument::Plain(value.clone()));
        }
        let dtype = self.type_attribute("T");
        all.iter()
            .map(|argument| match argument {
                Argument::Tensor(tensor) => Ok(tensor.tensor.clone()),
                // Axes and shapes are integers, whatever the elements are.
                argument if self.takes_elements() => typed(g, argument, dtype),
                argument => typed(g, argument, None),
            })
            .collect()
    }

    /// Whether all inputs have the dtype of the elements.
    fn takes_elements(&self) -> bool {
        let op = self.op.as_str();
        BINARY.contains(&op)
            || ["Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual", "MatMul", "BatchMatMulV2"]
                .contains(&op)
            || ["BatchMatMul", "BiasAdd", "Pack", "ClipByValue", "AddN"].contains(&op)
    }
}

impl Layer for OpLayer {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let given = match arguments.take_first() {
            Some(Argument::List(items)) => items,
            Some(one) => vec![one],
            None => Vec::new(),
        };
        let inputs = self.inputs(cx.g, given)?;
        let mut outputs = self.emit(cx.g, &inputs)?;
        match outputs.len() {
            1 => Ok(outputs.remove(0).into()),
            _ => Ok(Argument::List(outputs.into_iter().map(Argument::from).collect())),
        }
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}

impl OpLayer {
    fn emit(&self, g: &Graph, inputs: &[TensorRef]) -> Result<Vec<TensorRef>> {
        let known = |names: &[&'static str]| names.iter().find(|name| **name == self.op).copied();
        let one = |tensor: Result<TensorRef>| tensor.map(|tensor| vec![tensor]);
        if let Some(op) = known(UNARY) {
            return one(g.unary(op, self.input(inputs, 0)?));
        }
        if let Some(op) = known(BINARY) {
            return one(g.binary(op, self.input(inputs, 0)?, self.input(inputs, 1)?));
        }
        if let Some(op) = known(REDUCTIONS) {
            return one(g.reduce(op, self.input(inputs, 0)?, &self.ints(1)?, self.bool_attribute("keep_dims")));
        }
        match self.op.as_str() {
            "Unpack" => g.unpack(self.input(inputs, 0)?, self.int_attribute("axis", 0)?),
            "Split" => {
                let parts = usize::try_from(self.int_attribute("num_split", 1)?).unwrap_or(0);
                g.split(self.input(inputs, 1)?, parts, self.int(0)?)
            }
            _ => one(self.emit_one(g, inputs)),
        }
    }

    fn input<'a>(&self, inputs: &'a [TensorRef], index: usize) -> Result<&'a TensorRef> {
        match inputs.get(index) {
            Some(input) => Ok(input),
            None => refuse!("{} has {} inputs, and needs more", self.op, inputs.len()),
        }
    }

    fn emit_one(&self, g: &Graph, inputs: &[TensorRef]) -> Result<TensorRef> {
        let input = |index: usize| self.input(inputs, index);
        let all: Vec<&TensorRef> = inputs.iter().collect();
        match self.op.as_str() {
            "Greater" => g.greater(input(0)?, input(1)?),
            "GreaterEqual" => g.greater_equal(input(0)?, input(1)?),
            "Less" => g.less(input(0)?, input(1)?),
            "LessEqual" => g.less_equal(input(0)?, input(1)?),
            "Equal" => g.equal(input(0)?, input(1)?),
            "NotEqual" => g.not_equal(input(0)?, input(1)?),
            "LogicalAnd" => g.logical_and(input(0)?, input(1)?),
            "LogicalOr" => g.logical_or(input(0)?, input(1)?),
            "LogicalNot" => g.logical_not(input(0)?),
            "Cast" => match self.type_attribute("DstT") {
                Some(dtype) => g.cast(input(0)?, dtype),
                None => refuse!("Cast has no `DstT`"),
            },
            "LeakyRelu" => {
                let alpha = self.attribute("alpha", "f").and_then(Value::as_f64).unwrap_or(0.2);
                g.leaky_relu(input(0)?, alpha as f32)
            }
            "SelectV2" => g.select(input(0)?, input(1)?, input(2)?),
            "ClipByValue" => g.maximum(&g.minimum(input(0)?, input(2)?)?, input(1)?),
            "AddN" => g.add_n(&all),
            "MatMul" => {
                let (ta, tb) = (self.bool_attribute("transpose_a"), self.bool_attribute("transpose_b"));
                g.mat_mul_with(input(0)?, input(1)?, ta, tb)
            }
            "BatchMatMul" | "BatchMatMulV2" => {
                g.batch_mat_mul(input(0)?, input(1)?, self.bool_attribute("adj_x"), self.bool_attribute("adj_y"))
            }
            "BiasAdd" => match self.attribute("data_format", "s").and_then(Value::as_str) {
                // `NCHW` in base64, as JSON of protocol buffers has texts.
                Some("TkNIVw==") => g.bias_add_second(input(0)?, input(1)?),
                _ => g.bias_add(input(0)?, input(1)?),
            },
            "Pack" => g.pack(&all, self.int_attribute("axis", 0)?),
            "Shape" => g.cast(&g.shape_of(input(0)?)?, self.type_attribute("out_type").unwrap_or(DType::Int32)),
            _ => self.emit_moved(g, inputs),
        }
    }

    /// Ops that move elements, by constant axes and sizes.
    fn emit_moved(&self, g: &Graph, inputs: &[TensorRef]) -> Result<TensorRef> {
        let input = |index: usize| self.input(inputs, index);
        match self.op.as_str() {
            "ConcatV2" => {
                let Some((_, tensors)) = inputs.split_last() else { refuse!("ConcatV2 has no inputs") };
                g.concat(&tensors.iter().collect::<Vec<_>>(), self.int(tensors.len())?)
            }
            "Reshape" => match self.ints(1) {
                Ok(sizes) => g.reshape(input(0)?, &super::super::shapes::open_dims(&sizes)?),
                Err(_) => {
                    let sizes = input(1)?;
                    let [Some(rank)] = *sizes.dims() else { refuse!("the rank of the result of Reshape is unknown") };
                    let rank = usize::try_from(rank).unwrap_or(usize::MAX).min(tf_persist_savedmodel::MAX_RANK);
                    reshaped(g, input(0)?, sizes, &Shape::new(vec![None; rank]))
                }
            },
            "Transpose" => {
                let x = input(0)?;
                g.transpose(x, &super::super::shapes::indices(&self.ints(1)?, x.rank())?)
            }
            "ExpandDims" => g.expand_dims(input(0)?, self.int(1)?),
            "Squeeze" => squeezed(g, input(0)?, Some(self.list_attribute("squeeze_dims"))),
            "Tile" => super::super::shapes::tile(g, input(0)?, &self.ints(1)?),
            "ReverseV2" => g.reverse(input(0)?, &self.ints(1)?),
            "GatherV2" => match self.int_attribute("batch_dims", 0)? {
                0 => g.gather(input(0)?, input(1)?, self.int(2)?),
                count => refuse!("`batch_dims` of GatherV2 is {count}, which is not supported"),
            },
            "ArgMax" | "ArgMin" => {
                let dtype = self.type_attribute("output_type").unwrap_or(DType::Int64);
                let op = if self.op == "ArgMax" { "ArgMax" } else { "ArgMin" };
                g.arg_reduce(op, input(0)?, self.int(1)?, dtype)
            }
            "Pad" => {
                let pairs = match self.constants.get(&1) {
                    Some(Value::Array(pairs)) => pairs,
                    _ => refuse!("the paddings of Pad are not constant"),
                };
                let pair = |value: &Value| match ints("paddings", value)?[..] {
                    [before, after] => match (u64::try_from(before), u64::try_from(after)) {
                        (Ok(before), Ok(after)) => Ok((before, after)),
                        _ => refuse!("a padding is negative"),
                    },
                    _ => refuse!("a padding is not a pair"),
                };
                g.pad(input(0)?, &pairs.iter().map(pair).collect::<Result<Vec<_>>>()?, None)
            }
            "StridedSlice" => self.strided_slice(g, input(0)?),
            op => refuse!("the op `{}` of TensorFlow is not supported", tf_persist_savedmodel::printable(op)),
        }
    }

    fn strided_slice(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let (begins, ends, strides) = (self.ints(1)?, self.ints(2)?, self.ints(3)?);
        if begins.len() != ends.len() || begins.len() != strides.len() || begins.len() > 32 {
            refuse!("the bounds of StridedSlice have different lengths");
        }
        let mask = |name: &str| self.int_attribute(name, 0);
        let (begin_mask, end_mask) = (mask("begin_mask")?, mask("end_mask")?);
        let (ellipsis, new_axis, shrink) = (mask("ellipsis_mask")?, mask("new_axis_mask")?, mask("shrink_axis_mask")?);
        let has = |mask: i64, index: usize| mask >> index & 1 == 1;
        let count = begins.len();
        let taken = (0..count).filter(|index| !has(ellipsis, *index) && !has(new_axis, *index)).count();
        let mut slices = Vec::new();
        for index in 0..count {
            if has(ellipsis, index) {
                let rest = x.rank().saturating_sub(taken);
                slices.extend(std::iter::repeat_n(Slice::ALL, rest));
            } else if has(new_axis, index) {
                slices.push(Slice::NewAxis);
            } else if has(shrink, index) {
                slices.push(Slice::Index(begins[index]));
            } else {
                slices.push(Slice::Range {
                    begin: Some(begins[index]).filter(|_| !has(begin_mask, index)),
                    end: Some(ends[index]).filter(|_| !has(end_mask, index)),
                    stride: strides[index],
                });
            }
        }
        g.strided_slice(x, &slices)
    }
}
