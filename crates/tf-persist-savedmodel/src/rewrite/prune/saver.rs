//! Makes a saver for some of the variables of a graph.

use tf_persist_proto::protobuf::{EnumOrUnknown, Message};
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::saver::saver_def::CheckpointFormatVersion;

use crate::checkpoint::OBJECT_GRAPH_KEY;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::attr;
use crate::graph::{Graph, free_name};
use crate::saved_model::restored::{Restored, SavedTensor};
use crate::tensor::{Tensor, proto};

/// Makes the nodes of a saver for these variables and tables, and its definition. `None` if there is nothing to save.
///
/// Tensors keep their keys. The object graph is written with them, as in Python. All names begin with `saver`, or
/// another free name.
pub(crate) fn new_saver(
    graph: &Graph<'_>,
    kept: &[Restored],
    object_graph: Option<&pb::TrackableObjectGraph>,
) -> Result<Option<(Vec<pb::NodeDef>, pb::SaverDef)>> {
    if kept.is_empty() {
        return Ok(None);
    }
    let is_in = |node: &pb::NodeDef, scope: &str| {
        node.name.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let scope = free_name("saver", |scope| graph.nodes.iter().any(|node| is_in(node, scope)));
    let mut nodes = Vec::new();
    let add = &mut |node| -> Result<()> {
        nodes.push(node);
        Ok(())
    };
    let definition = saver_in_scope(&scope, kept, object_graph, add)?;
    Ok(Some((nodes, definition)))
}

/// As `new_saver`, for a graph in which no node's name begins with `scope`. There may be nothing to restore if there is
/// an object graph to save. `add` takes one node after the other, since all of them together need much memory.
///
/// # Errors
/// Those of `add`, and if a tensor cannot be allocated.
pub fn saver_in_scope<E: From<Error>>(
    scope: &str,
    kept: &[Restored],
    object_graph: Option<&pb::TrackableObjectGraph>,
    add: &mut dyn FnMut(pb::NodeDef) -> Result<(), E>,
) -> Result<pb::SaverDef, E> {
    let builder = SaverBuilder { scope: scope.to_owned(), add, saved: Vec::new() };
    builder.build(kept, object_graph)
}

/// A saver that is being made.
struct SaverBuilder<'a, E> {
    /// The prefix of all names.
    scope: String,
    add: &'a mut dyn FnMut(pb::NodeDef) -> Result<(), E>,
    /// The tensors that are written, in the order of the keys.
    saved: Vec<String>,
}

