//! The values assigned to variables that hold texts. TensorFlow 2.21 keeps the paths of assets in variables.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use super::index::{Index, TOP};
use super::resolve_path::PathSource;
use crate::graph::node_of;
use crate::graph::view::NodeView;
use crate::saved_model::{MetaGraph, parse_tensor_name};

/// The values assigned to a graph's variables, and the assets that are fed to the graph.
pub(super) struct TextVariables<'r, 'a> {
    index: &'r Index<'a>,
    assets: HashMap<(&'a str, u32), &'a str>,
    feeds: HashMap<(&'a str, u32), PathSource<'a>>,
    /// The nodes that loading runs.
    at_load: Vec<&'a str>,
    assigned: OnceCell<HashMap<usize, Option<Vec<&'a str>>>>,
}

impl<'r, 'a> TextVariables<'r, 'a> {
    pub(super) fn new(index: &'r Index<'a>, meta_graph: &'a MetaGraph) -> Self {
        let assets = meta_graph.assets().iter();
        let assets = assets.filter_map(|asset| Some((parse_tensor_name(&asset.tensor).ok()?, asset.filename.as_str())));
        let signatures = meta_graph.signatures().iter().chain(meta_graph.operations());
        let inputs = signatures.flat_map(|signature| &signature.inputs);
        let inputs = inputs.flat_map(|(key, info)| {
            info.tensor_names().into_iter().map(move |tensor| (tensor, PathSource::Input(key.as_str())))
        });
        let prefix = meta_graph.saver().map(|saver| (saver.filename_tensor.as_str(), PathSource::Prefix));
        let feeds = prefix.into_iter().chain(inputs);
        let feeds = feeds.filter_map(|(tensor, name)| Some((parse_tensor_name(tensor).ok()?, name)));
        let inits = meta_graph.init_ops().iter().map(|init| init.operation.as_str());
        let inits = inits.chain(meta_graph.table_initializers().iter().map(String::as_str));
        let at_load = inits.chain(meta_graph.saver().map(|saver| saver.restore_op.as_str())).collect();
        Self { index, assets: assets.collect(), feeds: feeds.collect(), at_load, assigned: OnceCell::new() }
    }

    /// The value that any signature or the saver feeds to an output of a node. Signatures come first.
    pub(super) fn feed(&self, node: &str, output: u32) -> Option<PathSource<'a>> {
        self.feeds.get(&(node, output)).cloned()
    }

    /// The asset whose path loading feeds to an output of a node.
    pub(super) fn asset(&self, node: &str, output: u32) -> Option<&'a str> {
        self.assets.get(&(node, output)).copied()
    }

    /// The tensors at the top that are assigned to the variable with this index. `None` if something else may write to
    /// it: a variable that the graph does not assign during loading is restored from the checkpoint.
    pub(super) fn assigned(&self, node_index: usize) -> Option<&[&'a str]> {
        self.assigned.get_or_init(|| self.collect()).get(&node_index)?.as_deref()
    }

    fn collect(&self) -> HashMap<usize, Option<Vec<&'a str>>> {
        let bodies = &self.index.bodies;
        let top = &bodies[TOP];
        // Two nodes with one shared name are one variable.
        let mut shared: HashMap<&[u8], usize> = HashMap::new();
        for node in bodies.iter().flat_map(|body| &body.nodes) {
            match node.op {
                // The caller chooses its name.
                "VarHandleOp" if node.is_placeholder("shared_name") => return HashMap::new(),
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
            variables.map(|(node_index, _)| (node_index, Some(Vec::new()))).collect();
        let (runs, mut set) = (self.run_at_load(), HashSet::new());
        for (at, node) in top.nodes.iter().enumerate() {
            for (position, tensor) in node.tensors().enumerate() {
                let Some(node_index) = top.node_index(node_of(tensor)) else { continue };
                let Some(variable) = assigned.get_mut(&node_index) else { continue };
                match (node.op, position) {
                    ("ReadVariableOp" | "VarIsInitializedOp" | "DisableCopyOnRead" | "VariableShape", _) => {}
                    ("AssignVariableOp", 0) => match (variable.as_mut(), node.tensors().nth(1)) {
                        (Some(values), Some(value)) => {
                            values.push(value);
                            set.extend(runs[at].then_some(node_index));
                        }
                        _ => *variable = None,
                    },
                    _ => *variable = None,
                }
            }
        }
        assigned.retain(|node_index, _| set.contains(node_index));
        assigned
    }

    /// Whether loading runs each node of the top.
    fn run_at_load(&self) -> Vec<bool> {
        let top = &self.index.bodies[TOP];
        let mut runs = vec![false; top.nodes.len()];
        let mut todo: Vec<usize> = self.at_load.iter().filter_map(|name| top.node_index(node_of(name))).collect();
        while let Some(node_index) = todo.pop() {
            if !std::mem::replace(&mut runs[node_index], true) {
                todo.extend(top.nodes[node_index].inputs().filter_map(|input| top.node_index(node_of(input))));
            }
        }
        runs
    }
}

/// The name under which a session keeps a variable. Unlike other resources, variables without one share the empty name.
fn shared_name<'a>(node: &NodeView<'a>) -> &'a [u8] {
    node.bytes_attr("shared_name").unwrap_or_default()
}

/// Whether a node that parses bytes may give a handle of a variable: `DT_RESOURCE` or `DT_VARIANT`.
fn may_be_handle(node: &NodeView<'_>, attribute: &str) -> bool {
    node.is_placeholder(attribute) || matches!(node.type_attr(attribute), Some(20 | 21))
}
