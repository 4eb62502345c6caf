//! What follows a convolution or a matrix product, and multiplies or adds constants to its channels, becomes a part of
//! its weights: above all `BatchNormalization`. TensorFlow computes one op then instead of up to four, each of which
//! goes through memory once more.
//!
//! - `constants`: the values of nodes that depend on constants alone.
//! - `channels`: which nodes work on channels, and what they do.
//!
//! Answers change in the last digits: a weight that was multiplied is rounded before the sum instead of after it. Only
//! 32-bit floats are folded, and convolutions whose channels come last.

mod channels;
mod constants;

use std::collections::{HashMap, HashSet};

use tf_persist_proto::tensorflow as pb;

use crate::DType;
use crate::graph::{attr, free_name, is_control, tensor_of};
use crate::rewrite::channels_are_last;
use crate::tensor::{Tensor, proto};
use channels::{Affine, Linear};
use constants::Constants;

/// A convolution followed by a bias, a multiplication and an addition takes three rounds; more are odd.
const MAX_ROUNDS: usize = 16;

/// Folds what it can in the nodes at the top of a graph, and returns how many. `asked` are the nodes that somebody asks
/// for by their names.
///
/// Nodes that are no longer needed are left.
pub(crate) fn fold(graph: &mut pb::GraphDef, asked: &HashSet<String>) -> usize {
    let mut folds = 0;
    for _ in 0..MAX_ROUNDS {
        match round(&mut graph.node, asked) {
            0 => break,
            more => folds += more,
        }
    }
    folds
}

/// A change to a graph: nodes that take the place of others, and new ones.
#[derive(Default)]
struct Changes {
    nodes: HashMap<usize, pb::NodeDef>,
    new: Vec<pb::NodeDef>,
    /// Tensors whose consumers take another one.
    instead: HashMap<String, String>,
}

/// Returns how many nodes were folded.
fn round(nodes: &mut Vec<pb::NodeDef>, asked: &HashSet<String>) -> usize {
    let mut folds = 0;
    let changes = {
        let view = View::new(nodes, asked);
        let mut changes = Changes::default();
        // What a change of this round touches has to wait for the next one.
        let mut touched = HashSet::new();
        for index in 0..nodes.len() {
            if let Some(found) = Fold::find(&view, index)
                && found.touches().iter().all(|index| !touched.contains(index))
            {
                touched.extend(found.touches());
                folds += usize::from(found.apply(&view, &mut changes).is_some());
            }
        }
        changes
    };
    for (index, node) in changes.nodes {
        nodes[index] = node;
    }
    for input in nodes.iter_mut().flat_map(|node| &mut node.input).filter(|input| !is_control(input)) {
        if let Some(other) = changes.instead.get(tensor_of(input)) {
            input.clone_from(other);
        }
    }
    nodes.extend(changes.new);
    folds
}

/// The nodes of a graph, and who takes what.
struct View<'g> {
    nodes: &'g [pb::NodeDef],
    by_name: HashMap<&'g str, usize>,
    /// The nodes that take each tensor; more than once if they take it more than once.
    users: HashMap<&'g str, Vec<usize>>,
    asked: &'g HashSet<String>,
    constants: Constants,
}

impl<'g> View<'g> {
    fn new(nodes: &'g [pb::NodeDef], asked: &'g HashSet<String>) -> Self {
        let mut users: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            for input in node.input.iter().filter(|input| !is_control(input)) {
                users.entry(tensor_of(input)).or_default().push(index);
            }
        }
        let by_name = nodes.iter().enumerate().map(|(index, node)| (node.name.as_str(), index)).collect();
        Self { nodes, by_name, users, asked, constants: Constants::default() }
    }

    /// The node whose first output this tensor is, with `Identity` left out. `None` if a request may give the tensor.
    fn producer(&self, tensor: &str) -> Option<usize> {
        let mut tensor = tensor_of(tensor);
        // A graph that is no tree may have a circle.
        for _ in 0..self.nodes.len() {
            let index = *self.by_name.get(tensor)?;
            let node = &self.nodes[index];
            if self.asked.contains(&node.name) {
                return None;
            }
            match node.op.as_str() {
                "Identity" if node.input.len() == 1 => tensor = tensor_of(&node.input[0]),
                _ => return Some(index),
            }
        }
        None
    }

    /// Whether nobody but this node takes the only output of another.
    fn belongs_to(&self, index: usize, user: usize) -> bool {
        let name = self.nodes[index].name.as_str();
        self.users.get(name).is_some_and(|users| users == &[user])
    }

    /// The constant that a tensor is, perhaps through nodes that pass it on. `None` if it waits for another node, or is
    /// in a loop of TensorFlow 1, which its control inputs say.
    fn whole_constant(&self, tensor: &str) -> Option<&'g pb::TensorProto> {
        let node = &self.nodes[self.producer(tensor)?];
        attr::constant(node).filter(|_| !has_controls(node))
    }

    /// A name for a new node.
    fn free_name(&self, wanted: &str) -> String {
        free_name(wanted, |name| self.by_name.contains_key(name))
    }

    /// The value of a tensor that depends on constants alone.
    fn constant(&self, tensor: &str) -> Option<Tensor> {
        self.constants.of(self, tensor)
    }
}

