//! Prunes the two object graphs to some of the signatures.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::saved_object_graph::saved_object::Kind;

use super::signatures::Kept;
use crate::graph::{Graph, Reachable};
use crate::saved_model::objects::{Objects, node_index};
use crate::saved_model::restored::Restored;

/// The kind of object that holds the signatures (`signature_serialization._SignatureMap`).
const SIGNATURE_MAP: &str = "signature_map";

impl Objects<'_> {
    /// Adds to `reach` what the objects of reached functions need. Returns the nodes of these objects.
    pub(super) fn require(&self, graph: &Graph<'_>, restored: &[Restored], reach: &mut Reachable) -> BTreeSet<usize> {
        let holders: HashMap<&str, &str> = restored
            .iter()
            .flat_map(|item| item.tensors.iter().map(|tensor| (tensor.key.as_str(), item.holder.as_str())))
            .collect();
        let mut required = BTreeSet::new();
        loop {
            let mut todo: Vec<usize> = Vec::new();
            for (name, function) in &self.saved.concrete_functions {
                if reach.functions().contains(name) {
                    todo.extend(function.bound_inputs.iter().map(|id| node_index(*id)));
                }
            }
            let mut is_new = false;
            while let Some(node) = todo.pop() {
                let object = &self.saved.nodes[node];
                let children = object.children.iter().map(|child| node_index(child.node_id));
                is_new |= required.insert(node);
                match &object.kind {
                    Some(Kind::Variable(_)) => {
                        let holder = self.key(node).and_then(|key| holders.get(key).copied());
                        is_new |= holder.is_some_and(|holder| reach.add_nodes(graph, [holder]));
                    }
                    Some(Kind::Constant(constant)) => is_new |= reach.add_nodes(graph, [&*constant.operation]),
                    Some(Kind::CapturedTensor(tensor)) => {
                        is_new |= reach.add_function(graph, &tensor.concrete_function)
                    }
                    Some(Kind::Asset(asset)) => {
                        let file =
                            usize::try_from(asset.asset_file_def_index).ok().and_then(|index| self.assets.get(index));
                        is_new |= file.is_some_and(|file| reach.add_nodes(graph, [file.tensor_info.name()]));
                    }
                    // Its children create and fill it.
                    Some(Kind::Resource(_)) => {
                        for child in children.filter(|child| !self.functions(*child).is_empty()) {
                            is_new |= required.insert(child);
                            for function in self.functions(child) {
                                is_new |= reach.add_function(graph, function);
                            }
                        }
                    }
                    _ => {}
                }
                for saveable in object.saveable_objects.values() {
                    for node in [saveable.save_function, saveable.restore_function].map(node_index) {
                        is_new |= required.insert(node);
                        for function in self.functions(node) {
                            is_new |= reach.add_function(graph, function);
                        }
                    }
                }
            }
            if !is_new {
                return required;
            }
        }
    }

    /// The nodes to keep: those of [`Objects::require`], variables and functions that are reached, and the nodes on the
    /// paths to them.
    pub(super) fn reached(
        &self,
        graph: &Graph<'_>,
        restored: &[Restored],
        reach: &Reachable,
        required: &BTreeSet<usize>,
    ) -> BTreeSet<usize> {
        let keys: BTreeSet<&str> = restored
            .iter()
            .filter(|item| reach.has(graph, &item.holder))
            .flat_map(|item| item.tensors.iter().map(|tensor| tensor.key.as_str()))
            .collect();
        let is_leaf = |node: &usize| match &self.saved.nodes[*node].kind {
            Some(Kind::Variable(_)) => self.key(*node).is_some_and(|key| keys.contains(key)),
            Some(Kind::Function(_) | Kind::BareConcreteFunction(_)) => {
                self.functions(*node).iter().any(|function| reach.functions().contains(function))
            }
            _ => false,
        };
        // Their ancestors.
        let mut parents: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (node, object) in self.saved.nodes.iter().enumerate() {
            for child in &object.children {
                parents.entry(node_index(child.node_id)).or_default().push(node);
            }
        }
        let mut live: BTreeSet<usize> = required.clone();
        live.extend((0..self.saved.nodes.len()).filter(is_leaf));
        // The children of a function are its captures, which other functions share: it is kept only if it is reached
        // itself.
        let holds = |node: &usize| {
            let kind = &self.saved.nodes[*node].kind;
            !matches!(kind, Some(Kind::Function(_) | Kind::BareConcreteFunction(_) | Kind::CapturedTensor(_)))
        };
        let mut todo: Vec<usize> = live.iter().copied().collect();
        while let Some(node) = todo.pop() {
            let above = parents.get(&node).into_iter().flatten().copied().filter(holds);
            todo.extend(above.filter(|parent| live.insert(*parent)));
        }
        // Of these, the descendants of the root.
        let mut kept = required.clone();
        let mut todo = vec![0];
        todo.extend(required);
        while let Some(node) = todo.pop() {
            kept.insert(node);
            let children = self.saved.nodes[node].children.iter().map(|child| node_index(child.node_id));
            todo.extend(children.filter(|child| live.contains(child) && !kept.contains(child)));
        }
        kept.extend(self.signature_map());
        kept
    }

    /// All nodes except those of removed signatures.
    pub(super) fn all_but_signatures(&self, signatures: &Kept) -> BTreeSet<usize> {
        let mut kept: BTreeSet<usize> = (0..self.saved.nodes.len()).collect();
        let Some(map) = self.signature_map() else { return kept };
        let gone = self.saved.nodes[map].children.iter().filter(|child| !signatures.contains_key(&child.local_name));
        for node in gone.map(|child| node_index(child.node_id)) {
            let mut others = self.saved.nodes.iter().enumerate().filter(|(other, _)| *other != map);
            if !others.any(|(_, other)| other.children.iter().any(|child| node_index(child.node_id) == node)) {
                kept.remove(&node);
            }
        }
        kept
    }

    fn signature_map(&self) -> Option<usize> {
        signature_map(self.saved)
    }

    /// The two graphs with these nodes alone, numbered anew, and the signatures under their new names. `has_function`
    /// says which functions the library still has, `assets` the new index of each of its files.
    pub(super) fn keep(
        &self,
        kept: &BTreeSet<usize>,
        signatures: &Kept,
        has_function: impl Fn(&str) -> bool,
        assets: &[Option<i32>],
    ) -> (pb::SavedObjectGraph, pb::TrackableObjectGraph) {
        let map = self.signature_map();
        // What names a function that is gone goes with it.
        let has = |name: &String| has_function(name) && self.saved.concrete_functions.contains_key(name);
        let kept: BTreeSet<usize> = kept
            .iter()
            .copied()
            .filter(|node| match &self.saved.nodes[*node].kind {
                Some(Kind::BareConcreteFunction(function)) => has(&function.concrete_function_name),
                _ => true,
            })
            .collect();
        let kept = &kept;
        let numbers = numbers(kept.iter().copied());
        let mut saved =
            pb::SavedObjectGraph { special_fields: self.saved.special_fields.clone(), ..Default::default() };
        for (name, function) in &self.saved.concrete_functions {
            let bound: Option<Vec<i32>> =
                function.bound_inputs.iter().map(|id| numbers.get(&node_index(*id)).copied()).collect();
            if let Some(bound_inputs) = bound.filter(|_| has_function(name)) {
                saved
                    .concrete_functions
                    .insert(name.clone(), pb::SavedConcreteFunction { bound_inputs, ..function.clone() });
            }
        }
        for node in kept {
            let mut object = self.saved.nodes[*node].clone();
            rename(&mut object.children, map == Some(*node), signatures);
            keep_references(&mut object.children, &numbers);
            keep_references(&mut object.dependencies, &numbers);
            keep_slots(&mut object.slot_variables, &numbers);
            object.saveable_objects.retain(|_, saveable| {
                let ids =
                    [saveable.save_function, saveable.restore_function].map(|id| numbers.get(&node_index(id)).copied());
                let [Some(save_function), Some(restore_function)] = ids else { return false };
                (saveable.save_function, saveable.restore_function) = (save_function, restore_function);
                true
            });
            match &mut object.kind {
                Some(Kind::Function(function)) => {
                    function.concrete_functions.retain(|name| saved.concrete_functions.contains_key(name));
                }
                Some(Kind::Asset(asset)) => {
                    let index = usize::try_from(asset.asset_file_def_index).ok();
                    let index = index.and_then(|index| assets.get(index).copied().flatten());
                    asset.asset_file_def_index = index.unwrap_or(asset.asset_file_def_index);
                }
                _ => {}
            }
            saved.nodes.push(object);
        }
        (saved, self.keep_tracked(kept, map, signatures))
    }

    fn keep_tracked(&self, kept: &BTreeSet<usize>, map: Option<usize>, signatures: &Kept) -> pb::TrackableObjectGraph {
        let mut tracked =
            pb::TrackableObjectGraph { special_fields: self.tracked.special_fields.clone(), ..Default::default() };
        let map = map.and_then(|map| self.pairs.get(&map)).copied();
        let indices: BTreeSet<usize> = kept.iter().filter_map(|node| self.pairs.get(node)).copied().collect();
        let numbers = numbers(indices.iter().copied());
        for node in &indices {
            let mut object = self.tracked.nodes[*node].clone();
            rename(&mut object.children, map == Some(*node), signatures);
            keep_references(&mut object.children, &numbers);
            keep_slots(&mut object.slot_variables, &numbers);
            tracked.nodes.push(object);
        }
        tracked
    }
}

