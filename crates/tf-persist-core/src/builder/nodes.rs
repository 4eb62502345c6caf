//! The nodes of a graph by name, their dependencies, and free names.

use std::collections::{HashMap, HashSet};

use tf_persist_proto::tensorflow::{GraphDef, NodeDef};

use tf_persist_savedmodel::error::{Error, Result, TensorError, names};

/// The nodes of a graph, by name.
pub(super) struct Nodes<'g> {
    by_name: HashMap<&'g str, &'g NodeDef>,
    all: &'g [NodeDef],
}

impl<'g> Nodes<'g> {
    /// Fails if there are no nodes, or two with the same name.
    pub(super) fn new(graph: &'g GraphDef) -> Result<Self> {
        if graph.node.is_empty() {
            return Err(Error::data("the graph", "it has no operations"));
        }
        let mut by_name = HashMap::with_capacity(graph.node.len());
        for node in &graph.node {
            if by_name.insert(node.name.as_str(), node).is_some() {
                return Err(Error::data("the graph", format!("it has two operations `{}`", node.name)));
            }
        }
        Ok(Self { by_name, all: &graph.node })
    }

    /// All nodes, in the order of the graph, which is that of their creation.
    pub(super) fn all(&self) -> &'g [NodeDef] {
        self.all
    }

    pub(super) fn get(&self, name: &str) -> Option<&'g NodeDef> {
        self.by_name.get(name).copied()
    }

    /// The node with this name; `what` is named in the error.
    pub(super) fn required(&self, name: &str, what: impl FnOnce() -> String) -> Result<&'g NodeDef> {
        self.get(name).ok_or_else(|| {
            let placeholders = self.all.iter().filter(|node| is_placeholder(node)).map(|node| node.name.clone());
            Error::Tensor(TensorError::InvalidData {
                source_name: what(),
                reason: format!("the graph has no operation `{}`", name.escape_debug()),
                hint: Some(format!("its placeholders are {}", names(&placeholders.collect::<Vec<_>>())).into()),
            })
        })
    }

    /// The operations `from`, and every node that they depend on. Fed tensors end the search, and so do fed
    /// placeholders behind control inputs (`FeedInputs` in `tensorflow/core/graph/subgraph.cc`).
    pub(super) fn behind<'a>(&self, from: impl IntoIterator<Item = &'a str>, fed: &[(&str, u32)]) -> Vec<&'g NodeDef> {
        let mut waiting: Vec<&NodeDef> = from.into_iter().filter_map(|name| self.get(name)).collect();
        let mut seen: HashSet<&str> = waiting.iter().map(|node| node.name.as_str()).collect();
        let mut found = Vec::new();
        while let Some(node) = waiting.pop() {
            found.push(node);
            for input in &node.input {
                let (name, index) = split(input);
                let Some(next) = self.get(name) else { continue };
                let is_fed = match index {
                    Some(index) => fed.contains(&(name, index)),
                    None => is_placeholder(next) && fed.contains(&(name, 0)),
                };
                if !is_fed && seen.insert(&next.name) {
                    waiting.push(next);
                }
            }
        }
        found
    }
}

/// Splits an input of a node: `op`, `op:1`, or `^op`, which has no output.
pub(super) fn split(input: &str) -> (&str, Option<u32>) {
    match (input.strip_prefix('^'), input.rsplit_once(':')) {
        (Some(name), _) => (name, None),
        (None, Some((name, index))) => (name, index.parse().ok()),
        (None, None) => (input, Some(0)),
    }
}

/// Whether a node must be fed.
pub(super) fn is_placeholder(node: &NodeDef) -> bool {
    matches!(node.op.as_str(), "Placeholder" | "PlaceholderV2")
}

/// Names for nodes that are added to a graph.
pub(super) struct FreeNames(HashSet<String>);

impl FreeNames {
    pub(super) fn new(nodes: &Nodes<'_>) -> Self {
        Self(nodes.by_name.keys().map(|name| (*name).to_owned()).collect())
    }

    /// A free name for a node: `wanted` with valid characters, and a number if necessary.
    pub(super) fn node(&mut self, wanted: &str) -> String {
        let allowed = |it: char| it.is_ascii_alphanumeric() || "_.-/".contains(it);
        let mut wanted: String = wanted.chars().map(|it| if allowed(it) { it } else { '_' }).collect();
        if !wanted.starts_with(|it: char| it.is_ascii_alphanumeric() || it == '.') {
            wanted.insert(0, '.');
        }
        let name = numbered(&wanted, |name| !self.0.contains(name));
        self.0.insert(name.clone());
        name
    }

    /// A scope that no node has as its name or as the beginning of its path.
    pub(super) fn scope(&self, wanted: &str) -> String {
        let taken: HashSet<&str> = self.0.iter().filter_map(|name| name.split('/').next()).collect();
        numbered(wanted, |name| !taken.contains(name))
    }
}

/// The first free name of `wanted`, `wanted_1`, …
fn numbered(wanted: &str, is_free: impl Fn(&str) -> bool) -> String {
    let mut names = std::iter::once(wanted.to_owned()).chain((1_u64..).map(|number| format!("{wanted}_{number}")));
    names.find(|name| is_free(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: &[(&str, &str, &[&str])]) -> GraphDef {
        let node = |(name, op, inputs): &(&str, &str, &[&str])| NodeDef {
            name: (*name).into(),
            op: (*op).into(),
            input: inputs.iter().map(|input| (*input).into()).collect(),
            ..NodeDef::default()
        };
        GraphDef { node: nodes.iter().map(node).collect(), ..GraphDef::default() }
    }

    #[test]
    fn finds_what_is_waited_for() {
        let graph = graph(&[
            ("x", "Placeholder", &[]),
            ("y", "Placeholder", &[]),
            ("loop", "Merge", &["x", "next"]),
            ("next", "NextIteration", &["loop:1", "^step"]),
            ("step", "NoOp", &["^y", "^z"]),
            ("z", "Const", &[]),
        ]);
        let nodes = Nodes::new(&graph).unwrap();
        let behind = |fed: &[(&str, u32)]| {
            let mut names: Vec<_> = nodes.behind(["loop"], fed).iter().map(|node| node.name.as_str()).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(behind(&[]), ["loop", "next", "step", "x", "y", "z"]);
        assert_eq!(behind(&[("x", 0), ("next", 0)]), ["loop"]);
        assert_eq!(behind(&[("y", 0), ("z", 0)]), ["loop", "next", "step", "x", "z"], "z runs as a control input");
    }

    #[test]
    fn names_are_free_and_allowed() {
        let graph = graph(&[("save/Const", "Const", &[]), ("save_1", "NoOp", &[]), ("a/b", "NoOp", &[])]);
        let mut free = FreeNames::new(&Nodes::new(&graph).unwrap());
        assert_eq!(free.scope("save"), "save_2");
        assert_eq!(free.node("a/b"), "a/b_1");
        assert_eq!(free.node("a/b"), "a/b_2");
        assert_eq!(free.node("ü b:0"), ".__b_0");
    }

    #[test]
    fn refuses_empty_and_double() {
        assert!(Nodes::new(&graph(&[])).err().unwrap().to_string().contains("it has no operations"));
        let double = graph(&[("a", "NoOp", &[]), ("a", "NoOp", &[])]);
        assert!(Nodes::new(&double).err().unwrap().to_string().contains("two operations `a`"));
    }
}
