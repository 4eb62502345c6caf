//! Functions as the library of a graph has them.

use std::collections::{BTreeMap, BTreeSet};

use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::tensorflow::op_def::op_def::ArgDef;
use tf_persist_proto::tensorflow::resource_handle::resource_handle_proto::DtypeAndShape;
use tf_persist_proto::tensorflow::{FunctionDef, NodeDef, OpDef};
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::internals::attr::{dtype, node, proto_dtype, shape_proto};

use super::attributes::attributes;
use super::encoded::Encoded;
use super::names::Names;
use crate::graph::op_outputs::output_name;
use crate::graph::{Attr, Graph, Node, Op, Program, Resource, TensorRef};
use crate::reason::{Result, refuse};

/// What a function takes and returns, in this order.
pub(super) struct Interface<'a> {
    /// The name in the file.
    pub(super) name: &'a str,
    /// The arguments, and how they are called.
    pub(super) arguments: Vec<(&'a str, TensorRef)>,
    pub(super) outputs: Vec<(&'a str, TensorRef)>,
    /// Whether an output that is an argument is copied. The body of a loop returns what it does not change as it is.
    pub(super) copies_arguments: bool,
}

/// The number of `FunctionDef.node_def`.
const NODE: u32 = 3;

/// A function, and what its caller passes after the arguments.
pub(super) struct Defined {
    pub(super) signature: OpDef,
    /// The `FunctionDef`.
    pub(super) definition: Encoded,
    /// The variables and tables whose handles are its last arguments.
    pub(super) resources: Vec<Resource>,
}

/// The nodes that a function needs: those behind its outputs and those with effects.
pub(super) fn live_nodes(program: &Program, nodes: &[Node], outputs: &[TensorRef]) -> Vec<bool> {
    let mut live = vec![false; nodes.len()];
    let effects = (0..nodes.len()).filter(|index| program.has_effects(&nodes[*index]));
    let mut todo: Vec<usize> = outputs.iter().map(|output| output.node).chain(effects).collect();
    while let Some(index) = todo.pop() {
        if !std::mem::replace(&mut live[index], true) {
            todo.extend(nodes[index].inputs.iter().map(|input| input.node).chain(nodes[index].control.iter().copied()));
        }
    }
    live
}

/// The functions of the program's library that these live nodes call.
pub(super) fn called<'n>(nodes: &'n [Node], live: &[bool]) -> impl Iterator<Item = &'n str> {
    let live: BTreeSet<usize> = (0..nodes.len()).filter(|index| live[*index]).collect();
    let attrs =
        nodes.iter().enumerate().filter(move |(index, _)| live.contains(index)).flat_map(|(_, node)| &node.attrs);
    attrs.filter_map(|(_, attr)| match attr {
        Attr::Function(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Defines a function.
pub(super) fn define(program: &Program, graph: &Graph, interface: &Interface<'_>) -> Result<Defined> {
    let passed: BTreeMap<usize, Resource> = graph.passed_resources().into_iter().collect();
    graph.with_nodes(|nodes| {
        let outputs: Vec<TensorRef> = interface.outputs.iter().map(|(_, tensor)| tensor.clone()).collect();
        let live = live_nodes(program, nodes, &outputs);
        let mut body = Body { program, nodes, live, names: Names::default(), arguments: BTreeMap::new() };
        body.define(interface, &passed)
    })
}

/// A `FunctionDef` of its parts. `results` has the fields after the nodes.
pub(super) fn encode(signature: &OpDef, nodes: Encoded, results: &FunctionDef) -> Result<Encoded> {
    let signature = FunctionDef { signature: MessageField::some(signature.clone()), ..FunctionDef::default() };
    let mut definition = Encoded::new(&signature)?;
    definition.append(nodes);
    definition.append(Encoded::new(results)?);
    Ok(definition)
}

/// A function that is being defined.
struct Body<'a> {
    program: &'a Program,
    nodes: &'a [Node],
    live: Vec<bool>,
    names: Names,
    /// The names of the arguments by their nodes.
    arguments: BTreeMap<usize, String>,
}

impl<'a> Body<'a> {
    fn live_nodes(&self) -> impl Iterator<Item = (usize, &'a Node)> {
        self.nodes.iter().enumerate().filter(|(index, _)| self.live[*index])
    }

    fn define(&mut self, interface: &Interface<'_>, passed: &BTreeMap<usize, Resource>) -> Result<Defined> {
        for (_, node) in self.nodes.iter().enumerate().filter(|(index, _)| self.live[*index]) {
            if matches!(node.op, Op::Named(_)) {
                self.names.take(&node.name);
            }
        }
        let mut signature = OpDef { name: interface.name.to_owned(), is_stateful: true, ..OpDef::default() };
        for (name, tensor) in &interface.arguments {
            let argument = self.argument(name, tensor.node, passed.get(&tensor.node).copied(), tensor.dtype)?;
            signature.input_arg.push(argument);
        }
        let mut handles: Vec<(Resource, usize)> = Vec::new();
        for (index, node) in self.live_nodes() {
            match node.op {
                Op::Handle(resource) => handles.push((resource, index)),
                Op::Argument(_) if !self.arguments.contains_key(&index) => {
                    refuse!("the function `{}` uses an argument that it does not have", interface.name)
                }
                _ => {}
            }
        }
        handles.sort_unstable();
        for (resource, index) in &handles {
            let name = self.resource_name(*resource);
            let argument = self.argument(&name, *index, Some(*resource), DType::Resource)?;
            signature.input_arg.push(argument);
        }
        let mut nodes = self.node_defs()?;
        let mut results = FunctionDef::default();
        let effects = self.effects(&mut signature, &mut results, &mut nodes)?;
        for (name, tensor) in &interface.outputs {
            let output = self.names.argument(name);
            let source = self.tensor(tensor)?;
            let source = match self.nodes[tensor.node].op {
                Op::Argument(_) if !interface.copies_arguments => source,
                _ => self.copy(&source, tensor.dtype, effects.as_deref(), &mut nodes)?,
            };
            signature.output_arg.push(ArgDef {
                name: output.clone(),
                type_: proto_dtype(tensor.dtype),
                ..ArgDef::default()
            });
            results.ret.insert(output, source);
        }
        let definition = encode(&signature, nodes, &results)?;
        let resources = handles.into_iter().map(|(resource, _)| resource).collect();
        Ok(Defined { signature, definition, resources })
    }

    /// An argument: a tensor or the handle of a variable or table.
    fn argument(&mut self, name: &str, index: usize, resource: Option<Resource>, dtype: DType) -> Result<ArgDef> {
        let name = self.names.argument(name);
        if self.arguments.insert(index, name.clone()).is_some() {
            refuse!("a function has the argument `{name}` twice");
        }
        let mut argument = ArgDef { name, type_: proto_dtype(dtype), ..ArgDef::default() };
        if let Some(Resource::Variable(variable)) = resource {
            let variable = &self.program.variables.borrow()[variable];
            argument.handle_data.push(DtypeAndShape {
                dtype: proto_dtype(variable.dtype),
                shape: MessageField::some(shape_proto(&variable.shape)),
                ..DtypeAndShape::default()
            });
        }
        Ok(argument)
    }

    fn resource_name(&self, resource: Resource) -> String {
        match resource {
            Resource::Variable(index) => self.program.variables.borrow()[index].name.clone(),
            Resource::Table(index) => self.program.tables.borrow()[index].name.clone(),
        }
    }

    fn node_defs(&self) -> Result<Encoded> {
        let mut nodes = Encoded::default();
        for (_, node) in self.live_nodes() {
            let Op::Named(op) = node.op else { continue };
            let mut input = Vec::with_capacity(node.inputs.len() + node.control.len());
            for tensor in &node.inputs {
                input.push(self.tensor(tensor)?);
            }
            let before = node.control.iter().map(|index| &self.nodes[*index]);
            input.extend(before.filter(|it| matches!(it.op, Op::Named(_))).map(|it| format!("^{}", it.name)));
            let attr = attributes(&node.attrs);
            let node = NodeDef { name: node.name.clone(), op: op.to_owned(), input, attr, ..NodeDef::default() };
            nodes.push(NODE, &node)?;
        }
        Ok(nodes)
    }

    /// The name of a tensor within the function.
    fn tensor(&self, tensor: &TensorRef) -> Result<String> {
        let node = &self.nodes[tensor.node];
        let Op::Named(op) = node.op else {
            return match self.arguments.get(&tensor.node) {
                Some(name) => Ok(name.clone()),
                None => refuse!("a function uses an argument that it does not have"),
            };
        };
        match output_name(op, tensor.output) {
            Some((list, index)) => Ok(format!("{}:{list}:{index}", node.name)),
            None => refuse!("the operation {op} has no output {}", tensor.output),
        }
    }

    /// Makes the nodes with effects run whenever the function is called. Returns the node that runs after them. Loops
    /// are among them, because Grappler inlines a function only if what might have effects is.
    fn effects(
        &mut self,
        signature: &mut OpDef,
        results: &mut FunctionDef,
        nodes: &mut Encoded,
    ) -> Result<Option<String>> {
        let has_effects = |node: &Node| self.program.has_effects(node) || node.op == Op::Named("While");
        let effects = self.live_nodes().filter(|(_, node)| has_effects(node));
        let effects: Vec<&String> = effects.map(|(_, node)| &node.name).collect();
        if effects.is_empty() {
            return Ok(None);
        }
        signature.control_output.extend(effects.iter().map(|name| (*name).clone()));
        results.control_ret.extend(effects.iter().map(|name| ((*name).clone(), (*name).clone())));
        let inputs: Vec<String> = effects.iter().map(|name| format!("^{name}")).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let name = self.names.node("effects");
        nodes.push(NODE, &node(&name, "NoOp", &inputs, []))?;
        Ok(Some(name))
    }

    /// A copy of a tensor that is returned, because Grappler never fuses a tensor that is fetched. It is made after the
    /// node `effects`.
    fn copy(&mut self, source: &str, of: DType, effects: Option<&str>, nodes: &mut Encoded) -> Result<String> {
        let after = effects.map(|effects| format!("^{effects}"));
        let inputs: Vec<&str> = [source].into_iter().chain(after.as_deref()).collect();
        let name = self.names.node("Identity");
        nodes.push(NODE, &node(&name, "Identity", &inputs, [("T", dtype(of))]))?;
        Ok(format!("{name}:output:0"))
    }
}