/// The function of a signature in the object graph.
pub(super) fn function_of<'a>(saved: &'a pb::SavedObjectGraph, signature: &str) -> Option<&'a str> {
    let map = &saved.nodes[signature_map(saved)?];
    let child = map.children.iter().find(|child| child.local_name == signature)?;
    match &saved.nodes.get(node_index(child.node_id))?.kind {
        Some(Kind::BareConcreteFunction(function)) => Some(&function.concrete_function_name),
        Some(Kind::Function(function)) => function.concrete_functions.first().map(String::as_str),
        _ => None,
    }
}

/// The object that holds the signatures.
fn signature_map(saved: &pb::SavedObjectGraph) -> Option<usize> {
    let mut children = saved.nodes.first()?.children.iter().map(|child| node_index(child.node_id));
    children.find(|node| match saved.nodes.get(*node).and_then(|node| node.kind.as_ref()) {
        Some(Kind::UserObject(object)) => object.identifier == SIGNATURE_MAP,
        _ => false,
    })
}

type Reference = pb::trackable_object_graph::trackable_object_graph::trackable_object::ObjectReference;
type Slot = pb::trackable_object_graph::trackable_object_graph::trackable_object::SlotVariableReference;

fn numbers(kept: impl Iterator<Item = usize>) -> BTreeMap<usize, i32> {
    kept.zip(0..).collect()
}

fn rename(children: &mut Vec<Reference>, is_map: bool, signatures: &Kept) {
    if is_map {
        children.retain_mut(|child| {
            let Some(new) = signatures.get(&child.local_name) else { return false };
            child.local_name.clone_from(new);
            true
        });
    }
}

fn keep_references(references: &mut Vec<Reference>, numbers: &BTreeMap<usize, i32>) {
    references.retain_mut(|reference| match numbers.get(&node_index(reference.node_id)) {
        Some(number) => {
            reference.node_id = *number;
            true
        }
        None => false,
    });
}

fn keep_slots(slots: &mut Vec<Slot>, numbers: &BTreeMap<usize, i32>) {
    slots.retain_mut(|slot| {
        let ids = [slot.original_variable_node_id, slot.slot_variable_node_id]
            .map(|id| numbers.get(&node_index(id)).copied());
        let [Some(original), Some(variable)] = ids else { return false };
        (slot.original_variable_node_id, slot.slot_variable_node_id) = (original, variable);
        true
    });
}
