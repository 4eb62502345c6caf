//! The declared shapes of tensors.

use std::collections::{HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

use crate::graph::{attr, is_control, node_of};
use crate::tensor::proto;

/// The longest chain of nodes that is followed.
const MAX_DEPTH: usize = 20;

/// Sizes, where they are known.
pub(super) type Sizes = Vec<Option<usize>>;

/// The shapes of a graph's tensors, as whoever wrote the graph recorded them.
pub(super) struct Shapes<'n> {
    nodes: HashMap<&'n str, &'n pb::NodeDef>,
    asked: &'n HashSet<String>,
}

impl<'n> Shapes<'n> {
    pub(super) fn new(nodes: &'n [pb::NodeDef], asked: &'n HashSet<String>) -> Self {
        Self { nodes: nodes.iter().map(|node| (node.name.as_str(), node)).collect(), asked }
    }

    /// The shape of a tensor; `None` if its rank is not known.
    pub(super) fn of<'t>(&self, mut tensor: &'t str) -> Option<Sizes>
    where
        'n: 't,
    {
        let mut node = self.node(tensor)?;
        // What was the read of a variable has none.
        for _ in 0..MAX_DEPTH {
            if node.op != "Identity" || node.attr.contains_key("_output_shapes") {
                break;
            }
            tensor = node.input.first()?;
            node = self.node(tensor)?;
        }
        if let Some(constant) = attr::constant(node) {
            return Some(proto::whole_shape(&constant.tensor_shape).ok()?.into_iter().map(Some).collect());
        }
        let index = tensor.split_once(':').map_or(Ok(0), |(_, index)| index.parse::<usize>()).ok()?;
        let Some(Value::List(list)) = &node.attr.get("_output_shapes")?.value else { return None };
        let sizes = proto::partial_shape(list.shape.get(index)?).sizes()?.to_vec();
        Some(sizes.into_iter().map(|size| size.and_then(|size| usize::try_from(size).ok())).collect())
    }

    /// The node of a tensor, unless a request may give the tensor.
    fn node(&self, tensor: &str) -> Option<&'n pb::NodeDef> {
        let node = *self.nodes.get(node_of(tensor)).filter(|_| !is_control(tensor))?;
        (node.op != "Const" || !self.asked.contains(&node.name)).then_some(node)
    }
}
