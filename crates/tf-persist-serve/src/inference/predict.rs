//! Predict: tensors in, tensors out (`servables/tensorflow/predict_util.cc`, and `GetInputValues` in TensorFlow's
//! `cc/saved_model/util.cc`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tf_persist_core::saved_model::DefaultValue;
use tf_persist_core::{DType, Signature, Tensor};

use super::logged;
use crate::api::Api;
use crate::batching::{InferenceRequest, InferenceResponse};
use crate::models::ServedSignature;
use crate::request_log::Exchange;
use crate::request_scope::RequestScope;
use crate::status::Status;

/// Runs a signature.
///
/// # Errors
/// `INVALID_ARGUMENT` if inputs or requested outputs do not fit the signature, or dtypes are wrong; errors of
/// TensorFlow.
pub(crate) async fn predict(
    served: &Arc<ServedSignature>,
    call: InferenceRequest,
) -> Result<InferenceResponse, Status> {
    let checked = check_inputs(&served.signature, &call.inputs);
    run_checked(served, call, checked).await
}

fn check_inputs(signature: &Signature, inputs: &[(String, Tensor)]) -> Result<(), Status> {
    let given = || inputs.iter().map(|(name, _)| name.as_str());
    check_count(signature, given())?;
    for (name, _) in signature.inputs() {
        if !given().any(|given| given == name) {
            input_default(signature, name, given())?;
        }
    }
    check_names(signature, given())
}

/// Runs a signature with inputs whose names are checked already.
///
/// # Errors
/// Those of [`predict`] for dtypes, outputs and the run.
pub(crate) async fn run(served: &Arc<ServedSignature>, call: InferenceRequest) -> Result<InferenceResponse, Status> {
    run_checked(served, call, Ok(())).await
}

/// The same where `checked` is what the checks of the names found. The log has the requests that are refused, too.
///
/// # Errors
/// That of the checks; those of [`run`].
pub(crate) async fn run_checked(
    served: &Arc<ServedSignature>,
    call: InferenceRequest,
    checked: Result<(), Status>,
) -> Result<InferenceResponse, Status> {
    let scope = RequestScope::current();
    let log = logged::begin(scope.as_ref(), served, &call.inputs, &call.outputs);
    let checked = checked
        .and_then(|()| check_outputs(&served.signature, &call.outputs))
        .and_then(|()| check_dtypes(&served.signature, &call.inputs));
    let started = Instant::now();
    let answer = match checked {
        Ok(()) => {
            let shadowed = scope.and_then(|scope| scope.shadow(served, &call));
            let answer = served.queue.run(&served.signature, call).await;
            if let (Some(shadowed), Ok(answer)) = (shadowed, &answer) {
                shadowed.answered(answer);
            }
            answer
        }
        Err(refused) => Err(refused),
    };
    if let Some(log) = log {
        let outcome = answer.clone();
        log.end(|inputs, output_filter| Exchange::Predict { inputs, output_filter, outcome });
    }
    let answer = answer?;
    served.queue.record_runtime(Api::Predict, started.elapsed());
    Ok(answer)
}

/// Checks the number of inputs. It may be smaller if some inputs have defaults.
pub(crate) fn check_count<'a>(
    signature: &Signature,
    given: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), Status> {
    let (count, wanted) = (given.len(), signature.inputs().len());
    if count == wanted || (count < wanted && !signature.definition().defaults.is_empty()) {
        return Ok(());
    }
    let given: BTreeSet<&str> = given.collect();
    let known: BTreeSet<&str> = signature.inputs().map(|(name, _)| name).collect();
    Err(Status::invalid_argument(format!(
        "input size does not match signature: {count}!={wanted} len({{{}}}) != len({{{}}}). Sent extra: {{{}}}. Missing but \
         required: {{{}}}.",
        join(given.iter().copied()),
        join(known.iter().copied()),
        join(given.difference(&known).copied()),
        join(known.difference(&given).copied()),
    )))
}

