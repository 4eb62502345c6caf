//! The meta graph: the graph that sessions run, its library of functions, signatures, saver and object graph.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::tensorflow::meta_graph::collection_def::{Kind as CollectionKind, NodeList};
use tf_persist_proto::tensorflow::meta_graph::meta_graph_def::MetaInfoDef;
use tf_persist_proto::tensorflow::meta_graph::tensor_info::Encoding;
use tf_persist_proto::tensorflow::{
    AssetFileDef, CollectionDef, GraphDef, MetaGraphDef, NodeDef, OpDef, SignatureDef, TensorInfo, TensorShapeProto,
    TrackableObjectGraph, VersionDef,
};
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::internals::attr::{self, dtype, dtypes, node, proto_dtype};
use tf_persist_savedmodel::internals::{Restored, SavedTensor, saver_in_scope};
use tf_persist_savedmodel::saved_model::{self, DEFAULT_SIGNATURE};

use super::attributes::{attribute, attributes, dict, keyword_arguments, shape_proto, tensor_spec};
use super::encoded::Encoded;
use super::endpoint::{Endpoint, SERVE};
use super::function::{Defined, Interface, called, define, live_nodes};
use super::names::{Names, library_name};
use super::objects::{self, Callable, Objects};
use super::tables;
use crate::graph::{Attr, Function, Program, Resource, Signature, TensorRef};
use crate::reason::{Result, refuse};

/// TensorFlow's release whose ops the graphs have, and the versions of its graphs.
const TENSORFLOW: &str = "2.21.0";
const PRODUCER: i32 = 2474;
const MIN_CONSUMER: i32 = 12;

/// The name under which loaders find the operation that initialises tables.
const INIT_OP: &str = "__saved_model_init_op";

/// The numbers of `MetaGraphDef.graph_def`, `GraphDef.node`, `GraphDef.library` and `FunctionDefLibrary.function`.
const GRAPH: u32 = 2;
const NODE: u32 = 1;
const LIBRARY: u32 = 2;
const FUNCTION: u32 = 1;

/// A meta graph, and what belongs to it.
pub(super) struct DefinedMetaGraph {
    /// The `MetaGraphDef`.
    pub(super) definition: Encoded,
    /// The object graph in the checkpoint.
    pub(super) tracked: TrackableObjectGraph,
    /// The keys of the variables in the checkpoint.
    pub(super) keys: Vec<String>,
    /// The names of the asset files that the graph reads.
    pub(super) assets: BTreeSet<String>,
}

/// Defines the meta graph of a program with these signatures. `assets` are the files that tables may be filled from.
pub(super) fn define_meta_graph(
    program: &Rc<Program>,
    signatures: &[Signature],
    serve: Option<Endpoint>,
    assets: &[(String, Vec<u8>)],
) -> Result<DefinedMetaGraph> {
    let mut builder = Builder::new(program);
    builder.name_handles();
    builder.objects = objects_of(program, &builder.handles)?;
    let interfaces = signatures.iter().map(interface).collect::<Result<Vec<_>>>()?;
    builder.add_library(&interfaces)?;
    let mut defined = Vec::new();
    for interface in &interfaces {
        if builder.signatures.contains_key(&interface.signature.name) {
            refuse!("there are two signatures `{}`", interface.signature.name);
        }
        let name = builder.function_name(&format!("signature_wrapper_{}", interface.signature.name));
        let Called { bound, signature, .. } = builder.add_signature(interface, &name)?;
        if let Some(endpoint) = serve.filter(|_| interface.signature.name == DEFAULT_SIGNATURE) {
            builder.add_endpoint(endpoint, interface, &signature, bound.clone())?;
        }
        defined.push((interface, name, bound));
    }
    builder.add_tables(assets)?;
    let callables = defined
        .iter()
        .map(|(interface, name, bound)| (interface.signature.name.as_str(), interface.callable(name, bound.clone())));
    builder.objects.add_signatures(callables.collect());
    builder.finish()
}

