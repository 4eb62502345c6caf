//! The nodes that save and restore variables, as added by Python's `tf.compat.v1.train.Saver`
//! (`tensorflow/python/training/saver.py`, version 2 of the format), and the definitions of the variables.

use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::protobuf::{EnumOrUnknown, Message};
use tf_persist_proto::tensorflow::meta_graph::collection_def::{BytesList, Kind as CollectionKind};
use tf_persist_proto::tensorflow::saver::saver_def::CheckpointFormatVersion;
use tf_persist_proto::tensorflow::{CollectionDef, NodeDef, SaverDef, VariableDef};
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::error::{Error, Result};
use tf_persist_savedmodel::internals::HandleKind;
use tf_persist_savedmodel::internals::attr::{self, node};
use tf_persist_savedmodel::tensor::Tensor;
use tf_persist_savedmodel::tensor::proto::to_proto;

use super::nodes::FreeNames;
use super::variables::Variable;

/// The additions to a graph with variables.
pub(super) struct Saver {
    pub(super) nodes: Vec<NodeDef>,
    pub(super) definition: SaverDef,
    /// A `VariableDef` for each variable, in the order of the graph.
    pub(super) definitions: Vec<VariableDef>,
}

impl Saver {
    pub(super) fn new(variables: &[Variable<'_>], names: &mut FreeNames) -> Result<Self> {
        let scope = names.scope("save");
        let name = |node: &str| format!("{scope}/{node}");
        let mut nodes = filename(&scope)?;
        let (mut definitions, mut reads, mut assigns) = (Vec::new(), Vec::new(), Vec::new());
        for (index, variable) in variables.iter().enumerate() {
            let read = read(variable, names);
            let assign = assign(variable, &scope, index);
            definitions.push(define(variable, &read.name, &assign.name));
            reads.push(read);
            assigns.push(assign);
        }

        let keys: Vec<&str> = variables.iter().map(|variable| variable.name).collect();
        let whole = vec![""; keys.len()];
        let types = || attr::dtypes(variables.iter().map(|variable| attr::proto_dtype(variable.dtype)));
        for op in ["SaveV2", "RestoreV2"] {
            nodes.push(attr::strings_node(&name(&format!("{op}/tensor_names")), &keys)?);
            nodes.push(attr::strings_node(&name(&format!("{op}/shape_and_slices")), &whole)?);
        }
        let (prefix, tensors, slices) = (name("Const"), name("SaveV2/tensor_names"), name("SaveV2/shape_and_slices"));
        let values = reads.iter().map(|read| read.name.as_str());
        let inputs: Vec<&str> = [prefix.as_str(), &tensors, &slices].into_iter().chain(values).collect();
        nodes.push(node(name("SaveV2"), "SaveV2", &inputs, [("dtypes", types())]));
        let saved = format!("^{}", name("SaveV2"));
        let string = attr::dtype(DType::String);
        nodes.push(node(name("control_dependency"), "Identity", &[&prefix, &saved], [("T", string)]));

        let (tensors, slices) = (name("RestoreV2/tensor_names"), name("RestoreV2/shape_and_slices"));
        nodes.push(node(name("RestoreV2"), "RestoreV2", &[&prefix, &tensors, &slices], [("dtypes", types())]));
        let assigned: Vec<String> = assigns.iter().map(|assign| format!("^{}", assign.name)).collect();
        let assigned: Vec<&str> = assigned.iter().map(String::as_str).collect();
        let all = node(name("restore_all"), "NoOp", &assigned, []);
        nodes.extend(reads);
        nodes.extend(assigns);
        nodes.push(all);

        let definition = SaverDef {
            filename_tensor_name: format!("{prefix}:0"),
            save_tensor_name: format!("{}:0", name("control_dependency")),
            restore_op_name: name("restore_all"),
            // The default of Python's saver, which only Python uses.
            max_to_keep: 5,
            keep_checkpoint_every_n_hours: 10_000.0,
            version: EnumOrUnknown::new(CheckpointFormatVersion::V2),
            ..SaverDef::default()
        };
        Ok(Self { nodes, definition, definitions })
    }

    /// The collections by which Python finds the variables.
    pub(super) fn collections(&self) -> Result<Vec<(String, CollectionDef)>> {
        let trained = self.definitions.iter().filter(|definition| definition.trainable);
        let all = [("variables", self.definitions.iter().collect()), ("trainable_variables", trained.collect())];
        let collection = |(name, definitions): (&str, Vec<&VariableDef>)| {
            let value = definitions.into_iter().map(serialize).collect::<Result<Vec<Bytes>>>()?;
            let kind = Some(CollectionKind::BytesList(BytesList { value, ..BytesList::default() }));
            Ok((name.to_owned(), CollectionDef { kind, ..CollectionDef::default() }))
        };
        all.into_iter().map(collection).collect()
    }
}

/// The placeholder of the prefix, with a default as in Python.
fn filename(scope: &str) -> Result<Vec<NodeDef>> {
    let (input, filename) = (format!("{scope}/filename/input"), format!("{scope}/filename"));
    let default = |name: &str, input: &str| {
        let attributes = [("dtype", attr::dtype(DType::String)), ("shape", attr::shape(&[]))];
        node(name, "PlaceholderWithDefault", &[input], attributes)
    };
    Ok(vec![
        attr::const_node(&input, to_proto(&Tensor::from_strings(&[], [b"model"])?)),
        default(&filename, &input),
        default(&format!("{scope}/Const"), &filename),
    ])
}

/// The node that reads the value of a variable.
fn read(variable: &Variable<'_>, names: &mut FreeNames) -> NodeDef {
    let dtype = attr::dtype(variable.dtype);
    match variable.kind {
        HandleKind::Reference => {
            let name = names.node(&format!("{}/read", variable.name));
            node(name, "Identity", &[variable.name], [("T", dtype), ("_class", attr::beside(variable.name))])
        }
        HandleKind::Resource => {
            let name = names.node(&format!("{}/Read/ReadVariableOp", variable.name));
            node(name, "ReadVariableOp", &[variable.name], [("dtype", dtype)])
        }
    }
}

/// The node that assigns the value from the checkpoint to the variable.
fn assign(variable: &Variable<'_>, scope: &str, index: usize) -> NodeDef {
    let op = variable.kind.assign_op();
    let name = if index == 0 { format!("{scope}/{op}") } else { format!("{scope}/{op}_{index}") };
    let inputs = [variable.name, &format!("{scope}/RestoreV2:{index}")];
    let dtype = attr::dtype(variable.dtype);
    match variable.kind {
        HandleKind::Reference => {
            let attributes = [
                ("T", dtype),
                ("_class", attr::beside(variable.name)),
                ("use_locking", attr::boolean(true)),
                ("validate_shape", attr::boolean(variable.whole_shape)),
            ];
            node(name, op, &inputs, attributes)
        }
        HandleKind::Resource => node(name, op, &inputs, [("dtype", dtype)]),
    }
}

/// The definition of a variable for Python. It requires an initialiser, which is the restoring node where the graph has
/// none.
fn define(variable: &Variable<'_>, read: &str, restore: &str) -> VariableDef {
    let tensor = |name: &str| if name.contains(':') { name.to_owned() } else { format!("{name}:0") };
    let (initializer, initial) = variable.initializer.unwrap_or((restore, ""));
    VariableDef {
        variable_name: tensor(variable.name),
        initial_value_name: if initial.is_empty() { String::new() } else { tensor(initial) },
        initializer_name: initializer.to_owned(),
        snapshot_name: tensor(read),
        is_resource: variable.kind == HandleKind::Resource,
        trainable: variable.trainable,
        ..VariableDef::default()
    }
}

fn serialize(definition: &VariableDef) -> Result<Bytes> {
    let what = || format!("variable `{}`", definition.variable_name);
    definition.write_to_bytes().map(Bytes::from).map_err(|error| Error::data(what(), error.to_string()))
}
