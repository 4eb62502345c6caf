//! Gradients, in reverse through the nodes of a graph.
//!
//! A rule for each op adds the nodes that TensorFlow's own rule adds in Python, in the same order, and sums are formed
//! in the order of its tape, so that the numbers are the same bit for bit.

mod array;
mod broadcast;
mod convolution;
mod einsum;
mod elementwise;
mod gather;
mod image;
mod loops;
mod matrix;
mod neural;
mod reduce;
mod slice;
mod slices;
mod step;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};

use tf_persist_savedmodel::DType;

use crate::graph::{Graph, Node, Op, TensorRef};
use crate::reason::{Reason, Result, refuse};

pub(crate) use slices::{Slices, dense};
use step::Step;

/// The gradient of a loss with respect to a tensor.
#[derive(Debug, Clone)]
pub(crate) enum Gradient {
    /// Of the tensor's shape.
    Dense(TensorRef),
    /// Of some of its rows, each perhaps several times; the others are zero.
    Sparse(Slices),
}

impl From<TensorRef> for Gradient {
    fn from(tensor: TensorRef) -> Self {
        Self::Dense(tensor)
    }
}

/// A node and an output of it.
type Key = (usize, usize);

/// The gradients of `loss` with respect to tensors of the graph. None for one that the loss does not depend on.
pub(crate) fn gradients(g: &Graph, loss: &TensorRef, wrt: &[TensorRef]) -> Result<Vec<Option<Gradient>>> {
    let one = g.scalar(1.0, loss.dtype)?;
    let one = if loss.rank() == 0 { one } else { g.fill(&g.shape_of(loss)?, &one, loss.shape.clone())? };
    gradients_from(g, &[(loss.clone(), one)], wrt)
}

/// The gradients with respect to tensors of the graph, given those with respect to what is computed from them.
pub(crate) fn gradients_from(
    g: &Graph,
    targets: &[(TensorRef, TensorRef)],
    wrt: &[TensorRef],
) -> Result<Vec<Option<Gradient>>> {
    let nodes = g.nodes();
    let sources: HashSet<Key> = wrt.iter().map(key).collect();
    let mut tape = Tape::new(&nodes, targets, &sources);
    let mut received: HashMap<Key, Vec<Gradient>> = HashMap::new();
    for (target, gradient) in targets {
        if tape.is_watched(target) {
            received.entry(key(target)).or_default().push(Gradient::Dense(gradient.clone()));
        }
    }
    while let Some(index) = tape.next() {
        let node = &nodes[index];
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for output in 0..node.outputs.len() {
            let parts = match sources.contains(&(index, output)) {
                true => received.get(&(index, output)).cloned(),
                false => received.remove(&(index, output)),
            };
            outputs.push(parts.map(|parts| slices::sum(g, parts)).transpose()?);
        }
        let inputs = if outputs.iter().any(Option::is_some) {
            let needed = node.inputs.iter().map(|input| tape.is_watched(input)).collect();
            let step = Step { g, node, index, outputs, needed };
            g.scoped("gradients", || in_scope_of(g, &scope_of(node), || inputs_of(&step)))?
        } else {
            vec![None; node.inputs.len()]
        };
        for (input, gradient) in node.inputs.iter().zip(inputs) {
            if let Some(gradient) = gradient.filter(|_| tape.is_watched(input)) {
                received.entry(key(input)).or_default().push(gradient);
            }
            tape.used(input);
        }
    }
    let result = |tensor: &TensorRef| {
        let parts = received.get(&key(tensor)).filter(|parts| !parts.is_empty()).cloned();
        parts.map(|parts| slices::sum(g, parts)).transpose()
    };
    wrt.iter().map(result).collect()
}

/// The gradients with respect to the inputs of a node; its name tells the layer where there is no rule.
fn inputs_of(step: &Step<'_>) -> Result<Vec<Option<Gradient>>> {
    let Op::Named(op) = step.node.op else { return Ok(vec![None; step.node.inputs.len()]) };
    let Some(rule) = table::rule(op) else {
        refuse!("it cannot be trained: the gradient of the op `{op}` (node `{}`) is not known", step.node.name)
    };
    let mut gradients = rule(step).map_err(|reason| Reason::new(format!("the gradient of `{op}`: {reason}")))?;
    gradients.resize(step.node.inputs.len(), None);
    Ok(gradients)
}

