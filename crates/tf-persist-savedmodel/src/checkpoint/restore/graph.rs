//! The object graph of a checkpoint, by which TensorFlow 2 knows the owner of each tensor.
//!
//! Source: `tensorflow/core/protobuf/trackable_object_graph.proto`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tf_persist_proto::wire::{Value, WireError, try_fields};

use crate::checkpoint::{CheckpointIndex, CheckpointReader, OBJECT_GRAPH_KEY};
use crate::dtype::DType;
use crate::error::{Error, Result};

/// An object takes some tens of bytes: a graph of this size would have a million objects.
const MAX_GRAPH_BYTES: u64 = 64 << 20;

/// The suffixes of the keys of a table's tensors.
pub(super) const TABLE_ENDS: [&str; 2] = ["-keys", "-values"];

/// The objects of a checkpoint. The first is the root, and every node id is the index of an object.
pub(super) struct ObjectGraph {
    nodes: Vec<Node>,
}

/// An object: a layer, a list, a variable.
#[derive(Default)]
pub(super) struct Node {
    /// Attributes of the object: names and objects. Sorted.
    pub(super) children: Vec<(String, usize)>,
    /// The tensors of the object, sorted by attribute.
    pub(super) tensors: Vec<Saved>,
    /// An optimizer's slots: the original variable, the name of the slot, and the slot's variable. Sorted.
    pub(super) slots: Vec<(usize, String, usize)>,
}

/// A tensor of an object.
#[derive(Default)]
pub(super) struct Saved {
    /// The attribute of the object: `VARIABLE_VALUE`, or `table-keys` and `table-values`.
    name: String,
    /// The name of the variable in Python. It may be empty, and need not be unique.
    pub(super) full_name: String,
    /// Its key in the checkpoint.
    pub(super) key: String,
}

/// The serialized `TrackableObjectGraph` of a checkpoint; `None` for checkpoints of TensorFlow 1, which have none.
///
/// # Errors
/// [`Error::Damaged`] if it cannot be read, [`Error::Unsupported`] if it is above the limit.
fn object_graph(checkpoint: &CheckpointReader) -> Result<Option<Vec<u8>>> {
    let Some(entry) = checkpoint.index().get(OBJECT_GRAPH_KEY) else { return Ok(None) };
    if entry.bytes() > MAX_GRAPH_BYTES {
        let path = checkpoint.index().prefix.clone();
        let reason = format!("its object graph has {} bytes, and the limit is {MAX_GRAPH_BYTES}", entry.bytes());
        return Err(Error::Unsupported { path, reason, hint: None });
    }
    if entry.dtype != DType::String || !entry.shape.is_empty() {
        let reason = format!("it is {} of shape {:?}, not a string", entry.dtype, entry.shape);
        return Err(damaged(checkpoint, &reason));
    }
    let tensor = checkpoint.read(OBJECT_GRAPH_KEY)?;
    Ok(Some(tensor.strings()?.get(0).unwrap_or_default().to_vec()))
}

/// The object graph in a checkpoint of TensorFlow 2, decoded.
pub(crate) fn tracked_objects(
    reader: &CheckpointReader,
) -> Result<Option<tf_persist_proto::tensorflow::TrackableObjectGraph>> {
    let Some(message) = object_graph(reader)? else { return Ok(None) };
    let graph = tf_persist_proto::parse(&message.into());
    graph.map(Some).map_err(|error| damaged(reader, &error.to_string()))
}

/// The error of an invalid object graph.
pub(super) fn damaged(checkpoint: &CheckpointReader, reason: &str) -> Error {
    Error::damaged(&checkpoint.index().prefix, format!("its object graph: {reason}"))
}

impl ObjectGraph {
    /// The object graph of a checkpoint; `None` for checkpoints of TensorFlow 1, which have none.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be read, [`Error::Unsupported`] if it is above the limit.
    pub(super) fn read(checkpoint: &CheckpointReader) -> Result<Option<Self>> {
        let Some(message) = object_graph(checkpoint)? else { return Ok(None) };
        let mut graph = Self::parse(&message).map_err(|reason| damaged(checkpoint, &reason))?;
        graph.nodes.iter_mut().for_each(|node| node.split_tables(checkpoint.index()));
        Ok(Some(graph))
    }

