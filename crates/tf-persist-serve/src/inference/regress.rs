//! Regress: examples in, values out (`servables/tensorflow/regressor.cc`).

use std::sync::Arc;
use std::time::Instant;

use tf_persist_core::DType;
use tf_persist_core::tensor::Strings;

use super::examples::{self, INPUTS, output, shape_text};
use super::logged;
use super::metadata::debug_text;
use super::multi_inference::REGRESS;
use super::signature::check_method;
use crate::api::Api;
use crate::batching::InferenceResponse;
use crate::models::{Servable, ServedSignature};
use crate::request_log::Exchange;
use crate::status::Status;

/// The only output (`kRegressOutputs`).
pub(super) const OUTPUTS: &str = "outputs";

/// Runs a regression. Returns the value of each example. An empty name means the default signature.
///
/// # Errors
/// `INVALID_ARGUMENT` if the signature is unknown or cannot regress, or there are no examples; errors of TensorFlow.
pub(crate) async fn regress(
    servable: &Servable,
    signature: &str,
    examples: Strings,
    deadline: Option<Instant>,
) -> Result<Vec<f32>, Status> {
    let served = examples::signature(servable, signature)?;
    check(servable, served)?;
    let (count, examples) = examples::tensor(examples)?;
    let log = logged::begin_examples(served, &examples);
    let answer = examples::run_measured(Api::Regress, served, examples, &[OUTPUTS], deadline).await;
    let results = answer.and_then(|answer| results(&answer, count));
    if let Some(log) = log {
        log.end_examples(|examples| Exchange::Regress { examples, outcome: results.clone() });
    }
    results
}

/// Checks that a signature can regress (`PreProcessRegression`).
pub(super) fn check(servable: &Servable, served: &Arc<ServedSignature>) -> Result<(), Status> {
    let definition = served.signature.definition();
    check_method(servable, definition, "regression", REGRESS)?;
    if definition.inputs.len() != 1 {
        return Err(Status::invalid_argument("Expected one input Tensor."));
    }
    if definition.outputs.len() != 1 {
        return Err(Status::invalid_argument("Expected one output Tensor."));
    }
    let lacks = |what: &str| {
        let text = debug_text(servable, &definition.name);
        Status::invalid_argument(format!("No regression {what} found in SignatureDef: {text}"))
    };
    definition.input(INPUTS).ok_or_else(|| lacks(INPUTS))?;
    definition.output(OUTPUTS).ok_or_else(|| lacks(OUTPUTS))?;
    Ok(())
}

/// The values of a run (`PostProcessRegressionResult`).
pub(super) fn results(answer: &InferenceResponse, examples: usize) -> Result<Vec<f32>, Status> {
    let tensor = output(answer, OUTPUTS)
        .ok_or_else(|| Status::invalid_argument(format!("Could not find output tensor '{OUTPUTS}'")))?;
    let batch = match *tensor.shape() {
        [batch] | [batch, 1] => batch,
        _ => {
            return Err(Status::invalid_argument(format!(
                "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {}",
                shape_text(tensor.shape())
            )));
        }
    };
    if batch != examples {
        return Err(Status::invalid_argument(format!(
            "Input batch size did not match output batch size: {examples} vs. {batch}"
        )));
    }
    if tensor.dtype() != DType::Float32 {
        let got = tensor.dtype().enum_name();
        return Err(Status::invalid_argument(format!("Expected output Tensor of DT_FLOAT.  Got: {got}")));
    }
    Ok(tensor.view::<f32>()?.to_vec())
}
