//! All methods but ModelInfer.

use bytes::Bytes;
use tf_persist_core::Code;
use tf_persist_proto::open_inference as pb;
use tf_persist_proto::open_inference::grpc_service::model_metadata_response::TensorMetadata;
use tf_persist_proto::open_inference::grpc_service::repository_index_response::ModelIndex;
use tf_persist_proto::protobuf::{EnumOrUnknown, Message, MessageField};

use super::super::messages::response;
use super::Method;
use crate::metrics::Total;
use crate::offload::offload;
use crate::state::ServerState;
use crate::status::Status;
use crate::v2::{self, Metadata, ModelStatistics, config_number, datatype_name};

/// Answers a call.
pub(in crate::grpc) async fn answer(state: &ServerState, method: Method, message: &Bytes) -> Result<Bytes, Status> {
    match method {
        Method::ServerLive => response::message(&pb::ServerLiveResponse { live: true, ..Default::default() }),
        Method::ServerReady => {
            let ready = state.models().are_ready() && !state.is_shutting_down();
            response::message(&pb::ServerReadyResponse { ready, ..Default::default() })
        }
        Method::ModelReady => {
            let request: pb::ModelReadyRequest = parse(message)?;
            let ready = state.models().answers(&request.name, &v2::version(&request.version)?).is_ok();
            response::message(&pb::ModelReadyResponse { ready, ..Default::default() })
        }
        Method::ServerMetadata => response::message(&pb::ServerMetadataResponse {
            name: v2::SERVER_NAME.into(),
            version: v2::SERVER_VERSION.into(),
            extensions: v2::EXTENSIONS.map(Into::into).into(),
            ..Default::default()
        }),
        Method::ModelMetadata => {
            let request: pb::ModelMetadataRequest = parse(message)?;
            let found = metadata(state, &request.name, &request.version).await?;
            response::message(&model_metadata(request.name, found))
        }
        Method::ModelConfig => {
            let request: pb::ModelConfigRequest = parse(message)?;
            let found = metadata(state, &request.name, &request.version).await?;
            response::message(&model_config(request.name, &found))
        }
        Method::ModelStatistics => statistics(state, &parse(message)?),
        Method::RepositoryIndex => {
            let request: pb::RepositoryIndexRequest = parse(message)?;
            let entries = v2::index(state.models(), request.ready).into_iter().map(|entry| ModelIndex {
                name: entry.name,
                version: entry.version,
                state: entry.state.into(),
                reason: entry.reason,
                ..Default::default()
            });
            response::message(&pb::RepositoryIndexResponse { models: entries.collect(), ..Default::default() })
        }
        Method::RepositoryModelLoad => {
            let request: pb::RepositoryModelLoadRequest = parse(message)?;
            if !request.parameters.is_empty() {
                return Err(v2::no_load_parameters());
            }
            v2::load(state.models(), &request.model_name).await?;
            response::message(&pb::RepositoryModelLoadResponse::new())
        }
        Method::RepositoryModelUnload => {
            let request: pb::RepositoryModelUnloadRequest = parse(message)?;
            Err(v2::unload(state.models(), &request.model_name))
        }
        Method::ModelInfer => Err(Status::new(Code::Internal, "ModelInfer was not routed")),
    }
}

async fn metadata(state: &ServerState, model: &str, version: &str) -> Result<Metadata, Status> {
    let servable = state.models().find_loaded(model, &v2::version(version)?, None).await?;
    let models = state.models().clone();
    offload(move || v2::metadata(&models, &servable, None)).await
}

fn model_metadata(name: String, found: Metadata) -> pb::ModelMetadataResponse {
    let tensor = |tensor: v2::TensorMetadata| TensorMetadata {
        name: tensor.name,
        datatype: datatype_name(tensor.dtype),
        shape: tensor.shape,
        ..Default::default()
    };
    pb::ModelMetadataResponse {
        name,
        versions: found.versions,
        platform: v2::PLATFORM.into(),
        inputs: found.inputs.into_iter().map(tensor).collect(),
        outputs: found.outputs.into_iter().map(tensor).collect(),
        ..Default::default()
    }
}

fn model_config(name: String, found: &Metadata) -> pb::ModelConfigResponse {
    let number = |dtype| EnumOrUnknown::from_i32(config_number(dtype).0.into());
    let input = |tensor: &v2::TensorMetadata| pb::ModelInput {
        name: tensor.name.clone(),
        data_type: number(tensor.dtype),
        dims: tensor.shape.clone(),
        ..Default::default()
    };
    let output = |tensor: &v2::TensorMetadata| pb::ModelOutput {
        name: tensor.name.clone(),
        data_type: number(tensor.dtype),
        dims: tensor.shape.clone(),
        ..Default::default()
    };
    let config = pb::ModelConfig {
        name,
        platform: v2::PLATFORM.into(),
        backend: "tensorflow".into(),
        input: found.inputs.iter().map(input).collect(),
        output: found.outputs.iter().map(output).collect(),
        ..Default::default()
    };
    pb::ModelConfigResponse { config: MessageField::some(config), ..Default::default() }
}

fn statistics(state: &ServerState, request: &pb::ModelStatisticsRequest) -> Result<Bytes, Status> {
    let version = v2::version(&request.version)?;
    let of = (!request.name.is_empty()).then_some((request.name.as_str(), &version));
    let total = |total: Total| {
        MessageField::some(pb::StatisticDuration { count: total.count, ns: total.nanos, ..Default::default() })
    };
    let entry = |found: ModelStatistics| {
        let requests = found.requests;
        pb::ModelStatistics {
            name: found.name,
            version: found.version,
            inference_count: requests.succeeded.count,
            execution_count: requests.run.count,
            inference_stats: MessageField::some(pb::InferStatistics {
                success: total(requests.succeeded),
                fail: total(requests.failed),
                queue: total(requests.queue),
                compute_input: total(requests.decode),
                compute_infer: total(requests.run),
                compute_output: total(requests.encode),
                cache_hit: total(Total::default()),
                cache_miss: total(Total::default()),
                ..Default::default()
            }),
            ..Default::default()
        }
    };
    let found = v2::statistics(state.models(), state.metrics(), of)?.into_iter().map(entry);
    response::message(&pb::ModelStatisticsResponse { model_stats: found.collect(), ..Default::default() })
}

/// Parses a small request.
fn parse<M: Message>(message: &Bytes) -> Result<M, Status> {
    tf_persist_proto::parse(message)
        .map_err(|error| Status::new(Code::Internal, format!("the request cannot be parsed: {error}")))
}
