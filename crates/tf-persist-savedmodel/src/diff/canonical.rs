//! Hashes of nodes by what they compute, whatever they are called and wherever they stand.
//!
//! A node's hash is made of its operation, its attributes, and the hashes of what it is given: so two nodes have one hash if and
//! only if everything that they depend on is the same. Nodes of a loop depend on themselves; there the way ends at `NextIteration`,
//! through which every loop of TensorFlow goes, or, in a graph that no TensorFlow has made, anywhere.

use std::collections::{BTreeMap, HashMap};

use crate::graph::view::{AttrView, Content, FunctionRef, NodeView, source};
use crate::ops::variable_kind;
use sha2::{Digest, Sha256};

/// Half a SHA-256.
pub(super) type Hash = [u8; 16];

/// Attributes that say nothing of what is computed: where a node stands beside another, numbers that are drawn for an export, the
/// machine that it was made on (TensorFlow's own fingerprint leaves `config_proto` out as well), and what the author called it.
const IGNORED: [&str; 6] =
    ["_class", "_construction_context", "_gradient_op_type", "_user_specified_name", "api_implements", "config_proto"];

/// The attribute by which nodes share a resource.
const SHARED_NAME: &str = "shared_name";

/// Gathers parts into a hash; no two lists of parts are taken for each other.
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

    /// Hashes whose order means nothing.
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

/// What a function is known by where it is called: its contents, or its name; `None` for what is no function.
pub(super) type Known<'f> = dyn Fn(&str) -> Option<Vec<u8>> + 'f;

/// A node by itself: operation, device, attributes.
pub(super) fn own(node: &NodeView<'_>, known: &Known<'_>) -> Hash {
    let mut parts =
        Parts::new("node").and(&known(node.op).unwrap_or_else(|| node.op.into())).and(node.device().as_bytes());
    // In the order of their names; of two with one name the later one.
    let all: BTreeMap<&str, AttrView<'_>> = node.attrs().map(|attr| (attr.name, attr)).collect();
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
        // One stands for each input of who calls it.
        op if op.starts_with("Placeholder") => parts = parts.and(node.name.as_bytes()),
        // Tables and the like are given numbers anew by every export.
        _ => parts = parts.and(&without_numbers(shared_name)),
    }
    parts.hash()
}

/// What an attribute holds. Functions in it count as what they are known by, and the order of their attributes does not.
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

/// A function with its attributes. The depth to which they nest was limited when the file was opened.
fn function(function: FunctionRef<'_>, known: &Known<'_>) -> Hash {
    let attrs = function.attrs().filter(|attr| !IGNORED.contains(&attr.name)).map(|attr| (attr.name, attr));
    let attrs: BTreeMap<&str, AttrView<'_>> = attrs.collect();
    let entry = |(name, attr): (&str, AttrView<'_>)| {
        Parts::new("entry").and(name.as_bytes()).and(&attribute(attr, known)).hash()
    };
    let all = attrs.into_iter().map(entry).collect();
    Parts::new("function").and(&known(function.name).unwrap_or_else(|| function.name.into())).and_all(all).hash()
}

/// A name with its runs of digits made one sign.
fn without_numbers(name: &[u8]) -> Vec<u8> {
    let mut short: Vec<u8> = name.iter().map(|byte| if byte.is_ascii_digit() { b'#' } else { *byte }).collect();
    short.dedup_by(|a, b| (*a, *b) == (b'#', b'#'));
    short
}

/// The hash of each node with all that it depends on.
///
/// `own` are the nodes by themselves; `given` is what stands for a source instead of its own hash: of a function's arguments, of
/// tensors that are fed.
pub(super) fn whole(nodes: &[NodeView<'_>], own: &[Hash], given: &HashMap<&str, Hash>) -> Vec<Hash> {
    let places: HashMap<&str, usize> = nodes.iter().enumerate().map(|(place, node)| (node.name, place)).collect();
    let ends_at = |name: &str| given.contains_key(name);
    let sources = |node: &NodeView<'_>| -> Vec<usize> {
        let names = node.inputs().map(|input| source(input).0).filter(|name| !ends_at(name));
        names.filter_map(|name| places.get(name).copied()).filter(|place| nodes[*place].op != "NextIteration").collect()
    };
    let mut waiting: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (place, node) in nodes.iter().enumerate() {
        let sources = sources(node);
        waiting.push(sources.len());
        sources.into_iter().for_each(|source| users[source].push(place));
    }
    let mut hashes: Vec<Option<Hash>> = vec![None; nodes.len()];
    let mut ready: Vec<usize> = (0..nodes.len()).filter(|place| waiting[*place] == 0).collect();
    let combine = |place: usize, hashes: &[Option<Hash>]| {
        let (mut parts, mut control) = (Parts::new("whole").and(&own[place]), Vec::new());
        for input in nodes[place].inputs() {
            let (name, output) = source(input);
            let place = places.get(name);
            let known = given.get(name).copied().or_else(|| place.map(|place| hashes[*place].unwrap_or(own[*place])));
            // What no graph should name, counts by its name.
            let hash = known.unwrap_or_else(|| Parts::new("unknown").and(name.as_bytes()).hash());
            match output {
                Some(output) => parts = parts.and(&hash).and(output.as_bytes()),
                None => control.push(hash),
            }
        }
        parts.and_all(control).hash()
    };
    while let Some(place) = ready.pop() {
        hashes[place] = Some(combine(place, &hashes));
        for user in &users[place] {
            waiting[*user] -= 1;
            if waiting[*user] == 0 {
                ready.push(*user);
            }
        }
    }
    // What is left goes round in a circle.
    let left: Vec<(usize, Hash)> = (0..nodes.len())
        .filter(|place| hashes[*place].is_none())
        .map(|place| (place, combine(place, &hashes)))
        .collect();
    for (place, hash) in left {
        hashes[place] = Some(hash);
    }
    hashes.into_iter().zip(own).map(|(hash, own)| hash.unwrap_or(*own)).collect()
}