/// The objects of variables and tables.
fn objects_of(program: &Program, handles: &BTreeMap<Resource, String>) -> Result<Objects> {
    let (variables, tables) = (program.variables.borrow(), program.tables.borrow());
    let names = variables.iter().enumerate().map(|(index, it)| (it.name.clone(), Resource::Variable(index)));
    let names = names.chain(tables.iter().enumerate().map(|(index, it)| (it.name.clone(), Resource::Table(index))));
    let names: Vec<_> = names.collect();
    let node_name = |resource: Resource| handles.get(&resource).cloned().unwrap_or_default();
    let mut objects = Objects::new();
    objects.add_resources(
        &names,
        |resource| match resource {
            Resource::Variable(index) => objects::variable(&variables[index], &node_name(resource)),
            Resource::Table(_) => objects::table(),
        },
        |resource| matches!(resource, Resource::Variable(_)).then(|| node_name(resource)),
    )?;
    Ok(objects)
}

/// A signature with its inputs and outputs in the order of their names, as Python passes them.
pub(super) struct SignatureInterface<'a> {
    pub(super) signature: &'a Signature,
    pub(super) inputs: Vec<(&'a str, TensorRef)>,
    pub(super) outputs: Vec<(&'a str, TensorRef)>,
}

fn interface(signature: &Signature) -> Result<SignatureInterface<'_>> {
    let Signature { name, inputs, outputs, function } = signature;
    let arguments = function.graph.arguments();
    if name.is_empty() || name.starts_with("__saved_model_") {
        refuse!("`{name}` cannot be the name of a signature");
    }
    if inputs.len() != arguments.len() || outputs.len() != function.outputs.len() {
        refuse!("the signature `{name}` does not name each of its inputs and outputs once");
    }
    if outputs.is_empty() {
        refuse!("the signature `{name}` has no outputs, and TensorFlow does not run such signatures");
    }
    let sorted = |kind: &str, names: &'_ [String], tensors: &[TensorRef]| -> Result<Vec<(usize, TensorRef)>> {
        let mut sorted: Vec<(usize, TensorRef)> = tensors.iter().cloned().enumerate().collect();
        sorted.sort_by(|(a, _), (b, _)| names[*a].cmp(&names[*b]));
        let double = sorted.windows(2).find(|pair| names[pair[0].0] == names[pair[1].0]);
        if let Some(double) = double {
            refuse!("the signature `{name}` has two {kind}s `{}`", names[double[0].0]);
        }
        if let Some((_, tensor)) = sorted.iter().find(|(_, tensor)| !tensor.dtype.is_supported()) {
            refuse!("the signature `{name}` has an {kind} of {}", tensor.dtype);
        }
        Ok(sorted)
    };
    let (sorted_inputs, sorted_outputs) =
        (sorted("input", inputs, &arguments)?, sorted("output", outputs, &function.outputs)?);
    Ok(SignatureInterface {
        signature,
        inputs: sorted_inputs.into_iter().map(|(index, tensor)| (inputs[index].as_str(), tensor)).collect(),
        outputs: sorted_outputs.into_iter().map(|(index, tensor)| (outputs[index].as_str(), tensor)).collect(),
    })
}

impl SignatureInterface<'_> {
    /// The signature as Python calls it.
    fn callable<'n>(&'n self, function: &'n str, bound: Vec<i32>) -> Callable<'n> {
        let specs = |tensors: &[(&str, TensorRef)]| {
            let spec = |(name, tensor): &(&str, TensorRef)| {
                ((*name).to_owned(), tensor_spec(name, tensor.dtype, &tensor.shape))
            };
            tensors.iter().map(spec).collect::<Vec<_>>()
        };
        Callable {
            function,
            arguments: self.inputs.iter().map(|(name, _)| *name).collect(),
            bound,
            takes: keyword_arguments(specs(&self.inputs)),
            returns: dict(specs(&self.outputs)),
        }
    }
}

