//! Hashes of nodes by what they compute, independent of names and order.
//!
//! A node's hash combines its op, its attributes and the hashes of its inputs. Two nodes have equal hashes if and only
//! if everything that they depend on is equal. Nodes of a loop depend on themselves; the recursion ends at
//! `NextIteration`, which is part of every loop of TensorFlow, or anywhere in a graph that TensorFlow did not make.

use std::collections::{BTreeMap, HashMap};

use crate::graph::view::{AttrView, Content, NamedFunction, NodeView, source};
use crate::ops::variable_kind;
use sha2::{Digest, Sha256};

/// Half a SHA-256.
pub(super) type Hash = [u8; 16];

/// Attributes that do not affect the computation: colocation, numbers that are drawn for an export, the configuration
/// of the machine (TensorFlow's own fingerprint leaves `config_proto` out as well), and names that the author chose.
const IGNORED: [&str; 6] =
    ["_class", "_construction_context", "_gradient_op_type", "_user_specified_name", "api_implements", "config_proto"];

/// The attribute by which nodes share a resource.
const SHARED_NAME: &str = "shared_name";

/// Combines parts into a hash. Different lists of parts are never confused.
pub(super) struct Parts(Sha256);

impl Parts {
    pub(super) fn new(kind: &str) -> Self {
        Self(Sha256::new()).and(kind.as_bytes())
    }

    pub(super) fn and(mut self, part: &[u8]) -> Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds hashes whose order does not matter.
    pub(super) fn and_all(self, mut hashes: Vec<Hash>) -> Self {
        hashes.sort_unstable();
        self.and(hashes.as_flattened())
    }

    pub(super) fn hash(self) -> Hash {
        let mut hash = [0; 16];
        hash.copy_from_slice(&self.0.finalize()[..16]);
        hash
    }
}

/// The identity of a function in a call: its contents or its name; `None` if there is no such function.
pub(super) type Known<'f> = dyn Fn(&str) -> Option<Vec<u8>> + 'f;

/// The hash of a node by itself: op, device and attributes.
pub(super) fn own(node: &NodeView<'_>, known: &Known<'_>) -> Hash {
    let mut parts =
        Parts::new("node").and(&known(node.op).unwrap_or_else(|| node.op.into())).and(node.device().as_bytes());
    // Sorted by name. A later entry replaces an earlier one.
    let all: BTreeMap<&str, AttrView<'_>> = node.attrs().map(|attr| (attr.name(), attr)).collect();
    for (name, attr) in &all {
        if *name != SHARED_NAME && !IGNORED.contains(name) {
            parts = parts.and(name.as_bytes()).and(&attribute(*attr, known));
        }
    }
    let shared_name = all.get(SHARED_NAME).and_then(|attr| attr.bytes()).unwrap_or_default();
    match node.op {
        op if variable_kind(op).is_some() => {
            parts = parts.and(if shared_name.is_empty() { node.name.as_bytes() } else { shared_name });
        }
        // Each placeholder is a different input.
        op if op.starts_with("Placeholder") => parts = parts.and(node.name.as_bytes()),
        // Every export numbers tables and similar resources anew.
        _ => parts = parts.and(&without_numbers(shared_name)),
    }
    parts.hash()
}

/// The hash of an attribute. Functions in it count by their identity; the order of their attributes does not count.
fn attribute(attr: AttrView<'_>, known: &Known<'_>) -> Hash {
    let mut parts = Parts::new("attribute");
    let content = |parts: Parts, (number, content): (u32, Content<'_>)| match content {
        Content::Number(value) => parts.and(&number.to_le_bytes()).and(&value.to_le_bytes()),
        Content::Bytes(bytes) => parts.and(&number.to_le_bytes()).and(&bytes),
    };
    for each in attr.functions() {
        parts = parts.and(&function(each, known));
    }
    if attr.is_list() {
        parts = attr.elements().fold(parts.and(b"list"), content);
    } else if !attr.is_function() {
        parts = attr.content().into_iter().fold(parts, content);
    }
    parts.hash()
}

/// The hash of a function with attributes. Opening the file limited the nesting depth.
fn function(function: NamedFunction<'_>, known: &Known<'_>) -> Hash {
    let attrs = function.attrs().filter(|attr| !IGNORED.contains(&attr.name())).map(|attr| (attr.name(), attr));
    let attrs: BTreeMap<&str, AttrView<'_>> = attrs.collect();
    let entry = |(name, attr): (&str, AttrView<'_>)| {
        Parts::new("entry").and(name.as_bytes()).and(&attribute(attr, known)).hash()
    };
    let all = attrs.into_iter().map(entry).collect();
    Parts::new("function").and(&known(function.name).unwrap_or_else(|| function.name.into())).and_all(all).hash()
}

/// A name with each run of digits replaced by one character.
fn without_numbers(name: &[u8]) -> Vec<u8> {
    let mut short: Vec<u8> = name.iter().map(|byte| if byte.is_ascii_digit() { b'#' } else { *byte }).collect();
    short.dedup_by(|a, b| (*a, *b) == (b'#', b'#'));
    short
}

/// The hash of each node with everything that it depends on.
///
/// `own` are the hashes of nodes by themselves. `given` replaces the hashes of sources: arguments of a function,
/// tensors that are fed.
pub(super) fn whole(nodes: &[NodeView<'_>], own: &[Hash], given: &HashMap<&str, Hash>) -> Vec<Hash> {
    let indices: HashMap<&str, usize> = nodes.iter().enumerate().map(|(index, node)| (node.name, index)).collect();
    let ends_at = |name: &str| given.contains_key(name);
    let sources = |node: &NodeView<'_>| -> Vec<usize> {
        let names = node.inputs().map(|input| source(input).0).filter(|name| !ends_at(name));
        let found = names.filter_map(|name| indices.get(name).copied());
        found.filter(|index| nodes[*index].op != "NextIteration").collect()
    };
    let mut waiting: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        let sources = sources(node);
        waiting.push(sources.len());
        sources.into_iter().for_each(|source| users[source].push(index));
    }
    let mut hashes: Vec<Option<Hash>> = vec![None; nodes.len()];
    let mut ready: Vec<usize> = (0..nodes.len()).filter(|index| waiting[*index] == 0).collect();
    let combine = |index: usize, hashes: &[Option<Hash>]| {
        let (mut parts, mut control) = (Parts::new("whole").and(&own[index]), Vec::new());
        for input in nodes[index].inputs() {
            let (name, output) = source(input);
            let index = indices.get(name);
            let known = given.get(name).copied().or_else(|| index.map(|index| hashes[*index].unwrap_or(own[*index])));
            // A source that does not exist counts by its name.
            let hash = known.unwrap_or_else(|| Parts::new("unknown").and(name.as_bytes()).hash());
            match output {
                Some(output) => parts = parts.and(&hash).and(output.as_bytes()),
                None => control.push(hash),
            }
        }
        parts.and_all(control).hash()
    };
    while let Some(index) = ready.pop() {
        hashes[index] = Some(combine(index, &hashes));
        for user in &users[index] {
            waiting[*user] -= 1;
            if waiting[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    // The rest is cyclic.
    let left: Vec<(usize, Hash)> = (0..nodes.len())
        .filter(|index| hashes[*index].is_none())
        .map(|index| (index, combine(index, &hashes)))
        .collect();
    for (index, hash) in left {
        hashes[index] = Some(hash);
    }
    hashes.into_iter().zip(own).map(|(hash, own)| hash.unwrap_or(*own)).collect()
}
