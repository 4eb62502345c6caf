//! PredictionService: Predict, Classify, Regress, MultiInference (`model_servers/prediction_service_impl.cc`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tf_persist_core::tensor::Strings;
use tf_persist_core::tensor::serialized::{Form, decode};
use tf_persist_core::{Code, Signature, Tensor};
use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::serving as pb;
use tf_persist_proto::serving::inference::inference_result::Result as TaskResult;

use super::messages::request::{ExamplesRequest, Input, ModelSpec, MultiInferenceRequest, PredictRequest};
use super::messages::response;
use crate::api::Protocol;
use crate::batching::InferenceRequest;
use crate::inference::{self, Outcome, effective_name, signature_for_predict};
use crate::metrics::{ModelMetrics, Phase};
use crate::models::{Servable, Version};
use crate::offload::{LongWait, OFFLOAD_BYTES, offload_if};
use crate::state::ServerState;
use crate::status::Status;

/// About how many bytes a class takes in a response.
const CLASS_BYTES: usize = 16;

/// How long a request waits for the first version of its model, if its deadline allows.
const MAX_STARTUP_WAIT: Duration = Duration::from_secs(60);

/// The pause between two checks for that version.
const STARTUP_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A tensor may be sent as one value for all elements. This is how much memory all such tensors of a request may take,
/// in bytes.
const MAX_FILLED_BYTES: usize = 256 << 20;

/// Checks that a request names a model.
pub(super) fn check_name(spec: &ModelSpec) -> Result<(), Status> {
    if spec.name.is_empty() {
        return Err(Status::invalid_argument("ModelSpec has no name specified."));
    }
    Ok(())
}

/// Finds a version; while the server starts, waits for a version that is being loaded. TensorFlow Serving opens its
/// port only when every model has a version.
pub(super) async fn find_or_wait(
    state: &ServerState,
    spec: &ModelSpec,
    deadline: Option<Instant>,
) -> Result<Arc<Servable>, Status> {
    let end = Instant::now() + MAX_STARTUP_WAIT;
    let end = deadline.map_or(end, |deadline| end.min(deadline));
    check_name(spec)?;
    let version = state.choose_version(&spec.name, &spec.version);
    loop {
        // In this order, so that a version that becomes available in between is found in the next round.
        let was_ready = state.models().are_ready();
        let found = state.models().find_loaded(&spec.name, &version, Some(end)).await;
        let is_missing = matches!(&found, Err(status) if status.code == Code::NotFound);
        if !is_missing || was_ready || !is_loading(state, spec) || Instant::now() >= end {
            if let Ok(servable) = &found {
                state.note_version(servable);
            }
            return found;
        }
        tokio::time::sleep(STARTUP_POLL_INTERVAL).await;
    }
}

/// Whether the version that a request names is being loaded.
fn is_loading(state: &ServerState, spec: &ModelSpec) -> bool {
    let version = match spec.version {
        Version::Number(number) => Some(number),
        Version::Latest | Version::Label(_) | Version::Chosen(_) => None,
    };
    state.models().is_pending(&spec.name, version)
}

pub(super) async fn predict(
    state: &ServerState,
    spec: &ModelSpec,
    request: PredictRequest,
    length: usize,
    deadline: Option<Instant>,
    metrics: &ModelMetrics,
) -> Result<Bytes, Status> {
    let mut start = Instant::now();
    let servable = find_or_wait(state, spec, deadline).await?;
    let served = signature_for_predict(&servable, &spec.signature, Protocol::Grpc)?.clone();
    inference::check_predict_method(&servable, &served)?;
    let PredictRequest { inputs, output_filter: outputs, .. } = request;
    // A request that takes long to decode takes long to run.
    let long = (length > OFFLOAD_BYTES).then(LongWait::begin);
    let mut turn = None;
    if long.is_some() {
        let begin = Instant::now();
        turn = servable.large_request_turn().await?;
        metrics.record_phase(Phase::Queue, begin.elapsed());
        start = Instant::now();
    }
    let inputs = {
        let served = served.clone();
        offload_if(length > OFFLOAD_BYTES, move || decode_inputs(&served.signature, &inputs)).await?
    };
    metrics.record_phase(Phase::Decode, start.elapsed());
    let answer = inference::run(&served, InferenceRequest { inputs, outputs, deadline }).await?;
    drop((turn, long));
    let start = Instant::now();
    let form = if state.settings().grpc.tensor_content { Form::Content } else { Form::Fields };
    let size: usize = answer.iter().map(|(_, tensor)| tensor.memory()).sum();
    let name = spec.name.clone();
    let (version, signature) = (servable.version(), effective_name(&spec.signature).to_owned());
    let write = move || response::predict(&answer, form, &name, version, &signature);
    let message = offload_if(size > OFFLOAD_BYTES, write).await?;
    metrics.record_phase(Phase::Encode, start.elapsed());
    Ok(message)
}

