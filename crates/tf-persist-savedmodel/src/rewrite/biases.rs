//! A bias and an activation behind a `Reshape` of a matrix product move before it, where TensorFlow fuses them.

use std::collections::{HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;

use super::channels_are_last;
use super::shapes::Shapes;
use crate::dtype::DType;
use crate::graph::{attr, is_control, node_of, tensor_of};

/// Activations that TensorFlow fuses with a matrix product.
const ACTIVATIONS: [&str; 5] = ["Relu", "Relu6", "Elu", "Tanh", "Sigmoid"];

/// Moves biases and activations at the top of a graph. Returns how many biases. These nodes are asked for by their
/// names.
pub(crate) fn move_before_reshape(graph: &mut pb::GraphDef, asked: &HashSet<String>) -> usize {
    let index: HashMap<String, usize> =
        graph.node.iter().enumerate().map(|(index, node)| (node.name.clone(), index)).collect();
    let changes: Vec<Moved> = {
        let mover = Mover::new(&graph.node, asked);
        graph.node.iter().filter_map(|node| mover.moved(node)).collect()
    };
    let mut count = 0;
    for moved in changes {
        let is_new = moved.added.iter().all(|node| !index.contains_key(&node.name));
        if let Some(last) = index.get(&moved.reshape.name).filter(|_| is_new) {
            graph.node[*last] = moved.reshape;
            graph.node.extend(moved.added);
            count += 1;
        }
    }
    count
}

struct Moved {
    /// The `Reshape`, in the place and under the name of the last op that moved.
    reshape: pb::NodeDef,
    added: Vec<pb::NodeDef>,
}

struct Mover<'a> {
    asked: &'a HashSet<String>,
    consumers: HashMap<&'a str, Vec<&'a pb::NodeDef>>,
    shapes: Shapes<'a>,
}

impl<'a> Mover<'a> {
    fn new(nodes: &'a [pb::NodeDef], asked: &'a HashSet<String>) -> Self {
        let mut consumers: HashMap<&str, Vec<&pb::NodeDef>> = HashMap::new();
        for node in nodes {
            for input in &node.input {
                consumers.entry(node_of(input)).or_default().push(node);
            }
        }
        Self { asked, consumers, shapes: Shapes::new(nodes, asked) }
    }

    /// What becomes of a product that is reshaped.
    fn moved(&self, product: &pb::NodeDef) -> Option<Moved> {
        if product.op != "MatMul" || attr::type_of(product, "T") != Some(DType::Float32) {
            return None;
        }
        let reshape = self.only_consumer(product).filter(|node| node.op == "Reshape")?;
        let columns = self.shapes.columns(product)?;
        // Whatever the sizes of the request.
        let (last, rank) = self.shapes.last_of(reshape.input.get(1)?)?;
        if last != columns {
            return None;
        }
        let bias = self.only_consumer(reshape)?;
        let [first, second] = bias.input.as_slice() else { return None };
        let vector = match bias.op.as_str() {
            // A `BiasAdd` refuses a vector, and would get a matrix.
            "BiasAdd" if tensor_of(first) == reshape.name && rank >= 2 => second,
            "AddV2" | "Add" if tensor_of(first) == reshape.name => second,
            "AddV2" | "Add" if tensor_of(second) == reshape.name => first,
            _ => return None,
        };
        let is_vector = self.shapes.of_constant(vector)? == [columns];
        if !is_vector || !channels_are_last(bias) || tensor_of(first) == tensor_of(second) {
            return None;
        }
        let types = || [("T", attr::dtype(DType::Float32))];
        let biased = format!("{}/biased", product.name);
        let mut added = vec![attr::node(biased.clone(), "BiasAdd", &[&product.name, vector], types())];
        let mut last = bias;
        if let Some(activation) = self.only_consumer(bias).filter(|node| is_activation(node)) {
            let name = format!("{}/activated", product.name);
            added.push(attr::node(name, &activation.op, &[&biased], types()));
            last = activation;
        }
        let mut moved = reshape.clone();
        moved.name.clone_from(&last.name);
        moved.input[0].clone_from(&added.last()?.name);
        added.iter_mut().for_each(|node| node.device.clone_from(&product.device));
        Some(Moved { reshape: moved, added })
    }

    /// The only node that takes a node's output, once, as data; `None` if others name the node.
    fn only_consumer(&self, node: &pb::NodeDef) -> Option<&'a pb::NodeDef> {
        let [consumer] = self.consumers.get(node.name.as_str())?.as_slice() else { return None };
        let takes = consumer.input.iter().any(|input| tensor_of(input) == node.name);
        let is_plain = takes && !consumer.input.iter().any(|input| is_control(input));
        (is_plain && !self.asked.contains(&node.name)).then_some(consumer)
    }
}

/// Whether a node is an activation that TensorFlow fuses. Its result has the shape of its input.
pub(super) fn is_activation(node: &pb::NodeDef) -> bool {
    ACTIVATIONS.contains(&node.op.as_str()) && node.input.len() == 1
}
