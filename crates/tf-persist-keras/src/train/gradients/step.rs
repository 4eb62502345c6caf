//! What a rule has at hand: a node and the gradients of its outputs.

use std::collections::HashSet;

use tf_persist_savedmodel::DType;

use super::{Gradient, slices};
use crate::graph::{Attr, Graph, Node, Op, TensorRef};
use crate::reason::{Result, refuse};

/// What a rule returns: the gradient of each input, or None for those without one.
pub(super) type Gradients = Result<Vec<Option<Gradient>>>;

/// A node whose outputs' gradients are known.
pub(super) struct Step<'a> {
    pub(super) g: &'a Graph,
    pub(super) node: &'a Node,
    pub(super) index: usize,
    /// The gradients of the outputs.
    pub(super) outputs: Vec<Option<Gradient>>,
    /// Which inputs need a gradient.
    pub(super) needed: Vec<bool>,
}

impl Step<'_> {
    /// An input.
    pub(super) fn x(&self, input: usize) -> Result<&TensorRef> {
        match self.node.inputs.get(input) {
            Some(input) => Ok(input),
            None => refuse!("it has no input {input}"),
        }
    }

    /// An output.
    pub(super) fn y(&self, output: usize) -> Result<TensorRef> {
        self.g.output(self.index, output)
    }

    pub(super) fn needs(&self, input: usize) -> bool {
        self.needed.get(input).copied().unwrap_or(false)
    }

    /// The gradient of the first output, as a tensor.
    pub(super) fn dy(&self) -> Result<TensorRef> {
        self.dy_of(0)
    }

    /// The gradient of an output, as a tensor; zeros where the loss does not depend on it.
    pub(super) fn dy_of(&self, output: usize) -> Result<TensorRef> {
        match self.outputs.get(output) {
            Some(Some(gradient)) => slices::dense(self.g, gradient),
            _ => self.g.zeros_like(&self.y(output)?),
        }
    }

    /// The gradient of the first input, if it needs one; no other input has any.
    pub(super) fn first(&self, build: impl FnOnce() -> Result<TensorRef>) -> Gradients {
        Ok(vec![self.if_needed(0, build)?])
    }

    /// The gradient of an input, if it needs one.
    pub(super) fn if_needed(
        &self,
        input: usize,
        build: impl FnOnce() -> Result<TensorRef>,
    ) -> Result<Option<Gradient>> {
        if !self.needs(input) {
            return Ok(None);
        }
        Ok(Some(build()?.into()))
    }

    pub(super) fn attr(&self, name: &str) -> Option<&Attr> {
        self.node.attrs.iter().find(|(key, _)| *key == name).map(|(_, attr)| attr)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.attr(name), Some(Attr::Bool(true)))
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        match self.attr(name) {
            Some(Attr::Int(value)) => *value,
            _ => default,
        }
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        match self.attr(name) {
            Some(Attr::Float(value)) => *value,
            _ => default,
        }
    }

    pub(super) fn text(&self, name: &str, default: &'static str) -> &str {
        match self.attr(name) {
            Some(Attr::Text(value)) => value,
            _ => default,
        }
    }

    /// The attributes of these names that the node has.
    pub(super) fn copied(&self, names: &[&'static str]) -> Vec<(&'static str, Attr)> {
        names.iter().filter_map(|name| Some((*name, self.attr(name)?.clone()))).collect()
    }

    /// The integers in an input that is a constant.
    pub(super) fn constant(&self, input: usize) -> Option<Vec<i64>> {
        constant_ints(self.g, self.node.inputs.get(input)?)
    }
}

/// Whether a tensor depends on nothing but the sizes of other tensors. In Keras, which traces a step for the sizes of
/// its batch, it is constant.
pub(super) fn is_of_sizes(g: &Graph, tensor: &TensorRef) -> bool {
    g.with_nodes(|nodes| {
        let (mut known, mut stack) = (HashSet::new(), vec![tensor.node]);
        while let Some(index) = stack.pop() {
            let Some(node) = nodes.get(index) else { return false };
            match node.op {
                Op::Named("Shape" | "Size" | "Rank" | "ZerosLike" | "OnesLike") => {}
                Op::Named("ReadVariableOp") | Op::Argument(_) | Op::Handle(_) => return false,
                Op::Named(_) => stack.extend(node.inputs.iter().map(|input| input.node).filter(|it| known.insert(*it))),
            }
        }
        true
    })
}

/// The integers of a tensor that is a constant.
pub(super) fn constant_ints(g: &Graph, tensor: &TensorRef) -> Option<Vec<i64>> {
    g.with_nodes(|nodes| {
        let node = nodes.get(tensor.node).filter(|node| node.op == Op::Named("Const"))?;
        let value = node.attrs.iter().find_map(|(name, attr)| match attr {
            Attr::Tensor(value) if *name == "value" => Some(value),
            _ => None,
        })?;
        match value.dtype() {
            DType::Int32 => Some(value.view::<i32>().ok()?.iter().map(|value| i64::from(*value)).collect()),
            DType::Int64 => Some(value.view::<i64>().ok()?.to_vec()),
            _ => None,
        }
    })
}
