//! A signature of a SavedModel as a function, with its variables as constants.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;
use tf_persist_proto::tensorflow::op_def::op_def::ArgDef;
use tf_persist_proto::tensorflow::{FunctionDef, MetaGraphDef, NodeDef, OpDef, TensorInfo};
use tf_persist_savedmodel::internals::free_name;
use tf_persist_savedmodel::{DType, SaveOptions, SavedModel, printable};

use crate::graph::op_outputs::output_name;
use crate::graph::{Dim, Shape};
use crate::reason::{Result, refuse};

/// The name of the graph in a SavedModel.
const GRAPH: &str = "saved_model.pb";

/// An input or output of a function.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    /// None if the rank is unknown.
    pub(crate) shape: Option<Shape>,
}

/// A function, with those that it calls.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    entry: FunctionDef,
    library: Vec<FunctionDef>,
}

impl Imported {
    /// Reads a signature.
    pub(super) fn read(path: &Path, signature: &str) -> Result<Self> {
        let model = SavedModel::open(path)?;
        let folder = tempfile::tempdir().map_err(|error| format!("a temporary folder cannot be made: {error}"))?;
        let frozen = folder.path().join("frozen");
        model.save(&frozen, SaveOptions::default().signatures([signature]).frozen(true))?;
        let bytes = std::fs::read(frozen.join(GRAPH)).map_err(|error| format!("its graph cannot be read: {error}"))?;
        let Ok(mut file) = pb::SavedModel::parse_from_bytes(&bytes) else { refuse!("its graph cannot be read again") };
        let Some(definition) = file.meta_graphs.pop() else { refuse!("it has no graph") };
        Self::of_graph(definition, signature)
    }

    fn of_graph(mut definition: MetaGraphDef, name: &str) -> Result<Self> {
        let Some(signature) = definition.signature_def.remove(name) else {
            refuse!("it has no signature `{}`", printable(name))
        };
        let graph = definition.graph_def.take().unwrap_or_default();
        let nodes: HashMap<&str, &NodeDef> = graph.node.iter().map(|node| (node.name.as_str(), node)).collect();
        if !definition.asset_file_def.is_empty() || init_ops(&definition).iter().any(|op| does_something(&nodes, op)) {
            refuse!("it has tables or other state that an init op sets, which is not supported");
        }
        let (inputs, outputs) = (ports(&signature.inputs)?, ports(&signature.outputs)?);
        let mut body = Body { nodes, arguments: HashMap::new(), names: HashSet::new() };
        body.names = graph.node.iter().map(|node| node.name.to_ascii_lowercase()).collect();
        let entry = body.function(&signature.inputs, &signature.outputs)?;
        let library = graph.library.map(|library| library.function.clone()).unwrap_or_default();
        if library.iter().any(|function| function.signature.name.is_empty()) {
            refuse!("a function of its library has no name");
        }
        Ok(Self { inputs, outputs, entry, library })
    }

    /// The functions under a name, that of the signature first.
    pub(crate) fn named(&self, name: &str) -> Vec<FunctionDef> {
        let old = |function: &FunctionDef| function.signature.name.clone();
        let names: HashMap<String, String> =
            self.library.iter().enumerate().map(|(index, it)| (old(it), format!("{name}_{index}"))).collect();
        let mut functions = vec![self.entry.clone()];
        functions[0].signature.mut_or_insert_default().name = name.to_owned();
        functions.extend(self.library.iter().cloned());
        for function in &mut functions {
            if let Some(new) = names.get(&function.signature.name) {
                function.signature.mut_or_insert_default().name.clone_from(new);
            }
            function.node_def.iter_mut().for_each(|node| rename(node, &names));
        }
        functions
    }
}

/// The names under which loaders find the operation that initializes a graph.
const INIT_OP: &str = "__saved_model_init_op";
const INIT_COLLECTIONS: [&str; 3] = ["saved_model_main_op", "legacy_init_op", "table_initializer"];

/// The nodes that initialize a graph.
fn init_ops(definition: &MetaGraphDef) -> Vec<String> {
    let signature = definition.signature_def.get(INIT_OP);
    let of_signature = signature.into_iter().flat_map(|it| it.outputs.values()).map(|info| info.name().to_owned());
    let collections = INIT_COLLECTIONS.iter().filter_map(|name| definition.collection_def.get(*name));
    let of_collections = collections.filter(|it| it.has_node_list()).flat_map(|it| it.node_list().value.clone());
    of_signature.chain(of_collections).collect()
}

/// Whether a node is more than one that does nothing, after others that do nothing.
fn does_something(nodes: &HashMap<&str, &NodeDef>, node: &str) -> bool {
    let (mut todo, mut seen) = (vec![split(node).0], HashSet::new());
    while let Some(name) = todo.pop() {
        let Some(node) = nodes.get(name).filter(|node| node.op == "NoOp") else { return true };
        if seen.insert(name) {
            todo.extend(node.input.iter().map(|input| split(input.trim_start_matches('^')).0));
        }
    }
    false
}

