//! Runs a request: which signature it means, whether its tensors fit, and what is answered.

use std::sync::Arc;
use std::time::Instant;

use tf_persist_core::saved_model::DefaultValue;
use tf_persist_core::{Code, Signature, Tensor};

use super::classification::classify;
use super::datatype::datatype_name;
use crate::batching::{InferenceRequest, InferenceResponse};
use crate::inference;
use crate::models::{Servable, ServedSignature};
use crate::request_scope::RequestScope;
use crate::status::Status;

/// The signature that requests mean that name none.
const DEFAULT_SIGNATURE: &str = "serving_default";

/// A signature that TensorFlow writes for itself.
const INIT_SIGNATURE: &str = "__saved_model_init_op";

/// A request with decoded tensors.
#[derive(Debug)]
pub(crate) struct InferRequest {
    /// Tensors by the names of the inputs.
    pub(crate) inputs: Vec<(String, Tensor)>,
    /// The outputs to answer; all if there are none.
    pub(crate) outputs: Vec<Output>,
}

/// An output that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) name: String,
    /// Whether it is sent in binary, if the request says so.
    pub(crate) binary: Option<bool>,
    /// How many of the best classes are sent instead of the tensor.
    pub(crate) classes: Option<usize>,
}

/// The signature of this name. Without a name it is `serving_default`, or the only one of the model.
///
/// # Errors
/// `NOT_FOUND` if the signature is unknown, or the reason why it cannot be run.
pub(crate) fn signature<'s>(servable: &'s Servable, name: Option<&str>) -> Result<&'s Arc<ServedSignature>, Status> {
    let names = || servable.signature_names().filter(|name| *name != INIT_SIGNATURE);
    let name = match name {
        Some(name) => name,
        None => match (names().next(), names().nth(1)) {
            (Some(only), None) => only,
            _ => DEFAULT_SIGNATURE,
        },
    };
    servable.signature(name, || {
        let known = join(names());
        let hint = "name one with the parameter `signature_name`";
        Status::not_found(format!("the model `{}` has no signature `{name}`, but {known}: {hint}", servable.name()))
    })
}

/// Runs a request, through the same queue as those of the other interfaces. Returns the outputs by name.
///
/// # Errors
/// `INVALID_ARGUMENT` if inputs or outputs do not fit the signature; errors of TensorFlow.
pub(crate) async fn infer(
    servable: &Servable,
    served: &Arc<ServedSignature>,
    request: InferRequest,
    deadline: Option<Instant>,
) -> Result<InferenceResponse, Status> {
    inference::check_predict_method(servable, served)?;
    let InferRequest { inputs, outputs } = request;
    let checked = check_inputs(&served.signature, &inputs).and_then(|()| check_outputs(&served.signature, &outputs));
    let names = outputs.iter().map(|output| output.name.clone()).collect();
    let call = InferenceRequest { inputs, outputs: names, deadline };
    let mut answer = inference::run_checked(served, call, checked).await?;
    for output in outputs {
        if let Some(classes) = output.classes
            && let Some((name, tensor)) = answer.iter_mut().find(|(name, _)| *name == output.name)
        {
            *tensor = classify(name, tensor, classes).inspect_err(RequestScope::note_failure)?;
        }
    }
    Ok(answer)
}

/// Checks that the inputs are those of the signature, each once and with its datatype.
fn check_inputs(signature: &Signature, given: &[(String, Tensor)]) -> Result<(), Status> {
    for (index, (name, tensor)) in given.iter().enumerate() {
        let Some((_, dtype)) = signature.inputs().find(|(input, _)| input == name) else {
            let known = join(signature.inputs().map(|(name, _)| name));
            let signature = &signature.definition().name;
            return refuse(format!("the signature `{signature}` has no input `{name}`, but {known}"));
        };
        if dtype != tensor.dtype() {
            let (wanted, sent) = (datatype_name(dtype), datatype_name(tensor.dtype()));
            return refuse(format!("input `{name}` is {sent}, and the signature expects {wanted}"));
        }
        if given[..index].iter().any(|(other, _)| other == name) {
            return refuse(format!("input `{name}` is there twice"));
        }
    }
    if given.len() == signature.inputs().len() {
        return Ok(());
    }
    let definition = signature.definition();
    let is_missing = |name: &str| !given.iter().any(|(given, _)| given == name);
    for (name, _) in signature.inputs().filter(|(name, _)| is_missing(name)) {
        match definition.default_value(name) {
            Some(DefaultValue::Tensor(_)) => {}
            Some(_) => return refuse(format!("input `{name}` is missing, and its default cannot be read")),
            None => return refuse(format!("input `{name}` of the signature `{}` is missing", definition.name)),
        }
    }
    Ok(())
}

/// Checks that the requested outputs are those of the signature, each once.
fn check_outputs(signature: &Signature, wanted: &[Output]) -> Result<(), Status> {
    for (index, Output { name, .. }) in wanted.iter().enumerate() {
        if !signature.outputs().any(|output| output == name) {
            let known = join(signature.outputs());
            let signature = &signature.definition().name;
            return refuse(format!("the signature `{signature}` has no output `{name}`, but {known}"));
        }
        if wanted[..index].iter().any(|other| other.name == *name) {
            return refuse(format!("output `{name}` is requested twice"));
        }
    }
    Ok(())
}

fn refuse(reason: String) -> Result<(), Status> {
    Err(Status::new(Code::InvalidArgument, reason))
}

/// Names as a list in a sentence.
fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