/// Checks that a missing input has a default.
pub(crate) fn input_default<'a>(
    signature: &Signature,
    name: &str,
    given: impl Iterator<Item = &'a str>,
) -> Result<(), Status> {
    let definition = signature.definition();
    match definition.default_value(name) {
        Some(DefaultValue::Tensor(_)) => return Ok(()),
        Some(_) => return Err(parsing_error(name)),
        None => {}
    }
    let tensor = definition.input(name).and_then(|info| info.tensor_names().first().copied()).unwrap_or_default();
    Err(Status::invalid_argument(format!(
        "Signature input alias: {name}(feed name: {tensor}) not found in request and no default value provided. Inputs expected \
         to be in the request {{{}}}, or default input alias set: {}",
        join(given.collect::<BTreeSet<_>>()),
        join(definition.defaults.iter().map(|(name, _)| name.as_str())),
    )))
}

/// Error for a value that cannot be parsed as a tensor.
pub(crate) fn parsing_error(name: &str) -> Status {
    Status::invalid_argument(format!("tensor parsing error: {name}"))
}

/// Checks that all given names are inputs.
pub(crate) fn check_names<'a>(
    signature: &Signature,
    given: impl ExactSizeIterator<Item = &'a str> + Clone,
) -> Result<(), Status> {
    // The common case needs no sets: the same number, and each input is given.
    let is_given = |(name, _)| given.clone().any(|given| given == name);
    if given.len() == signature.inputs().len() && signature.inputs().all(is_given) {
        return Ok(());
    }
    let given: BTreeSet<&str> = given.collect();
    let used: BTreeSet<&str> = signature.inputs().map(|(name, _)| name).filter(|name| given.contains(name)).collect();
    if used.len() == given.len() {
        return Ok(());
    }
    let (used, given) = (join(used), join(given));
    Err(Status::invalid_argument(format!(
        "Inputs contains invalid name. Used request inputs: {used}, request input: {given}"
    )))
}

fn check_outputs(signature: &Signature, wanted: &[String]) -> Result<(), Status> {
    for (index, name) in wanted.iter().enumerate() {
        if !signature.outputs().any(|output| output == name) {
            return Err(Status::invalid_argument(format!(
                "output tensor alias not found in signature: {name} Outputs expected to be in the set {{{}}}.",
                join(signature.outputs())
            )));
        }
        if wanted[..index].contains(name) {
            return Err(Status::invalid_argument(format!("duplicate output tensor alias: {name}")));
        }
    }
    Ok(())
}

/// Checks the dtypes of inputs, in the words of TensorFlow's session (`FunctionCallFrame::SetArgs`), which numbers the
/// inputs in the order of the names of their tensors.
pub(super) fn check_dtypes(signature: &Signature, given: &[(String, Tensor)]) -> Result<(), Status> {
    let expected = |name: &str| signature.inputs().find(|(input, _)| *input == name).map(|(_, dtype)| dtype);
    let wrong = given.iter().filter(|(name, tensor)| expected(name).is_some_and(|dtype| dtype != tensor.dtype()));
    let tensor_name = |name: &str| {
        let info = signature.definition().input(name)?;
        Some((*info.tensor_names().first()?).to_owned())
    };
    let Some((first, name, tensor)) =
        wrong.map(|(name, tensor)| (tensor_name(name), name, tensor)).min_by_key(|at| at.0.clone())
    else {
        return Ok(());
    };
    let index = signature.inputs().filter(|(input, _)| tensor_name(input) < first).count();
    let (expected, given) = (expected(name).map(session_name).unwrap_or_default(), session_name(tensor.dtype()));
    Err(Status::invalid_argument(format!("Expects arg[{index}] to be {expected} but {given} is provided")))
}

/// The name of a dtype in messages of TensorFlow's session (`DataTypeString`).
fn session_name(dtype: DType) -> String {
    dtype.enum_name().trim_start_matches("DT_").to_ascii_lowercase()
}

fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(",")
}
