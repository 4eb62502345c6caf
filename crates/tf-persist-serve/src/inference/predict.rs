//! Predict: tensors in, tensors out.

use std::sync::Arc;

use crate::models::Served;
use crate::run::{Answer, Call};
use crate::status::Status;

/// The signature that is meant where none is named.
pub const DEFAULT_SIGNATURE: &str = "serving_default";

/// Runs a signature.
///
/// # Errors
/// `INVALID_ARGUMENT` if the inputs or the outputs asked for are not those of the signature, or of another dtype; what
/// TensorFlow says.
pub async fn predict(served: &Arc<Served>, call: Call) -> Result<Answer, Status> {
    served.lane.run(&served.signature, call).await
}
