//! GetModelMetadata (`servables/tensorflow/get_model_metadata_impl.cc`).

use bytes::Bytes;
use tf_persist_core::Code;
use tf_persist_proto::protobuf::well_known_types::any::Any;
use tf_persist_proto::protobuf::{Message, MessageField};
use tf_persist_proto::serving as pb;

use super::messages::request::{MetadataRequest, ModelSpec};
use super::messages::response;
use crate::inference::signature_defs;
use crate::models::Servable;
use crate::status::Status;

/// The only field of metadata.
const SIGNATURE_DEF: &str = "signature_def";

/// The type of the message in the `Any`.
const TYPE_URL: &str = "type.googleapis.com/tensorflow.serving.SignatureDefMap";

/// Checks a request. Returns its model.
pub(super) fn check(request: &MetadataRequest) -> Result<&ModelSpec, Status> {
    let spec = request.spec.as_ref().ok_or_else(|| Status::invalid_argument("Missing ModelSpec"))?;
    if request.fields.is_empty() {
        return Err(Status::invalid_argument("GetModelMetadataRequest must specify at least one metadata_field"));
    }
    match request.fields.iter().find(|field| *field != SIGNATURE_DEF) {
        Some(field) => Err(Status::invalid_argument(format!("Metadata field {field} is not supported"))),
        None => Ok(spec),
    }
}

/// `GetModelMetadataResponse`.
pub(super) fn answer(servable: &Servable) -> Result<Bytes, Status> {
    let signatures = signature_defs(servable)?.write_to_bytes();
    let value = signatures.map_err(|error| Status::new(Code::Internal, error.to_string()))?;
    let any = Any { type_url: TYPE_URL.into(), value, ..Default::default() };
    let spec = response::model_spec(servable.name(), servable.version(), "");
    response::message(&pb::GetModelMetadataResponse {
        model_spec: MessageField::some(spec),
        metadata: [(SIGNATURE_DEF.to_owned(), any)].into(),
        ..Default::default()
    })
}
