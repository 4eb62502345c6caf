//! The JSON report; its form is documented in docs/cli.md.

use std::io::Write;

use serde_json::{Map, Value, json};
use tf_persist_savedmodel::checkpoint::Entry;
use tf_persist_savedmodel::saved_model::{
    DefaultValue, FoundBy, FoundFile, MissingOp, Table, TensorInfo, TensorKind, TrainingKind,
};
use tf_persist_savedmodel::tensor::json::write_value;
use tf_persist_savedmodel::{DType, PartialShape, SignatureDef};

use super::report::{MetaGraphReport, Report, Selection};
use super::stats;

/// Default values of more elements are not in the report.
const MAX_DEFAULT: usize = 10_000;

pub(super) fn write(out: &mut impl Write, report: &Report<'_>, selection: &Selection<'_>) -> anyhow::Result<()> {
    let mut root = Map::new();
    root.insert("path".into(), json!(report.model.path().display().to_string()));
    let file = report.model.file().file_name().unwrap_or_default();
    root.insert("file".into(), json!(file.to_string_lossy()));
    let meta_graphs: Vec<Value> = report.meta_graphs.iter().map(|one| meta_graph(one, selection)).collect();
    root.insert("meta_graphs".into(), json!(meta_graphs));
    if selection.variables() {
        root.insert("variables".into(), variables(report));
    }
    if selection.everything() {
        root.insert("fingerprint".into(), fingerprint(report));
        root.insert("optimized".into(), optimized(report));
    }
    serde_json::to_writer_pretty(&mut *out, &root)?;
    writeln!(out)?;
    Ok(())
}

fn meta_graph(report: &MetaGraphReport<'_>, selection: &Selection<'_>) -> Value {
    let meta_graph = report.meta_graph;
    let mut object = Map::new();
    object.insert("tags".into(), json!(meta_graph.tags()));
    if selection.everything() {
        object.insert("tensorflow_version".into(), json!(meta_graph.tensorflow_version()));
        object.insert("git_version".into(), json!(meta_graph.git_version()));
        object.insert("producer".into(), json!(meta_graph.producer()));
    }
    if selection.signatures() {
        let signatures = report.signatures.iter().map(|one| (one.name.clone(), signature(one)));
        object.insert("signatures".into(), Value::Object(signatures.collect()));
    }
    if selection.ops() {
        object.insert("nodes".into(), json!(meta_graph.nodes()));
        object.insert("functions".into(), json!(meta_graph.functions()));
        object.insert("function_nodes".into(), json!(meta_graph.function_nodes()));
        object.insert("ops".into(), json!(meta_graph.ops()));
        object.insert("custom_ops".into(), json!(meta_graph.custom_ops()));
    }
    if selection.everything() {
        object.insert("init_op".into(), json!(meta_graph.init_op().map(|init| &init.operation)));
        object.insert("object_graph_nodes".into(), json!(meta_graph.object_graph_nodes()));
        object.insert("training".into(), training(report));
        object.insert("assets".into(), assets(report));
        object.insert("missing".into(), json!(report.missing));
        let ops = report.missing_ops.iter().map(missing_op);
        object.insert("missing_ops".into(), Value::Array(ops.collect()));
        let restored = report.restored.iter().map(|found| {
            let by = if found.by == FoundBy::Objects { "objects" } else { "name" };
            json!({"variable": found.variable, "key": found.key, "by": by})
        });
        object.insert("restored_besides".into(), Value::Array(restored.collect()));
    }
    Value::Object(object)
}

fn missing_op(op: &MissingOp) -> Value {
    json!({
        "op": op.name,
        "nodes": op.count,
        "package": op.package.map(|package| package.name),
        "node": op.used.node,
        "function": op.used.function,
        "signatures": op.used.signatures,
        "at_load": op.used.at_load,
        "reached": op.used.reached,
    })
}

fn signature(signature: &SignatureDef) -> Value {
    let infos = |infos: &[(String, TensorInfo)]| {
        Value::Object(infos.iter().map(|(name, info)| (name.clone(), tensor_info(info))).collect())
    };
    let defaults: Vec<&String> = signature.defaults.iter().map(|(name, _)| name).collect();
    let values = signature.defaults.iter().map(|(name, value)| (name.clone(), default_value(value)));
    json!({
        "method_name": signature.method_name,
        "inputs": infos(&signature.inputs),
        "outputs": infos(&signature.outputs),
        "defaults": defaults,
        "default_values": Value::Object(values.collect()),
    })
}

/// A default value as JSON; null if it cannot be read or is too long for a report. NaN and infinities, which JSON has
/// no numbers for, are text.
fn default_value(value: &DefaultValue) -> Value {
    let DefaultValue::Tensor(tensor) = value else { return Value::Null };
    let mut text = Vec::new();
    if tensor.len() > MAX_DEFAULT || write_value("a default", &mut text, tensor).is_err() {
        return Value::Null;
    }
    serde_json::from_slice(&text).unwrap_or_else(|_| json!(String::from_utf8_lossy(&text)))
}

