//! The rules of ops. An op that is not in the table ends the proof.

mod elementwise;
mod layout;
mod linear;
mod lists;
mod reduce;
mod sizes;
mod slice;

use super::attributes;
use super::evaluate::Outputs;
use super::size::Size;
use super::value::Value;
use crate::graph::view::NodeView;
use crate::ops::elementwise::{BINARY, UNARY};

/// Why a node has no value.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// Its op has no rule.
    Unknown,
    /// Rows may be mixed in it.
    Mixed(String),
}

/// A node and its inputs.
pub(super) struct Call<'c, 'a> {
    pub(super) node: &'c NodeView<'a>,
    pub(super) inputs: &'c [Value],
    pub(super) symbols: &'c mut u32,
}

/// A tensor with known sizes: with rows along an axis, or independent of the batch.
#[derive(Debug, Clone, PartialEq)]
struct Shaped {
    axis: Option<usize>,
    dims: Vec<Size>,
}

type Found = Result<Outputs, String>;
type Rule = fn(&mut Call<'_, '_>) -> Found;

/// Applies the rule of a node's op.
pub(super) fn apply(call: &mut Call<'_, '_>) -> Result<Outputs, Refusal> {
    let rule = rule(call.node.op).ok_or(Refusal::Unknown)?;
    if let Some(mixed) = call.inputs.iter().find(|input| matches!(input, Value::Mixed(_))) {
        return Ok(Outputs::All(mixed.clone()));
    }
    let are_fixed = call.inputs.iter().all(Value::is_fixed);
    match rule(call) {
        Ok(outputs) => check(outputs).map_err(Refusal::Mixed),
        // A node whose inputs do not depend on the batch does not either, whatever its sizes.
        Err(_) if are_fixed => Ok(Outputs::All(Value::Fixed(None))),
        Err(reason) => Err(Refusal::Mixed(reason)),
    }
}

/// Whether there is a rule for an op.
pub(super) fn is_known(op: &str) -> bool {
    rule(op).is_some()
}

/// Checks that only the dimension of the rows depends on the batch, in case a rule is wrong.
fn check(outputs: Outputs) -> Found {
    let holds = |value: &Value| match value {
        Value::Rows { axis, dims } => {
            dims.iter().enumerate().all(|(index, size)| size.is_batch() == (index == *axis)) && *axis < dims.len()
        }
        Value::Fixed(Some(dims)) => dims.iter().all(|size| !size.is_batch()),
        _ => true,
    };
    let all = match &outputs {
        Outputs::Each(values) => values.iter().all(holds),
        Outputs::All(value) => holds(value),
    };
    if all { Ok(outputs) } else { Err("its sizes depend on the number of rows in more than one place".to_owned()) }
}

/// The table.
fn rule(op: &str) -> Option<Rule> {
    let rule: Rule = match op {
        "Const" => constant,
        "VarHandleOp" => variable,
        "HashTableV2" | "MutableHashTableV2" => |_| Ok(Outputs::Each(vec![Value::Table])),
        "ReadVariableOp" => read,
        "VariableV2" | "Variable" => reference,
        "NoOp" => |_| Ok(Outputs::Each(Vec::new())),
        "Identity"
        | "StopGradient"
        | "PreventGradient"
        | "Snapshot"
        | "CheckNumerics"
        | "IdentityN"
        | "PlaceholderWithDefault" => |call| Ok(Outputs::Each(call.inputs.to_vec())),
        "EnsureShape" => ensure_shape,
        "LookupTableFindV2" => lookup,
        _ if UNARY.binary_search(&op).is_ok() => elementwise::unary,
        _ if BINARY.binary_search(&op).is_ok() => elementwise::binary,
        "Cast" => elementwise::cast,
        "AddN" | "SelectV2" | "ClipByValue" => elementwise::all,
        "Select" => elementwise::same,
        "StringJoin" => elementwise::string_join,
        "Mul" => elementwise::multiply,
        "AddV2" | "Add" | "Sub" | "FloorDiv" | "Maximum" | "Minimum" => elementwise::arithmetic,
        "MatMul" => linear::mat_mul,
        "BatchMatMul" | "BatchMatMulV2" | "BatchMatMulV3" => linear::batch_mat_mul,
        "Einsum" => linear::einsum,
        "BiasAdd" => linear::bias_add,
        "Conv2D" | "DepthwiseConv2dNative" => linear::convolution,
        "MaxPool" | "AvgPool" => linear::pool,
        "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3" => linear::batch_norm,
        "Softmax" | "LogSoftmax" => linear::softmax,
        "Mean" | "Sum" | "Max" | "Min" | "Any" | "All" => reduce::reduce,
        "Prod" => reduce::product,
        "ArgMax" | "ArgMin" => reduce::arg,
        "Cumsum" | "Cumprod" => reduce::along,
        "ReverseV2" => reduce::reverse,
        "TopKV2" => reduce::top,
        "Shape" => sizes::shape,
        "Size" => sizes::size,
        "Rank" => sizes::rank,
        "Range" => sizes::range,
        "Fill" => sizes::fill,
        "BroadcastTo" => sizes::broadcast_to,
        "Tile" => sizes::tile,
        "Reshape" => layout::reshape,
        "Transpose" => layout::transpose,
        "ExpandDims" => layout::expand_dims,
        "Squeeze" => layout::squeeze,
        "ConcatV2" => layout::concat,
        "Pack" => layout::pack,
        "Unpack" => layout::unpack,
        "Split" => layout::split,
        "SplitV" => layout::split_v,
        "Pad" | "PadV2" | "MirrorPad" => layout::pad,
        "OneHot" => layout::one_hot,
        "GatherV2" => layout::gather,
        "ResourceGather" => layout::resource_gather,
        "StridedSlice" => slice::strided_slice,
        "Slice" => slice::slice,
        "TensorListReserve" => lists::reserve,
        "TensorListFromTensor" => lists::from_tensor,
        "TensorListGetItem" => lists::get,
        "TensorListSetItem" => lists::set,
        "TensorListStack" => lists::stack,
        _ => return None,
    };
    Some(rule)
}