/// A name in the scope of the nodes that compute the gradient of a node. TensorFlow sorts the parts of a sum by the
/// names of their nodes, and so the roundings depend on the names, which are made as Python makes them: operators have
/// a scope of their own.
fn scope_of(node: &Node) -> String {
    let (scope, name) = node.name.rsplit_once('/').map_or(("", node.name.as_str()), |(scope, name)| (scope, name));
    let own = match node.op {
        Op::Named("Mul") => name.replacen("Mul", "mul", 1),
        Op::Named("Sub") => name.replacen("Sub", "sub", 1),
        Op::Named("AddV2") => name.replacen("AddV2", "add", 1),
        Op::Named("RealDiv") => name.replacen("RealDiv", "truediv", 1),
        Op::Named("Pow") => name.replacen("Pow", "pow", 1),
        Op::Named("MatMul" | "BiasAdd" | "Abs") => name.to_owned(),
        _ => return node.name.clone(),
    };
    format!("{scope}/{own}/{name}")
}

/// Adds nodes in the scope of a node of this name.
pub(super) fn in_scope_of<T>(g: &Graph, name: &str, build: impl FnOnce() -> T) -> T {
    let scopes: Vec<&str> = name
        .rsplit_once('/')
        .map_or(Vec::new(), |(scopes, _)| scopes.split('/').filter(|scope| !scope.is_empty()).collect());
    scoped_all(g, &scopes, build)
}

fn scoped_all<T>(g: &Graph, scopes: &[&str], build: impl FnOnce() -> T) -> T {
    match scopes {
        [] => build(),
        [first, rest @ ..] => g.scoped(first, || scoped_all(g, rest, build)),
    }
}

/// Whether tensors of a dtype have gradients: numbers that are not integers, and lists of them.
fn has_gradient(dtype: DType) -> bool {
    dtype.is_floating() || matches!(dtype, DType::Complex64 | DType::Complex128 | DType::Variant)
}

fn key(tensor: &TensorRef) -> Key {
    (tensor.node, tensor.output)
}

/// The order in which gradients are computed: that of TensorFlow's tape.
struct Tape {
    /// Floating tensors that depend on the sources.
    watched: HashSet<Key>,
    /// Of each node whose gradient is needed, how many of its outputs still wait for their gradients.
    missing: HashMap<usize, usize>,
    /// Of each tensor, the uses whose gradients are still to come.
    uses: HashMap<Key, usize>,
    sources: HashSet<Key>,
    ready: VecDeque<usize>,
}

impl Tape {
    fn new(nodes: &[Node], targets: &[(TensorRef, TensorRef)], sources: &HashSet<Key>) -> Self {
        let mut watched = sources.clone();
        for (index, node) in nodes.iter().enumerate() {
            if node.inputs.iter().any(|input| watched.contains(&key(input))) {
                let outputs = node.outputs.iter().enumerate().filter(|(_, (dtype, _))| has_gradient(*dtype));
                watched.extend(outputs.map(|(output, _)| (index, output)));
            }
        }
        let mut tape = Self {
            watched,
            missing: HashMap::new(),
            uses: HashMap::new(),
            sources: sources.clone(),
            ready: VecDeque::new(),
        };
        let mut reached: Vec<usize> = Vec::new();
        let mut known = HashSet::new();
        let mut stack: Vec<Key> = targets.iter().map(|(target, _)| key(target)).collect();
        while let Some(tensor) = stack.pop() {
            if !tape.is_computed(tensor) || !known.insert(tensor.0) {
                continue;
            }
            reached.push(tensor.0);
            for input in nodes[tensor.0].inputs.iter().map(key) {
                if tape.watched.contains(&input) {
                    let uses = tape.uses.entry(input).or_default();
                    *uses += 1;
                    if *uses == 1 {
                        stack.push(input);
                    }
                }
            }
        }
        for tensor in tape.uses.keys() {
            if tape.is_computed(*tensor) {
                *tape.missing.entry(tensor.0).or_default() += 1;
            }
        }
        // Only the nodes of targets wait for nothing.
        tape.ready = reached.into_iter().filter(|node| !tape.missing.contains_key(node)).collect();
        tape
    }

    fn is_watched(&self, tensor: &TensorRef) -> bool {
        self.watched.contains(&key(tensor))
    }

    /// Whether a tensor depends on the sources and is none of them.
    fn is_computed(&self, tensor: Key) -> bool {
        self.watched.contains(&tensor) && !self.sources.contains(&tensor)
    }

    fn next(&mut self) -> Option<usize> {
        self.ready.pop_front()
    }

    /// Counts a use of a tensor whose gradient has been computed.
    fn used(&mut self, tensor: &TensorRef) {
        let tensor = key(tensor);
        let Some(uses) = self.uses.get_mut(&tensor) else { return };
        *uses = uses.saturating_sub(1);
        if *uses > 0 || !self.is_computed(tensor) {
            return;
        }
        if let Some(missing) = self.missing.get_mut(&tensor.0) {
            *missing = missing.saturating_sub(1);
            if *missing == 0 {
                self.ready.push_back(tensor.0);
            }
        }
    }
}
