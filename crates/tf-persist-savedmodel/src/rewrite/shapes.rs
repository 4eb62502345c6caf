//! The shapes of tensors: as they are declared, and as far as they are the same in every run.

use std::collections::{HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use crate::dtype::DType;
use crate::graph::{attr, is_control, node_of};
use crate::shape::element_count;
use crate::tensor::proto;

/// The longest chain of nodes that is followed.
const MAX_DEPTH: usize = 20;

/// The shapes of a graph's tensors.
pub(super) struct Shapes<'n> {
    nodes: HashMap<&'n str, &'n pb::NodeDef>,
    asked: &'n HashSet<String>,
}

impl<'n> Shapes<'n> {
    pub(super) fn new(nodes: &'n [pb::NodeDef], asked: &'n HashSet<String>) -> Self {
        Self { nodes: nodes.iter().map(|node| (node.name.as_str(), node)).collect(), asked }
    }

    /// The declared rank of a tensor, if it is known. A request may have another one.
    pub(super) fn declared_rank(&self, tensor: &str) -> Option<usize> {
        let node = self.nodes.get(node_of(tensor))?;
        let index = tensor.split_once(':').map_or(Ok(0), |(_, index)| index.parse::<usize>()).ok()?;
        let Some(Value::List(list)) = &node.attr.get("_output_shapes")?.value else { return None };
        Some(proto::partial_shape(list.shape.get(index)?).sizes()?.len())
    }

    /// The shape of a constant, perhaps through nodes that pass it on or give it another shape.
    pub(super) fn of_constant(&self, tensor: &str) -> Option<Vec<usize>> {
        let mut node = self.node(tensor)?;
        let mut reshaped = None;
        for _ in 0..MAX_DEPTH {
            match node.op.as_str() {
                "Identity" => {}
                // The last one counts.
                "Reshape" if reshaped.is_some() => {}
                "Reshape" => reshaped = Some(integers(attr::constant(self.node(node.input.get(1)?)?)?)?),
                _ => break,
            }
            node = self.node(node.input.first()?)?;
        }
        let shape = proto::whole_shape(&attr::constant(node)?.tensor_shape).ok()?;
        reshaped.map_or(Some(shape.clone()), |sizes| reshape(&shape, &sizes))
    }

    /// The number of columns of a matrix product with constant weights.
    pub(super) fn columns(&self, product: &pb::NodeDef) -> Option<usize> {
        let weights = self.of_constant(product.input.get(1)?)?;
        let transposed = product.attr.get("transpose_b").is_some_and(pb::AttrValue::b);
        weights.get(usize::from(!transposed)).copied()
    }

    /// The last of the sizes in a tensor of such, if it is the same in every run, and how many sizes there are at
    /// least.
    pub(super) fn last_of(&self, sizes: &str) -> Option<(usize, usize)> {
        let mut tensor = sizes;
        let mut before = 0;
        for _ in 0..MAX_DEPTH {
            let node = self.node(tensor)?;
            if let Some(constant) = attr::constant(node) {
                let sizes = integers(constant)?;
                return Some((usize::try_from(*sizes.last()?).ok()?, before + sizes.len()));
            }
            let mut values = node.input.iter().filter(|input| !is_control(input));
            tensor = match node.op.as_str() {
                "Pack" => {
                    before += values.clone().count().checked_sub(1)?;
                    values.next_back()?
                }
                // The axis comes last. A part without sizes is not looked through.
                "ConcatV2" => {
                    let parts = values.clone().count().checked_sub(1)?;
                    before += values.clone().take(parts.checked_sub(1)?).map(|part| self.least(part)).sum::<usize>();
                    values.nth(parts - 1)?
                }
                "Identity" => values.next()?,
                _ => return None,
            };
        }
        None
    }

    /// How many numbers a vector has at least.
    fn least(&self, vector: &str) -> usize {
        let Some(node) = self.node(vector) else { return 0 };
        let data = node.input.iter().filter(|input| !is_control(input));
        match node.op.as_str() {
            "Const" => attr::constant(node).and_then(integers).map_or(0, |numbers| numbers.len()),
            "Pack" => data.count(),
            // As many as indices.
            "GatherV2" => node.input.get(1).map_or(0, |indices| self.least(indices)),
            _ => 0,
        }
    }

    /// The node of a tensor, unless a request may give the tensor.
    pub(super) fn node(&self, tensor: &str) -> Option<&'n pb::NodeDef> {
        let node = *self.nodes.get(node_of(tensor)).filter(|_| !is_control(tensor))?;
        (!self.asked.contains(&node.name)).then_some(node)
    }
}

/// The shape of as many elements in these sizes, of which one may be -1.
fn reshape(shape: &[usize], sizes: &[i64]) -> Option<Vec<usize>> {
    let elements = element_count(shape).ok()?;
    let known = sizes.iter().filter(|size| **size != -1);
    let known = known.map(|size| usize::try_from(*size).ok()).collect::<Option<Vec<usize>>>()?;
    let open = elements.checked_div(element_count(&known).ok()?)?;
    let whole = |size: &i64| if *size == -1 { Some(open) } else { usize::try_from(*size).ok() };
    let sizes: Vec<usize> = sizes.iter().map(whole).collect::<Option<_>>()?;
    (element_count(&sizes).ok()? == elements).then_some(sizes)
}

/// The numbers of a constant of 32-bit or 64-bit integers, if they are few enough to be sizes.
pub(super) fn integers(constant: &pb::TensorProto) -> Option<Vec<i64>> {
    /// More than the sizes of any shape.
    const MAX_BYTES: usize = 4096;
    let value = proto::from_proto(constant, MAX_BYTES).ok()?;
    match value.dtype() {
        DType::Int32 => Some(value.view::<i32>().ok()?.iter().copied().map(i64::from).collect()),
        DType::Int64 => Some(value.view::<i64>().ok()?.to_vec()),
        _ => None,
    }
}
