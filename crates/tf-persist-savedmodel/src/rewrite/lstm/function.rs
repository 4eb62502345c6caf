//! Where the tensors in a function's body come from.

use std::collections::HashMap;

use tf_persist_proto::tensorflow as pb;

use crate::dtype::DType;
use crate::graph::{attr, is_control, node_of};
use crate::rewrite::shapes::integers;

/// The longest chain of nodes that pass a tensor on.
const MAX_DEPTH: usize = 20;

/// What gives a tensor.
#[derive(Clone, Copy)]
pub(super) enum Source<'f> {
    /// The argument with this index.
    Argument(usize),
    /// An output of a node, by its index.
    Node(&'f pb::NodeDef, usize),
}

impl<'f> Source<'f> {
    pub(super) fn argument(self) -> Option<usize> {
        match self {
            Self::Argument(index) => Some(index),
            Self::Node(..) => None,
        }
    }

    /// The node, if it is one of this op.
    pub(super) fn node(self, op: &str) -> Option<&'f pb::NodeDef> {
        match self {
            Self::Node(node, 0) if node.op == op => Some(node),
            _ => None,
        }
    }
}

/// A function's nodes and arguments by name.
pub(super) struct Function<'f> {
    pub(super) definition: &'f pb::FunctionDef,
    nodes: HashMap<&'f str, &'f pb::NodeDef>,
    arguments: HashMap<&'f str, usize>,
}

impl<'f> Function<'f> {
    pub(super) fn new(definition: &'f pb::FunctionDef) -> Self {
        let arguments = definition.signature.input_arg.iter().enumerate();
        Self {
            definition,
            nodes: definition.node_def.iter().map(|node| (node.name.as_str(), node)).collect(),
            arguments: arguments.map(|(index, argument)| (argument.name.as_str(), index)).collect(),
        }
    }

    /// What gives a tensor, behind nodes that only pass it on.
    pub(super) fn source(&self, tensor: &str) -> Option<Source<'f>> {
        let mut source = self.giver(tensor)?;
        for _ in 0..MAX_DEPTH {
            match source {
                Source::Node(node, _) if node.op == "Identity" => source = self.giver(node.input.first()?)?,
                found => return Some(found),
            }
        }
        None
    }

    /// What gives an input of a node, by its index.
    pub(super) fn input(&self, node: &pb::NodeDef, index: usize) -> Option<Source<'f>> {
        self.source(node.input.get(index)?)
    }

    /// What the function returns, in order.
    pub(super) fn returned(&self) -> Option<Vec<Source<'f>>> {
        let outputs = self.definition.signature.output_arg.iter();
        outputs.map(|output| self.source(self.definition.ret.get(&output.name)?)).collect()
    }

    /// The value of a constant.
    pub(super) fn constant(&self, source: Option<Source<'f>>) -> Option<&'f pb::TensorProto> {
        attr::constant(source?.node("Const")?)
    }

    /// The value of a constant scalar.
    pub(super) fn scalar(&self, source: Option<Source<'f>>) -> Option<i64> {
        let constant = self.constant(source)?;
        match integers(constant)?.as_slice() {
            [value] if constant.tensor_shape.dim.is_empty() => Some(*value),
            _ => None,
        }
    }

    /// Whether a node takes an argument.
    pub(super) fn takes(&self, argument: usize) -> bool {
        let takes = |input: &String| self.arguments.get(node_of(input)) == Some(&argument);
        self.definition.node_def.iter().any(|node| node.input.iter().any(takes))
    }

    /// The dtype of an argument.
    pub(super) fn dtype(&self, argument: usize) -> Option<DType> {
        Some(DType::from_number(self.definition.signature.input_arg.get(argument)?.type_.value()))
    }

    fn giver(&self, tensor: &str) -> Option<Source<'f>> {
        if is_control(tensor) {
            return None;
        }
        if let Some(index) = self.arguments.get(tensor) {
            return Some(Source::Argument(*index));
        }
        // `node:output:index`. Whoever looks at a node knows its op, and none of these has two outputs with names.
        let index = tensor.rsplit_once(':').map_or(Ok(0), |(_, index)| index.parse()).ok()?;
        Some(Source::Node(self.nodes.get(node_of(tensor))?, index))
    }
}
