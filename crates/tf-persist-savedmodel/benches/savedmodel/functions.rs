//! A SavedModel whose bytes are nodes: a real model's functions, again and again under other names, all of them called.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::tensorflow::attr_value::attr_value::Value;

/// Writes one of about `bytes` bytes, made of the model in a folder.
pub(crate) fn write(of: &Path, bytes: usize) -> TempDir {
    let file = fs::read(of.join("saved_model.pb")).unwrap();
    let mut model = pb::SavedModel::parse_from_bytes(&file).unwrap();
    let graph = model.meta_graphs[0].graph_def.mut_or_insert_default();
    let library = graph.library.mut_or_insert_default();
    let functions = library.function.clone();
    let size: u64 = functions.iter().map(Message::compute_size).sum();
    let callers: Vec<pb::NodeDef> =
        graph.node.iter().filter(|node| node.op == "StatefulPartitionedCall").cloned().collect();
    let mut names = Vec::new();
    for copy in 0..bytes as u64 / size {
        for function in &functions {
            let mut function = function.clone();
            function.signature.mut_or_insert_default().name.push_str(&format!("_{copy}"));
            function.node_def.iter_mut().for_each(|node| rename(node, copy));
            library.function.push(function);
        }
        for caller in &callers {
            let mut caller = caller.clone();
            caller.name.push_str(&format!("_{copy}"));
            rename(&mut caller, copy);
            names.push(format!("^{}", caller.name));
            graph.node.push(caller);
        }
    }
    // Whatever the signatures give waits for all of them.
    for node in graph.node.iter_mut().filter(|node| callers.iter().any(|caller| caller.name == node.name)) {
        node.input.extend(names.iter().cloned());
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("saved_model.pb"), model.write_to_bytes().unwrap()).unwrap();
    fs::create_dir(folder.path().join("variables")).unwrap();
    for entry in fs::read_dir(of.join("variables")).unwrap() {
        let name = entry.unwrap().file_name();
        let variables = |model: &Path| model.join("variables").join(&name);
        fs::copy(variables(of), variables(folder.path())).unwrap();
    }
    folder
}

fn rename(node: &mut pb::NodeDef, copy: u64) {
    for attr in node.attr.values_mut() {
        if let Some(Value::Func(function)) = &mut attr.value {
            function.name.push_str(&format!("_{copy}"));
        }
    }
}
