//! Everything but inference: health, metadata, configuration, statistics and the repository.

use bytes::Bytes;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::super::reply::{self, Reply};
use crate::metrics::Total;
use crate::models::Version;
use crate::offload::offload;
use crate::state::ServerState;
use crate::status::Status;
use crate::v2::{self, Metadata, TensorMetadata, config_number, datatype_name};

/// Whether the server is alive, or ready. KServe's client reads the members, Triton's the code.
pub(super) fn health(state: &ServerState, ready: bool) -> Reply {
    if !ready {
        return page(StatusCode::OK, &json!({"live": true}));
    }
    if state.models().are_ready() && !state.is_shutting_down() {
        return page(StatusCode::OK, &json!({"ready": true, "live": true}));
    }
    let why = if state.is_shutting_down() { "the server is stopping" } else { "models are still being loaded" };
    page(StatusCode::SERVICE_UNAVAILABLE, &json!({"ready": false, "live": true, "error": why}))
}

pub(super) fn server() -> Reply {
    page(StatusCode::OK, &json!({"name": v2::SERVER_NAME, "version": v2::SERVER_VERSION, "extensions": v2::EXTENSIONS}))
}

/// Whether a version answers.
pub(super) fn model_ready(state: &ServerState, model: &str, version: &str) -> Result<Reply, Status> {
    let found = state.models().answers(model, &v2::version(version)?);
    Ok(match found {
        Ok(()) => page(StatusCode::OK, &json!({"name": model, "ready": true})),
        Err(status) => {
            let body = json!({"name": model, "ready": false, "error": status.message});
            page(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    })
}

/// The metadata of a model.
pub(super) async fn model(state: &ServerState, model: &str, version: &str, query: &str) -> Result<Reply, Status> {
    let found = metadata(state, model, version, query).await?;
    let tensor = |tensor: &TensorMetadata| json!({"name": tensor.name, "datatype": datatype_name(tensor.dtype), "shape": tensor.shape});
    let inputs: Vec<Value> = found.inputs.iter().map(tensor).collect();
    let outputs: Vec<Value> = found.outputs.iter().map(tensor).collect();
    let body = json!({
        "name": model, "versions": found.versions, "platform": v2::PLATFORM, "inputs": inputs, "outputs": outputs,
    });
    Ok(page(StatusCode::OK, &body))
}

/// The part of Triton's configuration of a model that has a meaning here. The first dimension is among `dims`, since no
/// batch size is set.
pub(super) async fn config(state: &ServerState, model: &str, version: &str, query: &str) -> Result<Reply, Status> {
    let found = metadata(state, model, version, query).await?;
    let tensor = |tensor: &TensorMetadata| json!({"name": tensor.name, "data_type": config_number(tensor.dtype).1, "dims": tensor.shape});
    let inputs: Vec<Value> = found.inputs.iter().map(tensor).collect();
    let outputs: Vec<Value> = found.outputs.iter().map(tensor).collect();
    let body = json!({
        "name": model, "platform": v2::PLATFORM, "backend": "tensorflow", "max_batch_size": 0,
        "input": inputs, "output": outputs,
    });
    Ok(page(StatusCode::OK, &body))
}

/// The metadata of a model for the signature that the query names, if it names one.
async fn metadata(state: &ServerState, model: &str, version: &str, query: &str) -> Result<Metadata, Status> {
    let servable = state.models().find_loaded(model, &v2::version(version)?, None).await?;
    let models = state.models().clone();
    let name = query.split('&').find_map(|pair| pair.strip_prefix("signature_name="));
    let name = name.map(|name| percent_decode_str(name).decode_utf8_lossy().into_owned());
    offload(move || v2::metadata(&models, &servable, name.as_deref())).await
}

/// Statistics of a model, or of all.
pub(super) fn statistics(state: &ServerState, of: Option<&(String, String)>) -> Result<Reply, Status> {
    let of = of.map(|(model, version)| Ok::<(&str, Version), Status>((model, v2::version(version)?))).transpose()?;
    let of = of.as_ref().map(|(model, version)| (*model, version));
    let total = |total: Total| json!({"count": total.count, "ns": total.nanos});
    let none = || total(Total::default());
    let entry = |found: v2::ModelStatistics| {
        let requests = found.requests;
        json!({
            "name": found.name,
            "version": found.version,
            "inference_count": requests.succeeded.count,
            "execution_count": requests.run.count,
            "inference_stats": {
                "success": total(requests.succeeded),
                "fail": total(requests.failed),
                "queue": total(requests.queue),
                "compute_input": total(requests.decode),
                "compute_infer": total(requests.run),
                "compute_output": total(requests.encode),
                "cache_hit": none(),
                "cache_miss": none(),
            },
            "batch_stats": [],
        })
    };
    let found: Vec<Value> = v2::statistics(state.models(), state.metrics(), of)?.into_iter().map(entry).collect();
    Ok(page(StatusCode::OK, &json!({"model_stats": found})))
}

/// The versions of all models. The body may be empty, or `{"ready": true}`.
pub(super) fn index(state: &ServerState, body: &Bytes) -> Result<Reply, Status> {
    let only_ready = match parse(body)?.get("ready") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(ready)) => *ready,
        Some(_) => return Err(Status::invalid_argument("`ready` must be true or false")),
    };
    let entries = v2::index(state.models(), only_ready).into_iter().map(
        |entry| json!({"name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason}),
    );
    Ok(page(StatusCode::OK, &entries.collect::<Vec<Value>>().into()))
}

/// Looks for versions of a model.
pub(super) async fn load(state: &ServerState, model: &str, body: &Bytes) -> Result<Reply, Status> {
    let has_parameters = parse(body)?.get("parameters").and_then(Value::as_object).is_some_and(|it| !it.is_empty());
    if has_parameters {
        return Err(v2::no_load_parameters());
    }
    v2::load(state.models(), model).await?;
    Ok(page(StatusCode::OK, &json!({})))
}

/// A small body: an object, or nothing.
fn parse(body: &Bytes) -> Result<Value, Status> {
    if body.trim_ascii().is_empty() {
        return Ok(json!({}));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Status::invalid_argument(format!("the body is not JSON: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(Status::invalid_argument("the body must be a JSON object")) }
}

fn page(code: StatusCode, value: &Value) -> Reply {
    reply::json(code, value.to_string().into_bytes())
}
