//! The object graph, from which Python's `tf.saved_model.load` builds the model, and the same graph in the checkpoint.

use std::collections::{BTreeMap, HashMap};

use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::tensorflow::saved_object_graph::saved_object::Kind;
use tf_persist_proto::tensorflow::trackable_object_graph::trackable_object_graph::TrackableObject;
use tf_persist_proto::tensorflow::trackable_object_graph::trackable_object_graph::trackable_object::{
    ObjectReference, SerializedTensor,
};
use tf_persist_proto::tensorflow::{
    FunctionSpec, SavedAsset, SavedBareConcreteFunction, SavedConcreteFunction, SavedFunction, SavedObject,
    SavedObjectGraph, SavedResource, SavedUserObject, SavedVariable, StructuredValue, TrackableObjectGraph, VersionDef,
};
use tf_persist_savedmodel::internals::attr::{proto_dtype, shape_proto};

use crate::graph::{Resource, Variable};
use crate::reason::{Result, refuse};

/// The name of the root's child that has the signatures.
const SIGNATURES: &str = "signatures";

/// The object graph that is being made. Each object is a node with named children; the root is the first one.
pub(super) struct Objects {
    nodes: Vec<SavedObject>,
    /// The children by parent and name.
    children: HashMap<(i32, String), i32>,
    functions: BTreeMap<String, SavedConcreteFunction>,
    /// The nodes of variables and tables.
    resources: BTreeMap<Resource, i32>,
    /// The attributes of variables in the checkpoint, by node.
    values: BTreeMap<i32, SerializedTensor>,
}

/// A function that Python can call.
pub(super) struct Callable<'a> {
    /// Its name in the library.
    pub(super) function: &'a str,
    /// The names of the arguments that Python gives.
    pub(super) arguments: Vec<&'a str>,
    /// What the loader passes after them, by node.
    pub(super) bound: Vec<i32>,
    pub(super) takes: StructuredValue,
    pub(super) returns: StructuredValue,
}

/// A method of the loaded model, which takes its arguments by position.
pub(super) struct Method<'a> {
    pub(super) callable: Callable<'a>,
    /// A `FullArgSpec` of Python.
    pub(super) argument_names: StructuredValue,
    /// The dtypes and shapes of the arguments.
    pub(super) input_signature: StructuredValue,
}