fn tensor_info(info: &TensorInfo) -> Value {
    let tensor = match &info.kind {
        TensorKind::Dense { name } => json!(name),
        TensorKind::CooSparse { values, indices, dense_shape } => {
            json!({ "indices": indices, "values": values, "dense_shape": dense_shape })
        }
        TensorKind::Composite { components, .. } => json!(components.iter().map(tensor_info).collect::<Vec<_>>()),
        _ => Value::Null,
    };
    let dtype = if info.dtype == DType::Invalid { Value::Null } else { json!(info.dtype.to_string()) };
    let mut object = json!({ "dtype": dtype, "shape": shape(&info.shape), "tensor": tensor });
    if let TensorKind::Composite { spec, .. } = &info.kind {
        object["composite"] = if spec.is_ragged() { json!("ragged") } else { json!(spec.class) };
    } else if info.declared_dtype != info.dtype && info.declared_dtype != DType::Invalid {
        object["declared_dtype"] = json!(info.declared_dtype.to_string());
    }
    object
}

/// A list with -1 for an open size; null for an unknown rank.
fn shape(shape: &PartialShape) -> Value {
    let size = |size: &Option<u64>| size.map_or(json!(-1), |size| json!(size));
    shape.sizes().map_or(Value::Null, |sizes| Value::Array(sizes.iter().map(size).collect()))
}

fn training(report: &MetaGraphReport<'_>) -> Value {
    let kind = match report.training.kind() {
        TrainingKind::Signature => "signature",
        TrainingKind::StateOnly => "state_only",
        TrainingKind::InferenceOnly => "inference_only",
        _ => "unknown",
    };
    json!({
        "kind": kind,
        "signatures": report.training.signatures,
        "optimizer_variables": report.training.optimizer_variables,
        "summary": report.training.to_string(),
    })
}

fn assets(report: &MetaGraphReport<'_>) -> Value {
    let found = |files: &[FoundFile]| {
        let file = |file: &FoundFile| json!({ "name": file.name, "bytes": file.bytes, "declared": file.declared });
        Value::Array(files.iter().map(file).collect())
    };
    match &report.assets {
        Ok(assets) => json!({
            "files": found(&assets.files),
            "extra": found(&assets.extra),
            "missing": assets.missing,
            "escaping": assets.escaping,
        }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn variables(report: &Report<'_>) -> Value {
    let variables = match &report.variables {
        Ok(variables) => variables,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let all: Vec<Value> = variables
        .all
        .iter()
        .enumerate()
        .map(|(number, variable)| {
            let mut object = json!({
                "name": variable.name,
                "key": variable.entry.key,
                "dtype": variable.entry.dtype.to_string(),
                "shape": variable.entry.shape,
                "bytes": variable.entry.bytes(),
            });
            if let Some(read) = report.stats.as_ref().and_then(|all| all.get(number)) {
                object["stats"] = stats::json(read);
            }
            object
        })
        .collect();
    let table = |(number, table): (usize, &Table)| {
        let side = |entry: &Entry| json!({ "key": entry.key, "dtype": entry.dtype.to_string(), "shape": entry.shape });
        let mut object = json!({
            "name": table.name,
            "entries": report.entries.get(number).copied().flatten(),
            "bytes": table.bytes(),
            "keys": side(&table.keys),
            "values": side(&table.values),
        });
        match report.table_stats.as_ref().and_then(|all| all.get(number)) {
            Some(Ok([keys, values])) => {
                object["keys"]["stats"] = stats::json(&Ok(*keys));
                object["values"]["stats"] = stats::json(&Ok(*values));
            }
            Some(Err(error)) => object["error"] = error.to_string().into(),
            None => {}
        }
        object
    };
    json!({
        "count": all.len(),
        "bytes": variables.total_bytes,
        "shards": variables.num_shards(),
        "all": all,
        "tables": variables.tables.iter().enumerate().map(table).collect::<Vec<_>>(),
    })
}

/// How the model was optimised; null if it was not.
fn optimized(report: &Report<'_>) -> Value {
    match &report.optimized {
        Ok(optimized) => json!(optimized),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// Hashes are 64-bit numbers, which many JSON readers cannot hold, so they are strings.
fn fingerprint(report: &Report<'_>) -> Value {
    match &report.fingerprint {
        Ok(None) => Value::Null,
        Err(error) => json!({ "error": error.to_string() }),
        Ok(Some(fingerprint)) => json!({
            "saved_model_checksum": fingerprint.saved_model_checksum.to_string(),
            "graph_def_program_hash": fingerprint.graph_def_program_hash.to_string(),
            "signature_def_hash": fingerprint.signature_def_hash.to_string(),
            "saved_object_graph_hash": fingerprint.saved_object_graph_hash.to_string(),
            "checkpoint_hash": fingerprint.checkpoint_hash.to_string(),
            "uuid": fingerprint.uuid,
            "checkpoint": fingerprint.checkpoint.name(),
        }),
    }
}
