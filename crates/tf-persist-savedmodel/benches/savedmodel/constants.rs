//! A SavedModel whose bytes are constants.

use std::fs::File;
use std::io::{BufWriter, Write};

use tempfile::TempDir;
use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;

/// Constants of this size each.
const NODE: usize = 50_000_000;

/// Writes one of about `bytes` bytes.
pub(crate) fn write(bytes: usize) -> TempDir {
    let mut meta_graph = pb::MetaGraphDef::new();
    meta_graph.meta_info_def.mut_or_insert_default().tags.push("serve".into());
    let graph = meta_graph.graph_def.mut_or_insert_default();
    // Not zeros, which a file system might not store.
    let content = Bytes::from((0..NODE).map(|index| ((index * 31) >> 3) as u8 | 1).collect::<Vec<_>>());
    for index in 0..bytes / NODE {
        let mut tensor = pb::TensorProto::new();
        tensor.dtype = pb::DataType::DT_UINT8.into();
        let shape = tensor.tensor_shape.mut_or_insert_default();
        shape.dim.push(Default::default());
        shape.dim[0].size = NODE as i64;
        tensor.tensor_content = content.clone();
        let mut node = pb::NodeDef::new();
        node.name = format!("constant_{index}");
        node.op = "Const".into();
        let mut value = pb::AttrValue::new();
        value.set_tensor(tensor);
        node.attr.insert("value".into(), value);
        graph.node.push(node);
    }
    let mut model = pb::SavedModel::new();
    model.saved_model_schema_version = 1;
    model.meta_graphs.push(meta_graph);
    let folder = tempfile::tempdir().unwrap();
    let mut file = BufWriter::new(File::create(folder.path().join("saved_model.pb")).unwrap());
    model.write_to_writer(&mut file).unwrap();
    file.flush().unwrap();
    folder
}