impl Objects {
    pub(super) fn new() -> Self {
        let mut objects = Self {
            nodes: Vec::new(),
            children: HashMap::new(),
            functions: BTreeMap::new(),
            resources: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        objects.add(user_object("_generic_user_object"));
        objects
    }

    /// Adds variables and tables under their paths: `weights/dense/kernel` is an item of dictionaries. `node_name` is
    /// the name of a variable's node.
    pub(super) fn add_resources(
        &mut self,
        names: &[(String, Resource)],
        kind: impl Fn(Resource) -> Kind,
        node_name: impl Fn(Resource) -> Option<String>,
    ) -> Result<()> {
        // Where one name continues another, the shorter one comes first.
        let mut sorted: Vec<(Vec<&str>, Resource)> =
            names.iter().map(|(name, resource)| (name.split('/').collect(), *resource)).collect();
        sorted.sort_unstable();
        for (parts, resource) in sorted {
            let (mut folder, mut key, mut rest) = (0, String::new(), parts.as_slice());
            let name = loop {
                let [first, others @ ..] = rest else { refuse!("two variables have the name `{}`", parts.join("/")) };
                if others.is_empty() {
                    break (*first).to_owned();
                }
                match self.folder(folder, first) {
                    Some(inner) => folder = inner,
                    // The name so far is that of a variable, which has no items.
                    None => break rest.join("/"),
                }
                push_key(&mut key, first);
                rest = others;
            };
            push_key(&mut key, &name);
            if self.child(folder, &name).is_some() || (folder == 0 && name == SIGNATURES) {
                refuse!("two variables or tables have the name `{}`", parts.join("/"));
            }
            let node = self.add(kind(resource));
            self.link(folder, name, node);
            self.resources.insert(resource, node);
            if let Some(full_name) = node_name(resource) {
                let checkpoint_key = format!("{key}/.ATTRIBUTES/VARIABLE_VALUE");
                let name = "VARIABLE_VALUE".to_owned();
                let value = SerializedTensor { name, full_name, checkpoint_key, ..SerializedTensor::default() };
                self.values.insert(node, value);
            }
        }
        Ok(())
    }

    /// Adds the signatures by name, each as a function.
    pub(super) fn add_signatures(&mut self, signatures: Vec<(&str, Callable<'_>)>) {
        let map = self.add(user_object("signature_map"));
        self.link(0, SIGNATURES.to_owned(), map);
        for (name, callable) in signatures {
            let node = self.add_function(callable);
            self.link(map, name.to_owned(), node);
        }
    }

    /// Adds a function, and returns its node.
    pub(super) fn add_function(&mut self, callable: Callable<'_>) -> i32 {
        let name = self.concrete_function(callable.function, callable.bound, callable.takes, callable.returns);
        self.add(Kind::BareConcreteFunction(SavedBareConcreteFunction {
            concrete_function_name: name,
            allowed_positional_arguments: i64::from(callable.arguments.len() == 1),
            argument_keywords: callable.arguments.into_iter().map(str::to_owned).collect(),
            ..SavedBareConcreteFunction::default()
        }))
    }

    /// Adds a method to the root.
    pub(super) fn add_method(&mut self, name: &str, method: Method<'_>) -> Result<()> {
        if self.child(0, name).is_some() {
            refuse!("a variable has the name `{name}`, which a method of the model has");
        }
        let Method { callable, argument_names, input_signature } = method;
        let function = self.concrete_function(callable.function, callable.bound, callable.takes, callable.returns);
        let spec = FunctionSpec {
            fullargspec: MessageField::some(argument_names),
            input_signature: MessageField::some(input_signature),
            ..FunctionSpec::default()
        };
        let node = self.add(Kind::Function(SavedFunction {
            concrete_functions: vec![function],
            function_spec: MessageField::some(spec),
            ..SavedFunction::default()
        }));
        self.link(0, name.to_owned(), node);
        Ok(())
    }

    fn concrete_function(
        &mut self,
        name: &str,
        bound: Vec<i32>,
        takes: StructuredValue,
        returns: StructuredValue,
    ) -> String {
        let function = SavedConcreteFunction {
            bound_inputs: bound,
            canonicalized_input_signature: MessageField::some(takes),
            output_signature: MessageField::some(returns),
            ..SavedConcreteFunction::default()
        };
        self.functions.insert(name.to_owned(), function);
        name.to_owned()
    }

    /// Adds an asset by its index in the meta graph, and returns its node.
    pub(super) fn add_asset(&mut self, parent: i32, name: &str, index: i32) -> i32 {
        let node = self.add(Kind::Asset(SavedAsset { asset_file_def_index: index, ..SavedAsset::default() }));
        self.link(parent, name.to_owned(), node);
        node
    }

    /// The node of a variable or table.
    pub(super) fn resource(&self, resource: Resource) -> Result<i32> {
        match self.resources.get(&resource) {
            Some(node) => Ok(*node),
            None => refuse!("a function uses a variable or table that the model does not have"),
        }
    }

    /// The key of a variable in the checkpoint.
    pub(super) fn key(&self, variable: Resource) -> Result<&str> {
        match self.values.get(&self.resource(variable)?) {
            Some(value) => Ok(&value.checkpoint_key),
            None => refuse!("a table has no value"),
        }
    }

    /// Both object graphs.
    pub(super) fn finish(self) -> (SavedObjectGraph, TrackableObjectGraph) {
        let mut values = self.values;
        let tracked = self.nodes.iter().zip(0..).map(|(node, id)| TrackableObject {
            children: node.children.clone(),
            attributes: values.remove(&id).into_iter().collect(),
            ..TrackableObject::default()
        });
        let tracked = TrackableObjectGraph { nodes: tracked.collect(), ..TrackableObjectGraph::default() };
        let saved =
            SavedObjectGraph { nodes: self.nodes, concrete_functions: self.functions, ..SavedObjectGraph::default() };
        (saved, tracked)
    }

    pub(super) fn link(&mut self, parent: i32, name: String, child: i32) {
        self.children.insert((parent, name.clone()), child);
        let reference = ObjectReference { node_id: child, local_name: name, ..ObjectReference::default() };
        if let Some(parent) = self.node_mut(parent) {
            parent.children.push(reference);
        }
    }

    fn add(&mut self, kind: Kind) -> i32 {
        let id = i32::try_from(self.nodes.len()).unwrap_or(i32::MAX);
        // Python's class of tables in a loaded model.
        let registered_name = if matches!(kind, Kind::Resource(_)) { "tf.StaticHashTable" } else { "" };
        let registered_name = registered_name.to_owned();
        self.nodes.push(SavedObject { kind: Some(kind), registered_name, ..SavedObject::default() });
        id
    }

    /// The dictionary of this name in another, which is added if it is missing. `None` if the item is not a dictionary.
    fn folder(&mut self, parent: i32, name: &str) -> Option<i32> {
        let Some(child) = self.child(parent, name) else {
            let child = self.add(user_object("trackable_dict_wrapper"));
            self.link(parent, name.to_owned(), child);
            return Some(child);
        };
        let found = self.nodes.get(usize::try_from(child).ok()?)?;
        matches!(found.kind, Some(Kind::UserObject(_))).then_some(child)
    }

    fn child(&self, parent: i32, name: &str) -> Option<i32> {
        self.children.get(&(parent, name.to_owned())).copied()
    }

    fn node_mut(&mut self, node: i32) -> Option<&mut SavedObject> {
        self.nodes.get_mut(usize::try_from(node).ok()?)
    }
}

/// Adds a name to a path, escaped as in Python.
fn push_key(key: &mut String, name: &str) {
    if !key.is_empty() {
        key.push('/');
    }
    key.push_str(&name.replace('.', "..").replace('/', ".S"));
}

fn user_object(identifier: &str) -> Kind {
    let version = VersionDef { producer: 1, min_consumer: 1, ..VersionDef::default() };
    Kind::UserObject(SavedUserObject {
        identifier: identifier.to_owned(),
        version: MessageField::some(version),
        ..SavedUserObject::default()
    })
}

/// A variable as an object.
pub(super) fn variable(variable: &Variable, node_name: &str) -> Kind {
    Kind::Variable(SavedVariable {
        dtype: proto_dtype(variable.dtype),
        shape: MessageField::some(shape_proto(&variable.shape)),
        trainable: variable.trainable,
        name: node_name.to_owned(),
        ..SavedVariable::default()
    })
}

/// A table as an object.
pub(super) fn table() -> Kind {
    Kind::Resource(SavedResource::default())
}