    /// Parses a `TrackableObjectGraph`.
    fn parse(message: &[u8]) -> Result<Self, String> {
        let mut nodes = Vec::new();
        for field in try_fields(message) {
            if let (1, Value::Bytes(message)) = field.map_err(text)? {
                nodes.push(Node::read(message)?);
            }
        }
        let count = nodes.len();
        if count == 0 {
            return Err("it has no objects".into());
        }
        let numbers = nodes.iter().flat_map(|node: &Node| {
            let slots = node.slots.iter().flat_map(|(original, _, slot)| [*original, *slot]);
            node.children.iter().map(|(_, child)| *child).chain(slots)
        });
        match numbers.into_iter().find(|number| *number >= count) {
            Some(number) => Err(format!("it refers to object {number} and has {count}")),
            None => Ok(Self { nodes }),
        }
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// The object at the end of a path from the root, such as `generator` or `gan.generator`.
    pub(super) fn find(&self, way: &str) -> Option<usize> {
        way.split(['.', '/']).try_fold(0, |node, name| self.nodes[node].child(name))
    }

    /// The tensors of an object and of all objects below it.
    pub(super) fn tensors_below(&self, start: usize) -> impl Iterator<Item = &Saved> {
        let mut reached = BTreeSet::from([start]);
        let mut queue = VecDeque::from([start]);
        while let Some(number) = queue.pop_front() {
            let new =
                self.nodes[number].children.iter().map(|(_, child)| *child).filter(|child| reached.insert(*child));
            queue.extend(new.collect::<Vec<_>>());
        }
        reached.into_iter().flat_map(|number| &self.nodes[number].tensors)
    }
}

impl ObjectGraph {
    /// The names of the tensors of an object and of all objects below it, by their keys.
    pub(super) fn names_below(&self, start: usize) -> BTreeMap<&str, &str> {
        self.tensors_below(start).map(|saved| (saved.key.as_str(), saved.full_name.as_str())).collect()
    }
}

impl Node {
    fn read(message: &[u8]) -> Result<Self, String> {
        let mut node = Self::default();
        for field in try_fields(message) {
            match field.map_err(text)? {
                (1, Value::Bytes(message)) => {
                    let (mut number, mut name) = (0, String::new());
                    for field in try_fields(message) {
                        match field.map_err(text)? {
                            (1, Value::Varint(value)) => number = index(value),
                            (2, value) => name = value.text().to_owned(),
                            _ => {}
                        }
                    }
                    node.children.push((name, number));
                }
                (2, Value::Bytes(message)) => {
                    let mut saved = Saved::default();
                    for field in try_fields(message) {
                        match field.map_err(text)? {
                            (1, value) => saved.name = value.text().to_owned(),
                            (2, value) => saved.full_name = value.text().to_owned(),
                            (3, value) => saved.key = value.text().to_owned(),
                            _ => {}
                        }
                    }
                    node.tensors.push(saved);
                }
                (3, Value::Bytes(message)) => {
                    let (mut original, mut name, mut slot) = (0, String::new(), 0);
                    for field in try_fields(message) {
                        match field.map_err(text)? {
                            (1, Value::Varint(value)) => original = index(value),
                            (2, value) => name = value.text().to_owned(),
                            (3, Value::Varint(value)) => slot = index(value),
                            _ => {}
                        }
                    }
                    node.slots.push((original, name, slot));
                }
                _ => {}
            }
        }
        node.children.sort();
        node.slots.sort();
        node.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(node)
    }