impl Call<'_, '_> {
    fn input(&self, index: usize) -> Result<&Value, String> {
        self.inputs.get(index).ok_or_else(|| "it has too few inputs".to_owned())
    }

    /// An input with its sizes.
    fn tensor(&self, index: usize) -> Result<Shaped, String> {
        match self.input(index)? {
            Value::Rows { axis, dims } => Ok(Shaped { axis: Some(*axis), dims: dims.clone() }),
            value if value.is_fixed() => {
                let dims = value.fixed_dims().ok_or("the sizes of what goes into it are not known")?;
                Ok(Shaped { axis: None, dims })
            }
            Value::Ints { .. } => Err("the number of rows becomes a number".to_owned()),
            _ => Err("it takes a list of tensors".to_owned()),
        }
    }

    fn tensors(&self) -> Result<Vec<Shaped>, String> {
        (0..self.inputs.len()).map(|index| self.tensor(index)).collect()
    }

    /// The constant integers of an input.
    fn numbers(&self, index: usize) -> Result<Vec<i64>, String> {
        self.input(index)?.numbers().ok_or_else(|| "an axis or a size that it is given is not known".to_owned())
    }

    fn number(&self, index: usize) -> Result<i64, String> {
        self.input(index)?.number().ok_or_else(|| "an axis or a size that it is given is not known".to_owned())
    }

    fn is_fixed(&self, index: usize) -> bool {
        self.inputs.get(index).is_some_and(Value::is_fixed)
    }

    fn need_fixed(&self, index: usize) -> Result<(), String> {
        if self.is_fixed(index) { Ok(()) } else { Err("a weight depends on the inputs".to_owned()) }
    }

    /// A new unknown size.
    fn symbol(&mut self) -> Size {
        *self.symbols += 1;
        Size::symbol(*self.symbols)
    }
}

impl Shaped {
    fn value(self) -> Value {
        match self.axis {
            Some(axis) => Value::rows(axis, self.dims),
            None => Value::Fixed(Some(self.dims)),
        }
    }

    fn out(self) -> Found {
        Ok(Outputs::Each(vec![self.value()]))
    }

    /// The dimension of an axis, which may be counted from the end.
    fn axis(&self, axis: i64) -> Result<usize, String> {
        resolve_index(axis, self.dims.len())
    }

    fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Checks that an axis is not that of the rows.
    fn need_apart(&self, axis: usize) -> Result<(), String> {
        if self.axis == Some(axis) { Err("it works along the rows".to_owned()) } else { Ok(()) }
    }
}

/// An index that may be counted from the end, as in Python.
fn resolve_index(axis: i64, rank: usize) -> Result<usize, String> {
    let count = i64::try_from(rank).unwrap_or(i64::MAX);
    let axis = if axis < 0 { axis.saturating_add(count) } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank).ok_or_else(|| "an axis does not exist".to_owned())
}

fn known(sizes: Vec<Option<i64>>) -> Option<Vec<Size>> {
    sizes.into_iter().map(|size| size.map(Size::known)).collect()
}

fn constant(call: &mut Call<'_, '_>) -> Found {
    Ok(Outputs::Each(vec![attributes::constant(call.node).unwrap_or(Value::Fixed(None))]))
}

fn variable(call: &mut Call<'_, '_>) -> Found {
    Ok(Outputs::Each(vec![Value::Variable(attributes::shape_of(call.node, "shape").and_then(known))]))
}

/// A variable of TensorFlow 1, which is its value. An empty shape of the older op means an unknown shape
/// (`state_ops.cc`).
fn reference(call: &mut Call<'_, '_>) -> Found {
    let sizes = attributes::shape_of(call.node, "shape");
    let sizes = sizes.filter(|sizes| call.node.op != "Variable" || !sizes.is_empty());
    Ok(Outputs::Each(vec![Value::Fixed(sizes.and_then(known))]))
}

fn read(call: &mut Call<'_, '_>) -> Found {
    match call.input(0)? {
        Value::Variable(dims) => Ok(Outputs::Each(vec![Value::Fixed(dims.clone())])),
        _ => Err("it reads something that is not a variable of the graph".to_owned()),
    }
}

fn ensure_shape(call: &mut Call<'_, '_>) -> Found {
    let tensor = call.tensor(0)?;
    if let (Some(axis), Some(sizes)) = (tensor.axis, attributes::shape_of(call.node, "shape"))
        && sizes.get(axis).is_none_or(Option::is_some)
    {
        return Err("it requires a certain number of rows".to_owned());
    }
    tensor.out()
}

/// One value for each key.
fn lookup(call: &mut Call<'_, '_>) -> Found {
    match call.input(0)? {
        Value::Table if call.is_fixed(2) => call.tensor(1)?.out(),
        _ => Err("it looks up in something that is not a table of the graph".to_owned()),
    }
}