impl<E: From<Error>> SaverBuilder<'_, E> {
    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.scope)
    }

    fn build(mut self, kept: &[Restored], object_graph: Option<&pb::TrackableObjectGraph>) -> Result<pb::SaverDef, E> {
        let filename = self.add_filename()?;
        let mut tensors: Vec<&SavedTensor> = kept.iter().flat_map(|item| &item.tensors).collect();
        let restore = if tensors.is_empty() { None } else { Some(self.restore_node(&filename, &tensors)?) };
        let mut restore_all = attr::node(self.name("restore_all"), "NoOp", &[], []);
        let mut next = 0;
        for (number, item) in kept.iter().enumerate() {
            let node = restore.as_ref().map_or("", |restore| &restore.name);
            let restored = (next..next + item.tensors.len()).map(|output| match output {
                0 => node.to_owned(),
                output => format!("{node}:{output}"),
            });
            next += item.tensors.len();
            restore_all.input.push(format!("^{}", self.add_item(number, item, restored)?));
        }
        let graph_key = SavedTensor {
            key: OBJECT_GRAPH_KEY.into(),
            slice: String::new(),
            dtype: EnumOrUnknown::from_i32(DType::String.number()),
        };
        if let Some(object_graph) = object_graph {
            let bytes = object_graph.write_to_bytes();
            let bytes = bytes.map_err(|error| Error::data("the object graph", error.to_string()))?;
            let value = proto::to_proto(&Tensor::from_strings(&[], [bytes])?);
            let node = attr::const_node(&self.name("object_graph"), value);
            self.saved.push(node.name.clone());
            (self.add)(node)?;
            tensors.push(&graph_key);
        }
        let save = self.save_node(&filename, &tensors)?;
        let mut saved = attr::node(self.name("saved"), "Identity", &[&*filename], [("T", attr::dtype(DType::String))]);
        saved.input.push(format!("^{}", save.name));
        let definition = pb::SaverDef {
            filename_tensor_name: format!("{filename}:0"),
            save_tensor_name: format!("{}:0", saved.name),
            restore_op_name: restore_all.name.clone(),
            version: EnumOrUnknown::new(CheckpointFormatVersion::V2),
            ..Default::default()
        };
        [save, saved].into_iter().chain(restore).chain([restore_all]).try_for_each(self.add)?;
        Ok(definition)
    }

    /// Adds the placeholder of the prefix, and returns its name.
    fn add_filename(&mut self) -> Result<String, E> {
        let (filename, default) = (self.name("filename"), self.name("filename/default"));
        let prefix = proto::to_proto(&Tensor::from_strings(&[], [b"model"])?);
        let attributes = [("dtype", attr::dtype(DType::String)), ("shape", attr::shape(&[]))];
        (self.add)(attr::const_node(&default, prefix))?;
        (self.add)(attr::node(&filename, "PlaceholderWithDefault", &[&*default], attributes))?;
        Ok(filename)
    }

    /// The node that reads tensors. Adds the constants with their keys and slices.
    fn restore_node(&mut self, filename: &str, tensors: &[&SavedTensor]) -> Result<pb::NodeDef, E> {
        let (keys, slices) = (self.name("restore/keys"), self.name("restore/slices"));
        self.add_keys_and_slices(&keys, &slices, tensors)?;
        let types = attr::dtypes(tensors.iter().map(|tensor| tensor.dtype));
        Ok(attr::node(self.name("restore"), "RestoreV2", &[filename, &keys, &slices], [("dtypes", types)]))
    }

    /// The node that writes tensors. Adds the constants with their keys and slices.
    fn save_node(&mut self, filename: &str, tensors: &[&SavedTensor]) -> Result<pb::NodeDef, E> {
        let (keys, slices) = (self.name("save/keys"), self.name("save/slices"));
        self.add_keys_and_slices(&keys, &slices, tensors)?;
        let types = attr::dtypes(tensors.iter().map(|tensor| tensor.dtype));
        let mut save = attr::node(self.name("save"), "SaveV2", &[filename, &keys, &slices], [("dtypes", types)]);
        save.input.append(&mut self.saved);
        Ok(save)
    }

    fn add_keys_and_slices(&mut self, keys: &str, slices: &str, tensors: &[&SavedTensor]) -> Result<(), E> {
        (self.add)(strings(keys, tensors, |tensor| &tensor.key)?)?;
        (self.add)(strings(slices, tensors, |tensor| &tensor.slice)?)
    }

    /// Adds the nodes that read and assign a variable or table, and returns the name of the latter.
    fn add_item(
        &mut self,
        number: usize,
        item: &Restored,
        restored: impl Iterator<Item = String>,
    ) -> Result<String, E> {
        let (read, assign) = (self.name(&format!("read_{number}")), self.name(&format!("assign_{number}")));
        let dtype = attr::proto_type(item.tensors[0].dtype);
        let mut node = attr::node(&assign, &item.op, &[&*item.holder], []);
        node.input.extend(restored);
        match item.op.as_str() {
            "Assign" => {
                self.saved.push(item.holder.clone());
                node.attr.insert("T".into(), dtype);
                // The shape of a partitioned variable is that of its slice, which TensorFlow checks as well.
                node.attr.insert("validate_shape".into(), attr::boolean(true));
                node.attr.insert("use_locking".into(), attr::boolean(true));
            }
            "AssignVariableOp" => {
                (self.add)(attr::node(&read, "ReadVariableOp", &[&*item.holder], [("dtype", dtype.clone())]))?;
                self.saved.push(read);
                node.attr.insert("dtype".into(), dtype);
                node.attr.insert("validate_shape".into(), attr::boolean(false));
            }
            _ => {
                let values = attr::proto_type(item.tensors[item.tensors.len() - 1].dtype);
                let types = [("Tkeys", dtype.clone()), ("Tvalues", values.clone())];
                (self.add)(attr::node(&read, "LookupTableExportV2", &[&*item.holder], types))?;
                self.saved.extend([read.clone(), format!("{read}:1")]);
                node.attr.insert("Tin".into(), dtype);
                node.attr.insert("Tout".into(), values);
            }
        }
        (self.add)(node)?;
        Ok(assign)
    }
}

/// A constant with one string per tensor.
fn strings(name: &str, tensors: &[&SavedTensor], string: impl Fn(&SavedTensor) -> &String) -> Result<pb::NodeDef> {
    let strings: Vec<&String> = tensors.iter().map(|tensor| string(tensor)).collect();
    attr::strings_node(name, &strings)
}