/// A meta graph that is being made.
pub(super) struct Builder<'a> {
    pub(super) program: &'a Rc<Program>,
    pub(super) names: Names,
    /// The nodes after those of variables and tables, as fields of the graph.
    nodes: Encoded,
    /// The functions, as fields of the library.
    library: Encoded,
    pub(super) objects: Objects,
    /// The names of the nodes of variables and tables.
    pub(super) handles: BTreeMap<Resource, String>,
    pub(super) signatures: BTreeMap<String, SignatureDef>,
    pub(super) assets: Vec<AssetFileDef>,
    /// The nodes that initialise tables.
    pub(super) initializers: Vec<String>,
    /// How many names of functions were given.
    function_names: usize,
}

impl<'a> Builder<'a> {
    fn new(program: &'a Rc<Program>) -> Self {
        Self {
            program,
            names: Names::default(),
            nodes: Encoded::default(),
            library: Encoded::default(),
            objects: Objects::new(),
            handles: BTreeMap::new(),
            signatures: BTreeMap::new(),
            assets: Vec::new(),
            initializers: Vec::new(),
            function_names: 0,
        }
    }

    /// Names the nodes of variables and tables, which are the first of the graph.
    fn name_handles(&mut self) {
        for (index, variable) in self.program.variables.borrow().iter().enumerate() {
            self.handles.insert(Resource::Variable(index), self.names.node(&variable.name));
        }
        for (index, table) in self.program.tables.borrow().iter().enumerate() {
            self.handles.insert(Resource::Table(index), self.names.node(&table.name));
        }
    }

    /// Adds a node.
    pub(super) fn add_node(&mut self, node: &NodeDef) -> Result<()> {
        self.nodes.push(NODE, node)
    }

    /// Adds a `FunctionDef` to the library.
    pub(super) fn add_function(&mut self, definition: Encoded) -> Result<()> {
        self.library.append(definition.into_field(FUNCTION)?);
        Ok(())
    }

    /// The nodes of variables and tables, as fields of the graph.
    fn handle_nodes(&self) -> Result<Encoded> {
        let name = |resource: Resource| self.handles.get(&resource).cloned().unwrap_or_default();
        let mut nodes = Encoded::default();
        for (index, variable) in self.program.variables.borrow().iter().enumerate() {
            let name = name(Resource::Variable(index));
            let attributes = [
                ("dtype", dtype(variable.dtype)),
                ("shape", attr::shape(&variable.shape)),
                ("shared_name", attribute(&Attr::Text(name.clone()))),
            ];
            nodes.push(NODE, &node(&name, "VarHandleOp", &[], attributes))?;
        }
        for (index, table) in self.program.tables.borrow().iter().enumerate() {
            let name = name(Resource::Table(index));
            let mut new = node(&name, tables::OP, &[], []);
            new.attr = attributes(&tables::attrs(table, &name));
            nodes.push(NODE, &new)?;
        }
        Ok(nodes)
    }

