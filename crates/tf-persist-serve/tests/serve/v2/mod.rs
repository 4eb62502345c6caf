//! The Open Inference Protocol, over REST and gRPC.

mod grammar;
pub(crate) mod grpc;
mod hostile;
mod repository;
mod rest;

use std::path::Path;

use tempfile::TempDir;
use tf_persist_core::{GraphSignature, ModelBuilder};
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow::GraphDef;
use tf_persist_proto::text_format;
use tf_persist_serve::Settings;

use crate::common::grpc::GrpcServer;
use crate::common::models::has_tensorflow;

/// The datatypes, and TensorFlow's names of them.
pub(crate) const DATATYPES: [(&str, &str, usize); 14] = [
    ("BOOL", "DT_BOOL", 1),
    ("UINT8", "DT_UINT8", 1),
    ("UINT16", "DT_UINT16", 2),
    ("UINT32", "DT_UINT32", 4),
    ("UINT64", "DT_UINT64", 8),
    ("INT8", "DT_INT8", 1),
    ("INT16", "DT_INT16", 2),
    ("INT32", "DT_INT32", 4),
    ("INT64", "DT_INT64", 8),
    ("FP16", "DT_HALF", 2),
    ("BF16", "DT_BFLOAT16", 2),
    ("FP32", "DT_FLOAT", 4),
    ("FP64", "DT_DOUBLE", 8),
    ("BYTES", "DT_STRING", 0),
];

/// Writes a model whose signatures give back what they get: one for each datatype, and `serving_default` for FP32.
fn write_echo(folder: &Path) {
    let mut graph = String::new();
    for (name, dtype, _) in DATATYPES {
        let kind = |key: &str| format!("attr {{ key: '{key}' value {{ type: {dtype} }} }}");
        let shape = "attr { key: 'shape' value { shape { unknown_rank: true } } }";
        graph += &format!("node {{ name: '{name}_x' op: 'Placeholder' {} {shape} }}\n", kind("dtype"));
        graph += &format!("node {{ name: '{name}_y' op: 'Identity' input: '{name}_x' {} }}\n", kind("T"));
    }
    let graph = text_format::parse::<GraphDef>(graph).unwrap().write_to_bytes().unwrap();
    let signature = |signature: &str, name: &str| {
        GraphSignature::new(signature).input("x", format!("{name}_x")).output("y", format!("{name}_y"))
    };
    let mut builder = ModelBuilder::new(graph).unwrap().signature(signature("serving_default", "FP32"));
    for (name, ..) in DATATYPES {
        builder = builder.signature(signature(name, name));
    }
    let pair = signature("pair", "FP32").input("s", "BYTES_x").output("t", "BYTES_y");
    builder.signature(pair).save(folder).unwrap();
}

/// A server of the model `echo`, whose version is 7.
async fn echo(test: &str, change: impl FnOnce(&mut Settings)) -> Option<(GrpcServer, TempDir)> {
    if !has_tensorflow(test) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    write_echo(&folder.path().join("7"));
    let server = GrpcServer::start(test, &[("echo", folder.path().to_owned())], change).await?;
    Some((server, folder))
}
