//! A saver for some of the variables of a graph.

use tf_persist_proto::protobuf::{EnumOrUnknown, Message};
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::saver::saver_def::CheckpointFormatVersion;

use crate::checkpoint::OBJECT_GRAPH_KEY;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::attr::{self, ProtoType};
use crate::graph::{Graph, free_name};
use crate::saved_model::restored::{Restored, SavedTensor};
use crate::tensor::{Tensor, proto};

/// The nodes of a saver for these, and what a meta graph says of it.
///
/// The tensors are read and written under the keys that they have; the object graph is written with them, as Python does. The names begin with `saver`, or what is free.
///
/// None if there is nothing to save.
pub(crate) fn new_saver(
    graph: &Graph<'_>,
    kept: &[Restored],
    object_graph: Option<&pb::TrackableObjectGraph>,
) -> Result<Option<(Vec<pb::NodeDef>, pb::SaverDef)>> {
    if kept.is_empty() {
        return Ok(None);
    }
    let is_taken = |scope: &str| {
        graph
            .nodes
            .iter()
            .any(|node| node.name.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    let scope = free_name("saver", is_taken);
    let name = |name: &str| format!("{scope}/{name}");
    let filename = name("filename");
    let tensors: Vec<&SavedTensor> = kept.iter().flat_map(|item| &item.tensors).collect();
    let types: Vec<ProtoType> = tensors.iter().map(|tensor| tensor.dtype).collect();

    let prefix = proto::to_proto(&Tensor::from_strings(&[], [b"model"])?);
    let string = || attr::dtype(DType::String);
    let mut nodes = vec![
        attr::const_node(&name("filename/default"), prefix),
        attr::node(
            &filename,
            "PlaceholderWithDefault",
            &[&*name("filename/default")],
            [("dtype", string()), ("shape", attr::shape(&[]))],
        ),
        strings(&name("restore/keys"), &tensors, |tensor| &tensor.key)?,
        strings(&name("restore/slices"), &tensors, |tensor| &tensor.slice)?,
    ];
    let mut restore = attr::node(name("restore"), "RestoreV2", &[], [("dtypes", attr::dtypes(types.clone()))]);
    restore.input = vec![filename.clone(), name("restore/keys"), name("restore/slices")];

    let object_graph = object_graph.map(Message::write_to_bytes).transpose();
    let object_graph = object_graph.map_err(|error| Error::data("the object graph", error.to_string()))?;
    let graph_key = SavedTensor {
        key: OBJECT_GRAPH_KEY.into(),
        slice: String::new(),
        dtype: EnumOrUnknown::from_i32(DType::String.number()),
    };
    let mut saved_tensors = tensors.clone();
    let mut save_types = types;
    if object_graph.is_some() {
        saved_tensors.push(&graph_key);
        save_types.push(graph_key.dtype);
    }
    nodes.push(strings(&name("save/keys"), &saved_tensors, |tensor| &tensor.key)?);
    nodes.push(strings(&name("save/slices"), &saved_tensors, |tensor| &tensor.slice)?);
    let mut save = attr::node(name("save"), "SaveV2", &[], [("dtypes", attr::dtypes(save_types))]);
    save.input = vec![filename.clone(), name("save/keys"), name("save/slices")];
    let mut all = attr::node(name("restore_all"), "NoOp", &[], []);
    let mut next = 0;
    for (number, item) in kept.iter().enumerate() {
        let mut restored: Vec<String> = Vec::new();
        for _ in &item.tensors {
            restored.push(if next == 0 { name("restore") } else { format!("{}:{next}", name("restore")) });
            next += 1;
        }
        let (read, assign) = (name(&format!("read_{number}")), name(&format!("assign_{number}")));
        let dtype = attr::proto_type(item.tensors[0].dtype);
        let mut node = attr::node(&assign, &item.op, &[&*item.holder], []);
        node.input.extend(restored);
        match item.op.as_str() {
            "Assign" => {
                save.input.push(item.holder.clone());
                node.attr.insert("T".into(), dtype);
                // A partitioned variable's shape is that of its slice, which TensorFlow checks as well.
                node.attr.insert("validate_shape".into(), attr::boolean(true));
                node.attr.insert("use_locking".into(), attr::boolean(true));
            }
            "AssignVariableOp" => {
                nodes.push(attr::node(&read, "ReadVariableOp", &[&*item.holder], [("dtype", dtype.clone())]));
                save.input.push(read);
                node.attr.insert("dtype".into(), dtype);
                node.attr.insert("validate_shape".into(), attr::boolean(false));
            }
            _ => {
                let types =
                    [("Tkeys", dtype), ("Tvalues", attr::proto_type(item.tensors[item.tensors.len() - 1].dtype))];
                nodes.push(attr::node(&read, "LookupTableExportV2", &[&*item.holder], types.clone()));
                save.input.extend([read.clone(), format!("{read}:1")]);
                node.attr.insert("Tin".into(), types[0].1.clone());
                node.attr.insert("Tout".into(), types[1].1.clone());
            }
        }
        nodes.push(node);
        all.input.push(format!("^{assign}"));
    }
    if let Some(bytes) = object_graph {
        let node = attr::const_node(&name("object_graph"), proto::to_proto(&Tensor::from_strings(&[], [bytes])?));
        save.input.push(node.name.clone());
        nodes.push(node);
    }
    let mut saved = attr::node(name("saved"), "Identity", &[&*filename], [("T", string())]);
    saved.input.push(format!("^{}", save.name));
    let definition = pb::SaverDef {
        filename_tensor_name: format!("{filename}:0"),
        save_tensor_name: format!("{}:0", saved.name),
        restore_op_name: all.name.clone(),
        version: EnumOrUnknown::new(CheckpointFormatVersion::V2),
        ..Default::default()
    };
    nodes.extend([save, saved, restore, all]);
    Ok(Some((nodes, definition)))
}

/// A constant with one string of each tensor.
fn strings(name: &str, tensors: &[&SavedTensor], string: impl Fn(&SavedTensor) -> &String) -> Result<pb::NodeDef> {
    let strings: Vec<&String> = tensors.iter().map(|tensor| string(tensor)).collect();
    attr::strings_node(name, &strings)
}