    /// Adds the functions that the signatures call, directly or not.
    fn add_library(&mut self, signatures: &[SignatureInterface<'_>]) -> Result<()> {
        let program = self.program;
        let library = program.library.borrow();
        let mut needed: BTreeSet<String> = BTreeSet::new();
        let require = |function: &Function, needed: &mut BTreeSet<String>| {
            function.graph.with_nodes(|nodes| {
                let live = live_nodes(program, nodes, &function.outputs);
                needed.extend(called(nodes, &live).map(str::to_owned));
            });
        };
        signatures.iter().for_each(|interface| require(&interface.signature.function, &mut needed));
        // Each function comes before its callers.
        let mut kept = Vec::new();
        for function in library.iter().rev() {
            if needed.contains(&function.name) {
                require(function, &mut needed);
                kept.push(function);
            }
        }
        for function in kept.into_iter().rev() {
            let arguments = function.graph.arguments();
            let names: Vec<String> = arguments.iter().map(|argument| function.graph.node_name(argument)).collect();
            let interface = Interface {
                name: &library_name(&function.name),
                arguments: names.iter().map(String::as_str).zip(arguments).collect(),
                outputs: function.outputs.iter().map(|output| ("output", output.clone())).collect(),
                copies_arguments: false,
            };
            let Defined { definition, resources, .. } = define(program, &function.graph, &interface)?;
            if !resources.is_empty() {
                refuse!("the function `{}` uses variables that its caller does not pass", function.name);
            }
            self.add_function(definition)?;
        }
        for (index, function) in program.imported.borrow().iter().enumerate() {
            let name = Program::imported_name(index);
            if needed.contains(&name) {
                for function in function.named(&library_name(&name)) {
                    self.add_function(Encoded::new(&function)?)?;
                }
            }
        }
        Ok(())
    }

    /// Adds a signature: its function, placeholders and a call.
    fn add_signature(&mut self, interface: &SignatureInterface<'_>, function: &str) -> Result<Called> {
        let name = &interface.signature.name;
        let defined = define(
            self.program,
            &interface.signature.function.graph,
            &Interface {
                name: function,
                arguments: interface.inputs.clone(),
                outputs: interface.outputs.clone(),
                copies_arguments: true,
            },
        )?;
        let mut definition =
            SignatureDef { method_name: "tensorflow/serving/predict".to_owned(), ..SignatureDef::default() };
        let mut inputs = Vec::new();
        for (input, tensor) in &interface.inputs {
            let placeholder = self.names.node(&format!("{name}_{input}"));
            let attributes = [("dtype", dtype(tensor.dtype)), ("shape", attribute(&Attr::Shape(tensor.shape.clone())))];
            self.add_node(&node(&placeholder, "Placeholder", &[], attributes))?;
            definition.inputs.insert((*input).to_owned(), info(format!("{placeholder}:0"), tensor));
            inputs.push((placeholder, tensor.dtype));
        }
        let types: Vec<DType> = interface.outputs.iter().map(|(_, tensor)| tensor.dtype).collect();
        let call = self.add_call(defined, inputs, &types)?;
        for (index, (output, tensor)) in interface.outputs.iter().enumerate() {
            definition.outputs.insert((*output).to_owned(), info(format!("{}:{index}", call.node), tensor));
        }
        self.signatures.insert(name.clone(), definition);
        Ok(call)
    }

    /// Adds a function to the library and a node that calls it with these tensors and the handles that it uses.
    pub(super) fn add_call(
        &mut self,
        defined: Defined,
        mut inputs: Vec<(String, DType)>,
        outputs: &[DType],
    ) -> Result<Called> {
        let Defined { signature, definition, resources } = defined;
        let mut bound = Vec::new();
        for resource in resources {
            bound.push(self.objects.resource(resource)?);
            inputs.push((self.handles.get(&resource).cloned().unwrap_or_default(), DType::Resource));
        }
        let name = self.names.node("StatefulPartitionedCall");
        let (inputs, types): (Vec<String>, Vec<DType>) = inputs.into_iter().unzip();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = [
            ("Tin", dtypes(types.into_iter().map(proto_dtype))),
            ("Tout", dtypes(outputs.iter().copied().map(proto_dtype))),
            ("f", super::attributes::function(signature.name.clone())),
        ];
        self.add_node(&node(&name, "StatefulPartitionedCall", &inputs, attributes))?;
        self.add_function(definition)?;
        Ok(Called { node: name, signature, bound })
    }

    /// Adds the method `serve`, which calls the function `called` of a signature.
    fn add_endpoint(
        &mut self,
        endpoint: Endpoint,
        of: &SignatureInterface<'_>,
        called: &OpDef,
        bound: Vec<i32>,
    ) -> Result<()> {
        let name = self.function_name(SERVE);
        let definition = endpoint.define(of, called, &name)?;
        self.add_function(Encoded::new(&definition)?)?;
        self.objects.add_method(SERVE, endpoint.method(of, &name, bound)?)
    }

    /// A name for a function that is not of the program's library, whose names end in their positions.
    pub(super) fn function_name(&mut self, name: &str) -> String {
        let number = self.program.library.borrow().len() + self.function_names;
        self.function_names += 1;
        library_name(&format!("{name}_{number}"))
    }

    fn finish(mut self) -> Result<DefinedMetaGraph> {
        let initializers: Vec<String> = self.initializers.iter().map(|name| format!("^{name}")).collect();
        let init = self.names.node("NoOp");
        let inputs: Vec<&str> = initializers.iter().map(String::as_str).collect();
        self.add_node(&node(&init, "NoOp", &inputs, []))?;
        self.signatures.insert(INIT_OP.to_owned(), init_op(&init));

        let variables = self.program.variables.borrow();
        let (mut keys, mut kept) = (Vec::new(), Vec::new());
        for (index, variable) in variables.iter().enumerate() {
            let resource = Resource::Variable(index);
            let key = self.objects.key(resource)?.to_owned();
            let dtype = proto_dtype(variable.dtype);
            kept.push(Restored {
                holder: self.handles.get(&resource).cloned().unwrap_or_default(),
                op: "AssignVariableOp".to_owned(),
                tensors: vec![SavedTensor { key: key.clone(), slice: String::new(), dtype }],
            });
            keys.push(key);
        }
        let mut graph = self.handle_nodes()?;
        graph.append(self.nodes);
        let (saved, tracked) = self.objects.finish();
        let scope = self.names.scope("saver");
        let saver = saver_in_scope(&scope, &kept, Some(&tracked), &mut |node| graph.push(NODE, &node))?;

        let assets = self.assets.iter().map(|asset| asset.filename.clone()).collect();
        let versions = GraphDef {
            versions: MessageField::some(VersionDef {
                producer: PRODUCER,
                min_consumer: MIN_CONSUMER,
                ..VersionDef::default()
            }),
            ..GraphDef::default()
        };
        graph.append(Encoded::new(&versions)?);
        graph.append(self.library.into_field(LIBRARY)?);
        let first = MetaGraphDef { meta_info_def: MessageField::some(meta_info()), ..MetaGraphDef::default() };
        let rest = MetaGraphDef {
            saver_def: MessageField::some(saver),
            collection_def: BTreeMap::from([("saved_model_main_op".to_owned(), node_list(init))]),
            signature_def: self.signatures,
            asset_file_def: self.assets,
            object_graph_def: MessageField::some(saved),
            ..MetaGraphDef::default()
        };
        let mut definition = Encoded::new(&first)?;
        definition.append(graph.into_field(GRAPH)?);
        definition.append(Encoded::new(&rest)?);
        Ok(DefinedMetaGraph { definition, tracked, keys, assets })
    }
}

/// A function of the library that the graph calls.
pub(super) struct Called {
    /// The name of the node that calls it.
    pub(super) node: String,
    signature: OpDef,
    /// The objects of the variables and tables that the function uses.
    pub(super) bound: Vec<i32>,
}

fn meta_info() -> MetaInfoDef {
    MetaInfoDef {
        tags: vec![saved_model::SERVE.to_owned()],
        tensorflow_version: TENSORFLOW.to_owned(),
        tensorflow_git_version: "unknown".to_owned(),
        stripped_default_attrs: true,
        ..MetaInfoDef::default()
    }
}

/// The name, dtype and shape of an input or output.
fn info(name: String, tensor: &TensorRef) -> TensorInfo {
    TensorInfo {
        dtype: proto_dtype(tensor.dtype),
        tensor_shape: MessageField::some(shape_proto(&tensor.shape)),
        encoding: Some(Encoding::Name(name)),
        ..TensorInfo::default()
    }
}

/// The entry by which loaders find the init op: an output without dtype and shape.
fn init_op(operation: &str) -> SignatureDef {
    let unknown = TensorShapeProto { unknown_rank: true, ..TensorShapeProto::default() };
    let name = TensorInfo {
        tensor_shape: MessageField::some(unknown),
        encoding: Some(Encoding::Name(operation.to_owned())),
        ..TensorInfo::default()
    };
    SignatureDef { outputs: BTreeMap::from([(INIT_OP.to_owned(), name)]), ..SignatureDef::default() }
}

fn node_list(name: String) -> CollectionDef {
    let list = NodeList { value: vec![name], ..NodeList::default() };
    CollectionDef { kind: Some(CollectionKind::NodeList(list)), ..CollectionDef::default() }
}
