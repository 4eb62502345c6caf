//! The object graph of TensorFlow 2, from which Python's `tf.saved_model.load` builds its objects, and the object graph
//! in the checkpoint, which has the key of each object's value.
//!
//! Both are trees with cross-references: nodes with named children by node id, the root first. Sources:
//! `tensorflow/core/protobuf/{saved_object_graph,trackable_object_graph}.proto`,
//! `tensorflow/python/saved_model/load.py`.

use std::collections::{BTreeMap, HashMap};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::saved_object_graph::saved_object::Kind;

use crate::graph::{Graph, arguments, is_control, node_of};

/// The attribute of a variable's node in the checkpoint's object graph.
pub(crate) const VARIABLE_VALUE: &str = "VARIABLE_VALUE";

/// The two object graphs of a model.
pub(crate) struct Objects<'a> {
    pub(crate) saved: &'a pb::SavedObjectGraph,
    pub(crate) tracked: &'a pb::TrackableObjectGraph,
    /// The counterpart in the second graph for each node of the first.
    pub(crate) pairs: BTreeMap<usize, usize>,
    pub(crate) assets: &'a [pb::AssetFileDef],
}

impl<'a> Objects<'a> {
    /// # Errors
    /// A sentence, if a node refers to a missing node.
    pub(crate) fn new(definition: &'a pb::MetaGraphDef, tracked: &'a pb::TrackableObjectGraph) -> Result<Self, String> {
        let saved = definition.object_graph_def.get_or_default();
        check(saved, tracked)?;
        let mut objects = Self { saved, tracked, pairs: BTreeMap::new(), assets: &definition.asset_file_def };
        objects.pair();
        Ok(objects)
    }

    /// Pairs the nodes with the same path in both graphs.
    fn pair(&mut self) {
        if self.saved.nodes.is_empty() || self.tracked.nodes.is_empty() {
            return;
        }
        let mut todo = vec![(0, 0)];
        while let Some((saved, tracked)) = todo.pop() {
            if self.pairs.contains_key(&saved) {
                continue;
            }
            self.pairs.insert(saved, tracked);
            let others = &self.tracked.nodes[tracked].children;
            let others: HashMap<&str, i32> =
                others.iter().map(|child| (child.local_name.as_str(), child.node_id)).collect();
            let same = self.saved.nodes[saved]
                .children
                .iter()
                .filter_map(|child| Some((child.node_id, *others.get(&*child.local_name)?)));
            todo.extend(same.map(|(saved, tracked)| (node_index(saved), node_index(tracked))));
        }
        // An optimizer's slots are not children.
        let pairs = self.pairs.clone();
        for (saved, tracked) in pairs {
            for slot in &self.saved.nodes[saved].slot_variables {
                let original = self.pairs.get(&node_index(slot.original_variable_node_id)).copied();
                let mut others = self.tracked.nodes[tracked].slot_variables.iter();
                let other = others.find(|other| {
                    other.slot_name == slot.slot_name && Some(node_index(other.original_variable_node_id)) == original
                });
                if let Some(other) = other {
                    self.pairs
                        .entry(node_index(slot.slot_variable_node_id))
                        .or_insert(node_index(other.slot_variable_node_id));
                }
            }
        }
    }

    /// The nodes at the top of the graph that hold variables, with their keys in the checkpoint, for each variable that
    /// a call at the top passes to a function of these objects. Captured variables are the last arguments of a
    /// function.
    pub(crate) fn captured(&self, graph: &Graph<'a>) -> Vec<(&'a str, &'a str)> {
        let mut found = Vec::new();
        for node in graph.nodes {
            let function = arguments(node, graph).and_then(|call| call.functions.first().copied());
            let function = function.and_then(|name| self.saved.concrete_functions.get(name));
            let Some(bound) = function.map(|function| &function.bound_inputs) else { continue };
            let inputs = node.input.iter().filter(|input| !is_control(input)).count();
            let captured = node.input.iter().take(inputs).skip(inputs.saturating_sub(bound.len()));
            for (input, id) in captured.zip(bound) {
                found.extend(self.key(node_index(*id)).map(|key| (node_of(input), key)));
            }
        }
        found
    }

    /// The checkpoint's key of a variable's node.
    pub(crate) fn key(&self, node: usize) -> Option<&'a str> {
        let attributes = &self.tracked.nodes[*self.pairs.get(&node)?].attributes;
        attributes
            .iter()
            .find(|attribute| attribute.name == VARIABLE_VALUE)
            .map(|attribute| attribute.checkpoint_key.as_str())
    }

    pub(crate) fn functions(&self, node: usize) -> &'a [String] {
        match &self.saved.nodes[node].kind {
            Some(Kind::Function(function)) => &function.concrete_functions,
            Some(Kind::BareConcreteFunction(function)) => std::slice::from_ref(&function.concrete_function_name),
            _ => &[],
        }
    }
}

/// A node id as an index. All of them were checked.
pub(crate) fn node_index(id: i32) -> usize {
    usize::try_from(id).unwrap_or_default()
}

/// Checks that every node id exists.
fn check(saved: &pb::SavedObjectGraph, tracked: &pb::TrackableObjectGraph) -> Result<(), String> {
    let inside = |id: i32, count: usize| usize::try_from(id).is_ok_and(|id| id < count);
    let count = saved.nodes.len();
    let bound = saved.concrete_functions.values().flat_map(|function| &function.bound_inputs).copied();
    let of_object = |object: &pb::SavedObject| {
        let references = object.children.iter().chain(&object.dependencies).map(|reference| reference.node_id);
        let slots =
            object.slot_variables.iter().flat_map(|slot| [slot.original_variable_node_id, slot.slot_variable_node_id]);
        let saveables = object.saveable_objects.values().flat_map(|it| [it.save_function, it.restore_function]);
        references.chain(slots).chain(saveables).collect::<Vec<i32>>()
    };
    if !bound.chain(saved.nodes.iter().flat_map(of_object)).all(|id| inside(id, count)) {
        return Err("its object graph refers to an object that is not there".into());
    }
    let count = tracked.nodes.len();
    let whole = tracked.nodes.iter().all(|object| {
        object.children.iter().all(|child| inside(child.node_id, count))
            && object
                .slot_variables
                .iter()
                .all(|slot| inside(slot.original_variable_node_id, count) && inside(slot.slot_variable_node_id, count))
    });
    if whole { Ok(()) } else { Err("the object graph of its checkpoint refers to an object that is not there".into()) }
}
