//! The metadata of a model.

use tf_persist_proto::protobuf::text_format;
use tf_persist_proto::serving::SignatureDefMap;

use crate::models::Servable;
use crate::status::Status;

/// All signatures of the meta graph, including internal ones, as TensorFlow Serving returns them
/// (`get_model_metadata_impl.cc`).
///
/// # Errors
/// If a signature cannot be decoded.
pub(crate) fn signature_defs(servable: &Servable) -> Result<SignatureDefMap, Status> {
    let model = servable.model();
    let signature_def = model.saved_model().signature_defs(model.meta_graph())?;
    Ok(SignatureDefMap { signature_def, ..Default::default() })
}

/// A signature as text, for error messages.
pub(super) fn debug_text(servable: &Servable, name: &str) -> String {
    let all = signature_defs(servable).unwrap_or_default();
    all.signature_def.get(name).map(|signature| text_format::print_to_string_pretty(signature)).unwrap_or_default()
}