    /// A table is one attribute of its object, `…/table`, and two tensors of the checkpoint, `…/table-keys` and
    /// `…/table-values`.
    fn split_tables(&mut self, index: &CheckpointIndex) {
        let parts = |saved: Saved| -> Vec<Saved> {
            let part = |end: &str| Saved {
                name: format!("{}{end}", saved.name),
                full_name: if saved.full_name.is_empty() { String::new() } else { format!("{}{end}", saved.full_name) },
                key: format!("{}{end}", saved.key),
            };
            let both = TABLE_ENDS.map(part);
            let is_table = index.get(&saved.key).is_none() && both.iter().all(|part| index.get(&part.key).is_some());
            if is_table { both.into() } else { vec![saved] }
        };
        self.tensors = std::mem::take(&mut self.tensors).into_iter().flat_map(parts).collect();
        self.tensors.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// The value of a variable.
    pub(super) fn value(&self) -> Option<&Saved> {
        self.tensor("VARIABLE_VALUE")
    }

    pub(super) fn child(&self, name: &str) -> Option<usize> {
        let first = self.children.partition_point(|(child, _)| child.as_str() < name);
        self.children.get(first).filter(|(child, _)| child == name).map(|(_, number)| *number)
    }

    fn tensor(&self, name: &str) -> Option<&Saved> {
        let first = self.tensors.partition_point(|saved| saved.name.as_str() < name);
        self.tensors.get(first).filter(|saved| saved.name == name)
    }

    fn slot(&self, original: usize, name: &str) -> Option<usize> {
        let first = self.slots.partition_point(|(of, slot, _)| (*of, slot.as_str()) < (original, name));
        let found = self.slots.get(first).filter(|(of, slot, _)| *of == original && slot == name);
        found.map(|(_, _, number)| *number)
    }
}

/// Keys of one graph, each with the corresponding key of the other.
pub(super) type Keys = BTreeMap<String, String>;

/// Walks two graphs side by side from an object of each, along children of the same names, as TensorFlow does when it
/// restores; then to the slots that paired optimizers keep of paired variables. Returns the keys of the first graph
/// with those of the second, or the key of the first graph that has two.
pub(super) fn walk(ours: &ObjectGraph, theirs: &ObjectGraph, start: (usize, usize)) -> Result<Keys, Conflict> {
    let mut paired: BTreeMap<usize, usize> = BTreeMap::new();
    let mut keys = Keys::new();
    let mut queue = VecDeque::from([start]);
    // A second round for the slots of optimizers.
    for _ in 0..2 {
        while let Some((our, their)) = queue.pop_front() {
            let (our_node, their_node) = (ours.node(our), theirs.node(their));
            if let Some(before) = paired.get(&our) {
                // A list may be found on two paths; a variable has one key.
                let other = &theirs.node(*before).tensors;
                if *before != their
                    && let (Some(ours), Some(one), Some(two)) =
                        (our_node.tensors.first(), other.first(), their_node.tensors.first())
                {
                    return Err(Conflict { key: ours.key.clone(), candidates: vec![one.key.clone(), two.key.clone()] });
                }
                continue;
            }
            paired.insert(our, their);
            for saved in &our_node.tensors {
                if let Some(same) = their_node.tensor(&saved.name) {
                    keys.insert(saved.key.clone(), same.key.clone());
                }
            }
            let children = our_node.children.iter();
            queue.extend(children.filter_map(|(name, our)| Some((*our, their_node.child(name)?))));
        }
        for (our, their) in &paired {
            for (original, name, slot) in &ours.node(*our).slots {
                let original = paired.get(original);
                let same = original.and_then(|original| theirs.node(*their).slot(*original, name));
                if let Some(same) = same.filter(|_| !paired.contains_key(slot)) {
                    queue.push_back((*slot, same));
                }
            }
        }
    }
    Ok(keys)
}

/// A variable of a model to which several variables of the checkpoint correspond.
pub(super) struct Conflict {
    pub(super) key: String,
    pub(super) candidates: Vec<String>,
}

/// A node id as an index; `None` if it is negative.
fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn text(error: WireError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::testing::{delimited, number};

    fn child(name: &str, node: u64) -> Vec<u8> {
        let mut reference = Vec::new();
        number(&mut reference, 1, node);
        delimited(&mut reference, 2, name.as_bytes());
        let mut message = Vec::new();
        delimited(&mut message, 1, &reference);
        message
    }

    fn graph(nodes: &[Vec<u8>]) -> Vec<u8> {
        let mut message = Vec::new();
        nodes.iter().for_each(|node| delimited(&mut message, 1, node));
        message
    }

    #[test]
    fn refuses_what_is_no_object_graph() {
        let reason = |message: &[u8]| ObjectGraph::parse(message).err().unwrap();
        assert_eq!(reason(b""), "it has no objects");
        assert_eq!(reason(&graph(&[child("a", 7)])), "it refers to object 7 and has 1");
        assert!(reason(&graph(&[child("a", u64::MAX)])).starts_with("it refers to object"));
        assert!(reason(&[0x0a, 9, 1]).contains("beyond the end of the data"));
    }

    #[test]
    fn a_graph_that_goes_round_ends() {
        let message = graph(&[[child("a", 1), child("self", 0)].concat(), child("up", 0)]);
        let graph = ObjectGraph::parse(&message).unwrap();
        assert_eq!(graph.find("a.up.a"), Some(1));
        assert_eq!(graph.find("a/b"), None);
        assert_eq!(graph.tensors_below(0).count(), 0);
        assert!(walk(&graph, &graph, (0, 0)).ok().unwrap().is_empty());
    }
}