/// Names of functions in a node.
fn rename(node: &mut NodeDef, names: &HashMap<String, String>) {
    if let Some(new) = names.get(&node.op) {
        node.op.clone_from(new);
    }
    for attr in node.attr.values_mut() {
        let functions = match &mut attr.value {
            Some(Value::Func(function)) => std::slice::from_mut(function),
            Some(Value::List(list)) => list.func.as_mut_slice(),
            _ => continue,
        };
        for function in functions {
            if let Some(new) = names.get(&function.name) {
                function.name.clone_from(new);
            }
        }
    }
}

/// The inputs or outputs of a signature, by their names.
fn ports(infos: &BTreeMap<String, TensorInfo>) -> Result<Vec<Port>> {
    let port = |(name, info): (&String, &TensorInfo)| {
        let dtype = DType::from_number(info.dtype.value());
        if !dtype.is_supported() {
            refuse!("`{}` of its signature is {dtype}, which is not supported", printable(name));
        }
        let dim = |size: i64| -> Dim { u64::try_from(size).ok() };
        let shape = info.tensor_shape.as_ref().filter(|shape| !shape.unknown_rank);
        let shape = shape.map(|shape| Shape::new(shape.dim.iter().map(|it| dim(it.size)).collect::<Vec<_>>()));
        Ok(Port { name: name.clone(), dtype, shape })
    };
    infos.iter().map(port).collect()
}

/// The nodes of a graph, of which a function is made.
struct Body<'a> {
    nodes: HashMap<&'a str, &'a NodeDef>,
    /// The arguments in place of nodes.
    arguments: HashMap<&'a str, String>,
    names: HashSet<String>,
}

/// A node and its output: `dense/BiasAdd:0`.
fn split(tensor: &str) -> (&str, usize) {
    match tensor.rsplit_once(':').map(|(node, output)| (node, output.parse())) {
        Some((node, Ok(output))) => (node, output),
        _ => (tensor, 0),
    }
}

impl<'a> Body<'a> {
    fn function(
        &mut self,
        inputs: &'a BTreeMap<String, TensorInfo>,
        outputs: &'a BTreeMap<String, TensorInfo>,
    ) -> Result<FunctionDef> {
        let mut signature = OpDef { is_stateful: true, ..OpDef::default() };
        for info in inputs.values() {
            let name = free_name("argument", |name| self.names.contains(name));
            self.names.insert(name.clone());
            if self.arguments.insert(split(info.name()).0, name.clone()).is_some() {
                refuse!("two inputs of its signature are the same tensor");
            }
            signature.input_arg.push(ArgDef { name, type_: info.dtype, ..ArgDef::default() });
        }
        let mut definition = FunctionDef { node_def: self.live_nodes(outputs)?, ..FunctionDef::default() };
        for (index, info) in outputs.values().enumerate() {
            let name = format!("output_{index}");
            definition.ret.insert(name.clone(), self.tensor(info.name())?);
            signature.output_arg.push(ArgDef { name, type_: info.dtype, ..ArgDef::default() });
        }
        definition.signature = MessageField::some(signature);
        Ok(definition)
    }

    /// The nodes behind the outputs, with inputs as functions name them.
    fn live_nodes(&self, outputs: &'a BTreeMap<String, TensorInfo>) -> Result<Vec<NodeDef>> {
        let mut todo: Vec<&str> = outputs.values().map(|info| split(info.name()).0).collect();
        let (mut live, mut seen) = (Vec::new(), HashSet::new());
        while let Some(name) = todo.pop() {
            if self.arguments.contains_key(name) || !seen.insert(name) {
                continue;
            }
            let Some(node) = self.nodes.get(name) else { refuse!("its graph has no node `{}`", printable(name)) };
            if node.op == "Placeholder" {
                refuse!("its signature needs a value for `{}`, which is no input", printable(name));
            }
            todo.extend(node.input.iter().map(|input| split(input.trim_start_matches('^')).0));
            let mut node = (*node).clone();
            for input in &mut node.input {
                *input = match input.strip_prefix('^') {
                    None => self.tensor(input)?,
                    // An argument has its value before the function runs.
                    Some(before) if self.arguments.contains_key(before) => String::new(),
                    Some(_) => continue,
                };
            }
            node.input.retain(|input| !input.is_empty());
            live.push(node);
        }
        Ok(live)
    }

    /// A tensor as functions name it.
    fn tensor(&self, tensor: &str) -> Result<String> {
        let (name, output) = split(tensor);
        if let Some(argument) = self.arguments.get(name) {
            return Ok(argument.clone());
        }
        let op = self.nodes.get(name).map_or("", |node| node.op.as_str());
        match output_name(op, output) {
            Some((list, index)) => Ok(format!("{name}:{list}:{index}")),
            None => refuse!("output {output} of the op `{}` in its graph is not supported", printable(op)),
        }
    }
}
