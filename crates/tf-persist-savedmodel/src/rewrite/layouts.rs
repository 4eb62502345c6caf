//! A transpose of a transpose, and a reshape of a reshape, become one, or none where they undo each other.

use std::collections::HashSet;

use tf_persist_proto::tensorflow as pb;

use super::biases::is_activation;
use super::effects::has_control_flow;
use super::shapes::{Shapes, integers};
use crate::dtype::DType;
use crate::graph::{attr, free_name, is_control, tensor_of};

/// A chain of transposes becomes shorter by one in a round.
const MAX_ROUNDS: usize = 16;

/// The longest chain of nodes that is followed.
const MAX_DEPTH: usize = 20;

/// Merges transposes and reshapes at the top of a graph. Returns how often. These nodes are asked for by their names.
///
/// A tensor that an op would have refused is refused afterwards as well. So nothing is taken from the shapes that are
/// declared: a request may have others.
pub(crate) fn merge(graph: &mut pb::GraphDef, asked: &HashSet<String>) -> usize {
    // The permutation of a transpose in a loop of TensorFlow 1 would be outside of the loop.
    if has_control_flow(&graph.node) {
        return 0;
    }
    let mut count = 0;
    for _ in 0..MAX_ROUNDS {
        let merged: Vec<(usize, Merged)> = {
            let view = View::new(&graph.node, asked);
            let nodes = graph.node.iter().enumerate();
            nodes.filter_map(|(index, node)| Some((index, view.merged(node)?))).collect()
        };
        if merged.is_empty() {
            break;
        }
        count += merged.len();
        for (index, Merged { node, permutation }) in merged {
            graph.node[index] = node;
            graph.node.extend(permutation);
        }
    }
    count
}

struct Merged {
    /// What stands in the place of a node.
    node: pb::NodeDef,
    /// The constant that it takes, where that is new.
    permutation: Option<pb::NodeDef>,
}

struct View<'g> {
    names: HashSet<&'g str>,
    shapes: Shapes<'g>,
}

impl<'g> View<'g> {
    fn new(nodes: &'g [pb::NodeDef], asked: &'g HashSet<String>) -> Self {
        Self { names: nodes.iter().map(|node| node.name.as_str()).collect(), shapes: Shapes::new(nodes, asked) }
    }

