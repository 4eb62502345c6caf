//! Runs signatures that take serialized `tf.Example`s (`PerformOneShotTensorComputation` in
//! `servables/tensorflow/util.cc`).

use std::sync::Arc;
use std::time::Instant;

use tf_persist_core::tensor::Strings;
use tf_persist_core::{Code, Tensor};

use super::predict::check_dtypes;
use super::signature::effective_name;
use crate::api::Api;
use crate::batching::{InferenceRequest, InferenceResponse};
use crate::models::{Servable, ServedSignature};
use crate::request_scope::RequestScope;
use crate::status::Status;

/// The only input of signatures that take examples (`kClassifyInputs`, `kRegressInputs`).
pub(super) const INPUTS: &str = "inputs";

/// How many bytes the copies of a context may add to a request. The context is put before each example, so a small
/// message could require any amount of memory.
const MAX_CONTEXT_BYTES: usize = 256 << 20;

/// Puts a context before each example. Concatenated messages are one message, in which later fields win.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` if that would take too much memory.
pub(crate) fn with_context(context: &[u8], examples: &Strings) -> Result<Strings, Status> {
    let added = context.len().saturating_mul(examples.len());
    if added > MAX_CONTEXT_BYTES {
        return Err(Status::new(
            Code::ResourceExhausted,
            format!(
                "a context of {} bytes for {} examples takes more than {MAX_CONTEXT_BYTES} bytes",
                context.len(),
                examples.len()
            ),
        ));
    }
    let mut all = Strings::with_capacity(examples.len(), examples.total_bytes() + added);
    let mut joined = Vec::new();
    for example in examples.iter() {
        joined.clear();
        joined.extend_from_slice(context);
        joined.extend_from_slice(example);
        all.push(&joined);
    }
    Ok(all)
}

/// The signature of this name; an empty name means the default signature.
///
/// # Errors
/// `INVALID_ARGUMENT` if the signature is unknown.
pub(super) fn signature<'s>(servable: &'s Servable, name: &str) -> Result<&'s Arc<ServedSignature>, Status> {
    let name = effective_name(name);
    servable.signature(name, || Status::invalid_argument(format!("No signature was found with the name: {name}")))
}

/// The number of examples, and a tensor of them.
///
/// # Errors
/// `INVALID_ARGUMENT` if there are no examples.
pub(super) fn tensor(examples: Strings) -> Result<(usize, Tensor), Status> {
    let count = examples.len();
    if count == 0 {
        return Err(Status::invalid_argument("Input is empty."));
    }
    Ok((count, Tensor::from_string_array(&[count], examples)?))
}

/// Runs examples through a signature.
pub(super) async fn run(
    served: &Arc<ServedSignature>,
    examples: Tensor,
    outputs: &[&str],
    deadline: Option<Instant>,
) -> Result<InferenceResponse, Status> {
    let inputs = vec![(INPUTS.to_owned(), examples)];
    check_dtypes(&served.signature, &inputs)?;
    let outputs = outputs.iter().map(|&name| name.to_owned()).collect();
    let call = InferenceRequest { inputs, outputs, deadline };
    let shadowed = RequestScope::current().and_then(|scope| scope.shadow(served, &call));
    let answer = served.queue.run(&served.signature, call).await;
    if let (Some(shadowed), Ok(answer)) = (shadowed, &answer) {
        shadowed.answered(answer);
    }
    answer
}

/// Runs examples through a signature, and records how long that took.
pub(super) async fn run_measured(
    api: Api,
    served: &Arc<ServedSignature>,
    examples: Tensor,
    outputs: &[&str],
    deadline: Option<Instant>,
) -> Result<InferenceResponse, Status> {
    let started = Instant::now();
    let answer = run(served, examples, outputs, deadline).await?;
    served.queue.record_runtime(api, started.elapsed());
    Ok(answer)
}

/// An output of a run.
pub(super) fn output<'a>(answer: &'a InferenceResponse, name: &str) -> Option<&'a Tensor> {
    answer.iter().find(|(output, _)| output == name).map(|(_, tensor)| tensor)
}

/// A shape as TensorFlow writes it.
pub(super) fn shape_text(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sizes.join(","))
}