/// Decodes the tensors of a signature's inputs, with the checks and in the order of TensorFlow Serving's
/// `predict_util.cc`.
fn decode_inputs(signature: &Signature, given: &BTreeMap<String, Bytes>) -> Result<Vec<(String, Tensor)>, Status> {
    let names = || given.keys().map(String::as_str);
    inference::check_count(signature, names())?;
    let mut budget = MAX_FILLED_BYTES;
    let mut tensors = Vec::with_capacity(given.len());
    for (name, _) in signature.inputs() {
        let Some(message) = given.get(name) else {
            inference::input_default(signature, name, names())?;
            continue;
        };
        let tensor = decode(message, budget).map_err(|_| inference::parsing_error(name))?;
        budget = budget.saturating_sub(tensor.memory().saturating_sub(message.len()));
        tensors.push((name.to_owned(), tensor));
    }
    inference::check_names(signature, names())?;
    Ok(tensors)
}

pub(super) async fn classify(
    state: &ServerState,
    spec: &ModelSpec,
    request: ExamplesRequest,
    deadline: Option<Instant>,
    metrics: &ModelMetrics,
) -> Result<Bytes, Status> {
    let servable = find_or_wait(state, spec, deadline).await?;
    let examples = merge_examples(request.input, metrics).await?;
    let results = inference::classify(&servable, &spec.signature, examples, deadline).await?;
    let start = Instant::now();
    let spec = effective_spec(&spec.name, &spec.signature, &servable);
    let count: usize = results.iter().map(Vec::len).sum();
    let message = offload_if(count > OFFLOAD_BYTES / CLASS_BYTES, move || response::classify(results, spec)).await?;
    metrics.record_phase(Phase::Encode, start.elapsed());
    Ok(message)
}

pub(super) async fn regress(
    state: &ServerState,
    spec: &ModelSpec,
    request: ExamplesRequest,
    deadline: Option<Instant>,
    metrics: &ModelMetrics,
) -> Result<Bytes, Status> {
    let servable = find_or_wait(state, spec, deadline).await?;
    let examples = merge_examples(request.input, metrics).await?;
    let results = inference::regress(&servable, &spec.signature, examples, deadline).await?;
    let start = Instant::now();
    let spec = effective_spec(&spec.name, &spec.signature, &servable);
    let message = response::regress(results, spec)?;
    metrics.record_phase(Phase::Encode, start.elapsed());
    Ok(message)
}

pub(super) async fn multi_inference(
    state: &ServerState,
    spec: &ModelSpec,
    request: MultiInferenceRequest,
    deadline: Option<Instant>,
    metrics: &ModelMetrics,
) -> Result<Bytes, Status> {
    let servable = find_or_wait(state, spec, deadline).await?;
    let examples = merge_examples(request.input, metrics).await?;
    let count = examples.len();
    let outcomes = inference::multi_inference(&servable, &request.tasks, examples, deadline).await?;
    metrics.record_examples(count);
    let start = Instant::now();
    let result = |(task, outcome): (inference::Task, Outcome)| pb::InferenceResult {
        model_spec: MessageField::some(effective_spec(&task.model, &task.signature, &servable)),
        result: Some(match outcome {
            Outcome::Classes(results) => TaskResult::ClassificationResult(response::classifications(results)),
            Outcome::Values(results) => TaskResult::RegressionResult(response::regressions(results)),
        }),
        ..Default::default()
    };
    let message = response::message(&pb::MultiInferenceResponse {
        results: request.tasks.into_iter().zip(outcomes).map(result).collect(),
        ..Default::default()
    })?;
    metrics.record_phase(Phase::Encode, start.elapsed());
    Ok(message)
}

/// The model, version and signature that answered, for the response.
fn effective_spec(model: &str, signature: &str, servable: &Servable) -> pb::ModelSpec {
    response::model_spec(model, servable.version(), effective_name(signature))
}

/// The examples of a request, each with the context.
async fn merge_examples(input: Input, metrics: &ModelMetrics) -> Result<Strings, Status> {
    let start = Instant::now();
    let examples = offload_if(input.bytes() > OFFLOAD_BYTES, move || input.examples()).await?;
    metrics.record_phase(Phase::Decode, start.elapsed());
    Ok(examples)
}