    /// The node whose first output this tensor is, unless a request may give the tensor.
    fn producer(&self, tensor: &str) -> Option<&'g pb::NodeDef> {
        self.shapes.node(tensor).filter(|node| node.name == tensor_of(tensor))
    }

    /// The integers in a constant that waits for nothing.
    fn integers(&self, tensor: &str) -> Option<Vec<i64>> {
        let node = self.producer(tensor).filter(|node| node.input.is_empty())?;
        integers(attr::constant(node)?)
    }

    fn merged(&self, node: &pb::NodeDef) -> Option<Merged> {
        match node.op.as_str() {
            "Transpose" => self.transpose(node),
            "Reshape" => self.reshape(node).map(|node| Merged { node, permutation: None }),
            _ => None,
        }
    }

    /// What becomes of a transpose.
    fn transpose(&self, node: &pb::NodeDef) -> Option<Merged> {
        let own = self.permutation(node)?;
        let before = self.producer(node.input.first()?).filter(|before| before.op == "Transpose");
        let (combined, source) = match before {
            None => (own, node),
            Some(before) => {
                let inner = self.permutation(before).filter(|inner| inner.len() == own.len())?;
                (own.iter().map(|axis| inner[*axis]).collect(), before)
            }
        };
        let changes_nothing = combined.iter().enumerate().all(|(at, axis)| at == *axis);
        // A transpose refuses tensors of other ranks, and TensorFlow leaves out two that undo each other.
        if self.rank(source.input.first()?)? != combined.len() {
            return None;
        }
        if changes_nothing {
            return Some(Merged { node: identity(node, source), permutation: None });
        }
        before?;
        let axes: Vec<i32> = combined.iter().map(|axis| i32::try_from(*axis).ok()).collect::<Option<_>>()?;
        let name = free_name(&format!("{}/permutation", node.name), |name| self.names.contains(name));
        let mut constant = attr::values_node(&name, &[axes.len()], &axes)?;
        constant.device.clone_from(&node.device);
        let mut merged = with_source(node, source);
        merged.input[1] = name;
        merged.attr.insert("Tperm".to_owned(), attr::dtype(DType::Int32));
        Some(Merged { node: merged, permutation: Some(constant) })
    }

    /// The axes of a transpose, where they are always the same.
    fn permutation(&self, node: &pb::NodeDef) -> Option<Vec<usize>> {
        let axes = self.integers(node.input.get(1)?)?;
        let axes: Vec<usize> = axes.into_iter().map(|axis| usize::try_from(axis).ok()).collect::<Option<_>>()?;
        let is_permutation = (0..axes.len()).all(|axis| axes.contains(&axis));
        is_permutation.then_some(axes)
    }

    /// What becomes of a reshape.
    fn reshape(&self, node: &pb::NodeDef) -> Option<pb::NodeDef> {
        let input = node.input.first()?;
        let sizes = self.integers(node.input.get(1)?);
        if let Some([-1, columns]) = sizes.as_deref()
            && self.rank(input) == Some(2)
            && *columns > 0
            && self.last(input) == Some(*columns)
        {
            return Some(identity(node, node));
        }
        let before = self.producer(input).filter(|before| before.op == "Reshape")?;
        let inner = self.integers(before.input.get(1)?)?;
        // One that takes any number of elements, or at least those that there can be.
        let (open, known): (Vec<i64>, Vec<i64>) = inner.into_iter().partition(|size| *size == -1);
        let unit = product(&known)?;
        let fits = open.len() == 1 && (unit == 1 || self.multiple(before.input.first()?)? % unit == 0);
        fits.then(|| with_source(node, before))
    }

    /// The rank of a tensor in every run.
    fn rank(&self, tensor: &str) -> Option<usize> {
        let mut node = self.followed(tensor)?;
        for _ in 0..MAX_DEPTH {
            match node.op.as_str() {
                "Conv2D" | "DepthwiseConv2dNative" => return Some(4),
                "MatMul" => return Some(2),
                "Reshape" => return Some(self.integers(node.input.get(1)?)?.len()),
                // It may be left out itself, beside another one.
                "Transpose" => node = self.followed(node.input.first()?)?,
                _ => return None,
            }
        }
        None
    }

    /// The last size of a tensor in every run.
    fn last(&self, tensor: &str) -> Option<i64> {
        let node = self.followed(tensor)?;
        match node.op.as_str() {
            "Reshape" => self.integers(node.input.get(1)?)?.last().copied().filter(|size| *size > 0),
            "MatMul" => self.columns(node),
            _ => None,
        }
    }

    /// A number by which the number of a tensor's elements can be divided in every run.
    fn multiple(&self, tensor: &str) -> Option<i64> {
        let node = self.followed(tensor)?;
        match node.op.as_str() {
            "Reshape" => {
                let sizes = self.integers(node.input.get(1)?)?;
                product(&sizes.into_iter().filter(|size| *size != -1).collect::<Vec<_>>())
            }
            "MatMul" => self.columns(node),
            _ => None,
        }
    }

    fn columns(&self, product: &pb::NodeDef) -> Option<i64> {
        i64::try_from(self.shapes.columns(product)?).ok().filter(|size| *size > 0)
    }

    /// The node of a tensor, or the one before it that has the same shape.
    fn followed(&self, tensor: &str) -> Option<&'g pb::NodeDef> {
        let mut node = self.producer(tensor)?;
        for _ in 0..MAX_DEPTH {
            if !(node.op == "BiasAdd" || node.op == "Identity" || is_activation(node)) {
                return Some(node);
            }
            node = self.producer(node.input.first()?)?;
        }
        None
    }
}

/// The product of sizes, of which none is 0.
fn product(sizes: &[i64]) -> Option<i64> {
    sizes.iter().try_fold(1_i64, |product, size| product.checked_mul(*size)).filter(|product| *product > 0)
}

/// A node that takes the input of another one. It still waits for what both waited for.
fn with_source(node: &pb::NodeDef, source: &pb::NodeDef) -> pb::NodeDef {
    let mut merged = node.clone();
    if let (Some(first), Some(input)) = (merged.input.first_mut(), source.input.first()) {
        first.clone_from(input);
    }
    if !std::ptr::eq(node, source) {
        let controls = source.input.iter().filter(|input| is_control(input) && !node.input.contains(input));
        merged.input.extend(controls.cloned());
    }
    merged
}

/// The same, as an `Identity`.
fn identity(node: &pb::NodeDef, source: &pb::NodeDef) -> pb::NodeDef {
    let mut merged = with_source(node, source);
    merged.op = "Identity".to_owned();
    let mut rest = merged.input.split_off(1);
    rest.retain(|input| is_control(input));
    merged.input.append(&mut rest);
    merged.attr.retain(|name, _| name == "T" || name.starts_with('_'));
    merged
}
