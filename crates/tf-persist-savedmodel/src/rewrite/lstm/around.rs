//! What is known of the graph around a loop.

use std::collections::{BTreeMap, HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use crate::graph::{attr, tensor_of};
use crate::rewrite::effects::may_act_or_calls;
use crate::rewrite::scalars::Scalars;
use crate::rewrite::shapes::{Shapes, integers};

pub(super) struct Around<'g> {
    pub(super) nodes: &'g [pb::NodeDef],
    pub(super) functions: HashMap<&'g str, &'g pb::FunctionDef>,
    pub(super) names: HashSet<&'g str>,
    /// The nodes that take a tensor, by their indices.
    consumers: HashMap<&'g str, Vec<usize>>,
    pub(super) asked: &'g HashSet<String>,
    pub(super) shapes: Shapes<'g>,
    pub(super) scalars: Scalars<'g>,
}

impl<'g> Around<'g> {
    pub(super) fn new(graph: &'g pb::GraphDef, asked: &'g HashSet<String>) -> Self {
        let functions = graph.library.function.iter();
        let mut consumers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            for input in &node.input {
                consumers.entry(tensor_of(input)).or_default().push(index);
            }
        }
        Self {
            nodes: &graph.node,
            functions: functions.map(|function| (function.signature.name.as_str(), function)).collect(),
            names: graph.node.iter().map(|node| node.name.as_str()).collect(),
            consumers,
            asked,
            shapes: Shapes::new(&graph.node, asked),
            scalars: Scalars::new(&graph.node, BTreeMap::new(), asked).without_waiting(),
        }
    }

    /// A function that a node names in this attribute, if it only computes, wherever it is placed.
    pub(super) fn function(&self, node: &pb::NodeDef, name: &str) -> Option<&'g pb::FunctionDef> {
        let Some(Value::Func(function)) = &node.attr.get(name)?.value else { return None };
        let found = self.functions.get(function.name.as_str()).copied().filter(|_| function.attr.is_empty())?;
        let computes = |node: &pb::NodeDef| !may_act_or_calls(&node.op) && node.device.is_empty();
        found.node_def.iter().all(computes).then_some(found)
    }

    /// The nodes that take an output of a node, by their indices.
    pub(super) fn consumers(&self, node: &pb::NodeDef, output: usize) -> &[usize] {
        let tensor = if output == 0 { node.name.clone() } else { format!("{}:{output}", node.name) };
        self.consumers.get(tensor.as_str()).map_or(&[], Vec::as_slice)
    }

    /// Behind nodes that pass a tensor on, or reverse it: a tensor of the same shape.
    pub(super) fn behind<'t>(&self, mut tensor: &'t str) -> &'t str
    where
        'g: 't,
    {
        /// Circles end.
        const MAX_DEPTH: usize = 20;
        for _ in 0..MAX_DEPTH {
            match self.shapes.node(tensor) {
                Some(node) if matches!(node.op.as_str(), "Identity" | "ReverseV2") && !node.input.is_empty() => {
                    tensor = tensor_of(&node.input[0]);
                }
                _ => break,
            }
        }
        tensor
    }

    /// What a tensor with the steps first was before its first two dimensions were swapped.
    pub(super) fn before_swap(&self, input: &str) -> Option<&'g str> {
        let transpose = self.shapes.node(self.behind(input)).filter(|node| node.op == "Transpose")?;
        let swaps = self.integers(transpose.input.get(1)?)? == [1, 0, 2];
        swaps.then(|| tensor_of(&transpose.input[0]))
    }

    /// The element shape of a list that an input of a node has, if it is a constant.
    pub(super) fn element_shape(&self, node: &pb::NodeDef, input: usize) -> Option<&'g pb::TensorProto> {
        attr::constant(self.shapes.node(node.input.get(input)?)?)
    }

    /// Whether a state is filled with one value, with this many columns, and has a row for each row of a step.
    ///
    /// The rows have to be counted in the tensor that the steps are in: a state of one row would be taken for all rows
    /// by the ops of a step, and is refused by `BlockLSTMV2`.
    pub(super) fn is_filled(&self, state: &str, input: &str, columns: usize) -> bool {
        self.counted(state, columns).is_some_and(|(counted, dimension)| match dimension {
            0 => self.before_swap(input).is_some_and(|before| self.behind(before) == counted),
            1 => self.behind(input) == counted,
            _ => false,
        })
    }

    /// The tensor, and its dimension, of which a filled state with this many columns has its number of rows.
    fn counted(&self, state: &str, columns: usize) -> Option<(&'g str, i64)> {
        let fill = self.shapes.node(self.behind(state)).filter(|node| node.op == "Fill")?;
        let sizes = self.shapes.node(fill.input.first()?).filter(|node| node.op == "Pack")?;
        let [rows, width] = sizes.input.as_slice() else { return None };
        let size = self.shapes.node(self.behind(rows)).filter(|node| node.op == "StridedSlice")?;
        let [shape, begin, end, step] = size.input.as_slice() else { return None };
        let [dimension] = self.integers(begin)?.try_into().ok()?;
        let is_one = size.attr.get("shrink_axis_mask").is_some_and(|mask| mask.i() == 1)
            && self.integers(end)? == [dimension + 1]
            && self.integers(step)? == [1];
        let shape = self.shapes.node(shape).filter(|node| node.op == "Shape")?;
        let fits = is_one && usize::try_from(self.scalars.value(width)?) == Ok(columns);
        fits.then_some((self.behind(tensor_of(shape.input.first()?)), dimension))
    }

    fn integers(&self, tensor: &str) -> Option<Vec<i64>> {
        integers(attr::constant(self.shapes.node(tensor)?)?)
    }
}

/// Whether elements of this shape may be matrices of any height with this many columns, and what else is refused is
/// refused by a product as well.
pub(super) fn allows_rows(shape: &pb::TensorProto, columns: usize) -> bool {
    let Some(sizes) = integers(shape) else { return false };
    let is_open = shape.tensor_shape.dim.is_empty();
    sizes == [-1] && is_open || matches!(sizes[..], [-1, width] if usize::try_from(width) == Ok(columns))
}
