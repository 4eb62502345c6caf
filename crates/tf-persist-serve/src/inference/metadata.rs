//! What a model is.

use tf_persist_proto::serving::SignatureDefMap;

use crate::models::Servable;
use crate::status::Status;

/// All signatures of the meta graph as they stand in it, those that are none for users included, as TensorFlow Serving gives them.
///
/// # Errors
/// If the model's file cannot be read any more.
pub fn signature_defs(servable: &Servable) -> Result<SignatureDefMap, Status> {
    let _ = servable;
    todo!()
}
