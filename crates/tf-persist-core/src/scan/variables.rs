//! Variables that hold texts: what is assigned to them. TensorFlow 2.21 keeps the paths of assets in such.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::index::{Index, Node, TOP};
use super::names::Name;
use crate::graph::node_of;
use crate::saved_model::{MetaGraph, parse_tensor_name};

/// What is assigned to a graph's variables, and which assets are fed to the graph.
pub(super) struct TextVariables<'r, 'a> {
    index: &'r Index<'a>,
    assets: HashMap<(&'a str, u32), &'a str>,
    feeds: HashMap<(&'a str, u32), Name<'a>>,
    assigned: OnceCell<HashMap<usize, Option<Vec<&'a str>>>>,
}

impl<'r, 'a> TextVariables<'r, 'a> {
    pub(super) fn new(index: &'r Index<'a>, meta_graph: &'a MetaGraph) -> Self {
        let assets = meta_graph.assets().iter();
        let assets = assets.filter_map(|asset| Some((parse_tensor_name(&asset.tensor).ok()?, asset.filename.as_str())));
        let signatures = meta_graph.signatures().iter().chain(meta_graph.operations());
        let inputs = signatures.flat_map(|signature| &signature.inputs);
        let inputs = inputs.flat_map(|(key, info)| {
            info.tensor_names().into_iter().map(move |tensor| (tensor, Name::Input(key.as_str())))
        });
        let prefix = meta_graph.saver().map(|saver| (saver.filename_tensor.as_str(), Name::Prefix));
        let feeds = prefix.into_iter().chain(inputs);
        let feeds = feeds.filter_map(|(tensor, name)| Some((parse_tensor_name(tensor).ok()?, name)));
        Self { index, assets: assets.collect(), feeds: feeds.collect(), assigned: OnceCell::new() }
    }

    /// What any signature or the saver feeds to an output of a node: signatures rather than the saver.
    pub(super) fn feed(&self, node: &str, output: u32) -> Option<Name<'a>> {
        self.feeds.get(&(node, output)).cloned()
    }

    /// The asset whose path is fed to an output of a node while the model is loaded.
    pub(super) fn asset(&self, node: &str, output: u32) -> Option<&'a str> {
        self.assets.get(&(node, output)).copied()
    }

    /// The tensors at the top that are assigned to the variable at this place; `None` if something else might write to it.
    pub(super) fn assigned(&self, place: usize) -> Option<&[&'a str]> {
        self.assigned.get_or_init(|| self.collect()).get(&place)?.as_deref()
    }

    fn collect(&self) -> HashMap<usize, Option<Vec<&'a str>>> {
        let bodies = &self.index.bodies;
        let top = &bodies[TOP];
        // Two nodes of one shared name are one variable.
        let mut shared: HashMap<&[u8], usize> = HashMap::new();
        for node in bodies.iter().flat_map(|body| &body.nodes) {
            match node.op {
                // Its caller says its name.
                "VarHandleOp" if node.is_open("shared_name") => return HashMap::new(),
                "VarHandleOp" => *shared.entry(shared_name(node)).or_default() += 1,
                "_VarHandlesOp" | "_XlaAotOnlyVarHandleOp" => return HashMap::new(),
                "Const" | "HostConst" if may_be_handle(node, "dtype") => return HashMap::new(),
                "ParseTensor" if may_be_handle(node, "out_type") => return HashMap::new(),
                _ => {}
            }
        }
        let alone = |node| shared.get(shared_name(node)) == Some(&1);
        let variables = top.nodes.iter().enumerate().filter(|(_, node)| node.op == "VarHandleOp" && alone(node));
        let mut assigned: HashMap<usize, Option<Vec<&'a str>>> =
            variables.map(|(place, _)| (place, Some(Vec::new()))).collect();
        for node in &top.nodes {
            for (position, tensor) in node.tensors().enumerate() {
                let Some(variable) = top.place(node_of(tensor)).and_then(|place| assigned.get_mut(&place)) else {
                    continue;
                };
                match (node.op, position) {
                    ("ReadVariableOp" | "VarIsInitializedOp" | "DisableCopyOnRead" | "VariableShape", _) => {}
                    ("AssignVariableOp", 0) => match (variable.as_mut(), node.tensors().nth(1)) {
                        (Some(values), Some(value)) => values.push(value),
                        _ => *variable = None,
                    },
                    _ => *variable = None,
                }
            }
        }
        assigned
    }
}

/// The name under which a session keeps a variable. Unlike other resources, variables without one share the empty name.
fn shared_name<'a>(node: &Node<'a>) -> &'a [u8] {
    node.text_attr("shared_name").unwrap_or_default()
}

/// Whether what a node makes of bytes may be, or hold, the handle of a variable: `DT_RESOURCE` or `DT_VARIANT`.
fn may_be_handle(node: &Node<'_>, attribute: &str) -> bool {
    node.is_open(attribute) || matches!(node.type_attr(attribute), Some(20 | 21))
}
