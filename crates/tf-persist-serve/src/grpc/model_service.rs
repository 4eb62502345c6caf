//! ModelService: GetModelStatus and HandleReloadConfigRequest (`model_servers/get_model_status_impl.cc`,
//! `model_service_impl.cc`).

use bytes::Bytes;
use tf_persist_core::Code;
use tf_persist_proto::protobuf::{EnumOrUnknown, MessageField};
use tf_persist_proto::serving as pb;
use tf_persist_proto::serving::get_model_status::model_version_status::State as StateNumber;
use tf_persist_proto::serving::model_management::metric::Value_increase;
use tf_persist_proto::serving::model_server_config::model_server_config::Config;

use super::messages::request::ModelSpec;
use super::messages::response;
use crate::metrics::Metrics;
use crate::models::{Models, State, Version, VersionStatus};
use crate::status::Status;

/// `GetModelStatusResponse`.
pub(super) fn status(models: &Models, spec: &ModelSpec) -> Result<Bytes, Status> {
    // Labels are ignored.
    let version = if let Version::Number(version) = spec.version { Some(version) } else { None };
    let versions = models.status(&spec.name, version)?;
    response::message(&pb::GetModelStatusResponse {
        model_version_status: versions.into_iter().map(version_status).collect(),
        ..Default::default()
    })
}

fn version_status(status: VersionStatus) -> pb::ModelVersionStatus {
    let state = match status.state.for_clients() {
        State::Start => StateNumber::START,
        State::Loading => StateNumber::LOADING,
        State::Available | State::Unloaded => StateNumber::AVAILABLE,
        State::Unloading => StateNumber::UNLOADING,
        State::End => StateNumber::END,
    };
    pb::ModelVersionStatus {
        version: status.version,
        state: state.into(),
        status: MessageField::some(status_proto(status.error)),
        ..Default::default()
    }
}

fn status_proto(error: Option<Status>) -> pb::StatusProto {
    let (code, message) = error.map_or((0, String::new()), |error| (error.code.number().cast_signed(), error.message));
    pb::StatusProto { error_code: EnumOrUnknown::from_i32(code), error_message: message, ..Default::default() }
}

/// Changes the configuration of models: `ReloadConfigResponse`.
pub(super) async fn reload(
    models: &Models,
    metrics: &Metrics,
    message: Bytes,
    requested_by: &str,
) -> Result<Bytes, Status> {
    let request: pb::ReloadConfigRequest = tf_persist_proto::parse(&message)
        .map_err(|error| Status::new(Code::Internal, format!("the request cannot be parsed: {error}")))?;
    let config = request.config.unwrap_or_default();
    if !matches!(config.config, Some(Config::ModelConfigList(_))) {
        return Err(Status::invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
        ));
    }
    let mut names = request.metric_names;
    names.sort();
    names.dedup();
    let before: Vec<i64> = names.iter().map(|name| metrics.value(name)).collect();
    models.reload(config, requested_by).await?;
    let metric = |(name, before): (String, i64)| {
        let increase = metrics.value(&name).wrapping_sub(before);
        pb::Metric { name, value_increase: Some(Value_increase::Int64ValueIncrease(increase)), ..Default::default() }
    };
    response::message(&pb::ReloadConfigResponse {
        status: MessageField::some(status_proto(None)),
        metric: names.into_iter().zip(before).map(metric).collect(),
        ..Default::default()
    })
}