fn has_controls(node: &pb::NodeDef) -> bool {
    node.input.iter().any(|input| is_control(input))
}

/// A node that works on the channels of a convolution or a matrix product before it.
struct Fold<'g> {
    index: usize,
    affine: Affine,
    linear: Linear<'g>,
    /// The node between them that adds a bias, and the bias.
    bias: Option<(usize, Vec<f32>)>,
}

impl<'g> Fold<'g> {
    fn find(view: &View<'g>, index: usize) -> Option<Self> {
        let node = &view.nodes[index];
        let (input, affine) = Affine::of(view, node)?;
        let before = view.producer(input)?;
        // What waits for an assertion has to wait for it still, and the next node would no longer.
        if has_controls(node) || view.nodes[before].op == "BiasAdd" && has_controls(&view.nodes[before]) {
            return None;
        }
        // An `Identity` between them would be another user.
        if !view.belongs_to(before, index) {
            return None;
        }
        let mut bias = None;
        let mut linear = before;
        if view.nodes[before].op == "BiasAdd" {
            linear = view.producer(view.nodes[before].input.first()?)?;
            let value = view.constant(view.nodes[before].input.get(1)?)?;
            if !view.belongs_to(linear, before) || !channels_are_last(&view.nodes[before]) {
                return None;
            }
            bias = Some((before, value.view::<f32>().ok()?.to_vec()));
        }
        let linear = Linear::of(view, linear)?;
        let affine = affine.of_channels(&linear)?;
        // What adds a bias alone is done already.
        let is_done = node.op == "BiasAdd" && bias.is_none();
        let fits = bias.as_ref().is_none_or(|(_, bias)| bias.len() == linear.channels);
        (fits && !is_done).then_some(Self { index, affine, linear, bias })
    }

    /// The nodes that it changes.
    fn touches(&self) -> Vec<usize> {
        let bias = self.bias.as_ref().map(|(index, _)| *index);
        [Some(self.index), Some(self.linear.index), bias].into_iter().flatten().collect()
    }

    /// Moves the multiplication into the weights, and makes the node one that adds the rest. `None` if the new numbers
    /// are not finite; then nothing has changed.
    fn apply(self, view: &View<'_>, changes: &mut Changes) -> Option<()> {
        let node = &view.nodes[self.index];
        let linear = &view.nodes[self.linear.index];
        let mut new = Vec::new();
        let mut scaled = None;
        if let Some(scale) = &self.affine.scale {
            let name = view.free_name(&format!("{}/folded_weights", linear.name));
            let mut linear = linear.clone();
            linear.input[Linear::WEIGHTS].clone_from(&name);
            scaled = Some(linear);
            new.push(attr::const_node(&name, proto::to_proto(&self.linear.scaled(scale)?)));
        }
        let (name, input, dtype) = (node.name.as_str(), linear.name.as_str(), ("T", attr::dtype(DType::Float32)));
        let mut after = match self.affine.bias(self.bias.map(|(_, bias)| bias)) {
            Some(bias) => {
                let bias = Some(bias).filter(|bias| bias.iter().all(|value| value.is_finite()))?;
                let value = view.free_name(&format!("{name}/folded_bias"));
                new.push(attr::values_node(&value, &[bias.len()], &bias)?);
                attr::node(name, "BiasAdd", &[input, &value], [dtype])
            }
            // Whoever asks for it by its name gets it, or gives it.
            None if view.asked.contains(name) => attr::node(name, "Identity", &[input], [dtype]),
            // As an `Identity` it would be in the way of folding more.
            None => {
                changes.instead.insert(name.to_owned(), input.to_owned());
                attr::node(name, "NoOp", &[&format!("^{input}")], [])
            }
        };
        after.device.clone_from(&node.device);
        changes.nodes.insert(self.index, after);
        changes.nodes.extend(scaled.map(|scaled| (self.linear.index, scaled)));
        changes.new.extend(new);
        Some(())
    }
}

#[cfg(test)]
mod tests;
