//! ModelInfer.

use std::time::Instant;

use bytes::Bytes;

use super::super::messages::request::ModelSpec;
use super::super::prediction_service::find_or_wait;
use super::{ModelInferRequest, response};
use crate::metrics::{ModelMetrics, Phase};
use crate::offload::{LongWait, OFFLOAD_BYTES, offload_if};
use crate::state::ServerState;
use crate::status::Status;
use crate::v2;

/// Answers a request of this many bytes.
pub(in crate::grpc) async fn infer(
    state: &ServerState,
    spec: ModelSpec,
    mut request: ModelInferRequest,
    length: usize,
    deadline: Option<Instant>,
    metrics: &ModelMetrics,
) -> Result<Bytes, Status> {
    let mut start = Instant::now();
    let parameters = std::mem::take(&mut request.parameters);
    let deadline = parameters.deadline(start, deadline);
    let id = std::mem::take(&mut request.id);
    let servable = find_or_wait(state, &spec, deadline).await?;
    let served = v2::signature(&servable, parameters.signature.as_deref())?.clone();
    // A request that takes long to decode takes long to run.
    let long = (length > OFFLOAD_BYTES).then(LongWait::begin);
    let mut turn = None;
    if long.is_some() {
        let begin = Instant::now();
        turn = servable.large_request_turn().await?;
        metrics.record_phase(Phase::Queue, begin.elapsed());
        start = Instant::now();
    }
    let request = offload_if(length > OFFLOAD_BYTES, move || request.decode()).await?;
    metrics.record_phase(Phase::Decode, start.elapsed());
    let answer = v2::infer(&servable, &served, request, deadline).await?;
    drop((turn, long));
    let start = Instant::now();
    let size: usize = answer.iter().map(|(_, tensor)| tensor.memory()).sum();
    let (name, version) = (spec.name, servable.version());
    let write = move || response::infer(&name, version, &id, &answer);
    let message = offload_if(size > OFFLOAD_BYTES, write).await?;
    metrics.record_phase(Phase::Encode, start.elapsed());
    Ok(message)
}
