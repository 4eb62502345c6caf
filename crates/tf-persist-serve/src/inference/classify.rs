//! Classify: examples in, classes out (`servables/tensorflow/classifier.cc`).

use std::sync::Arc;
use std::time::Instant;

use tf_persist_core::tensor::Strings;
use tf_persist_core::{DType, Tensor};

use super::examples::{self, INPUTS, output, shape_text};
use super::logged;
use super::metadata::debug_text;
use super::multi_inference::CLASSIFY;
use super::signature::check_method;
use crate::api::{Api, Class};
use crate::batching::InferenceResponse;
use crate::models::{Servable, ServedSignature};
use crate::request_log::Exchange;
use crate::status::Status;

/// The output with the classes' labels (`kClassifyOutputClasses`).
const CLASSES: &str = "classes";

/// The output with the classes' scores (`kClassifyOutputScores`).
const SCORES: &str = "scores";

/// Classifies examples. Returns the classes of each. An empty name means the default signature.
///
/// # Errors
/// `INVALID_ARGUMENT` if the signature is unknown or cannot classify, or there are no examples; errors of TensorFlow.
pub(crate) async fn classify(
    servable: &Servable,
    signature: &str,
    examples: Strings,
    deadline: Option<Instant>,
) -> Result<Vec<Vec<Class>>, Status> {
    let served = examples::signature(servable, signature)?;
    let outputs = check(servable, served)?;
    let (count, examples) = examples::tensor(examples)?;
    let log = logged::begin_examples(served, &examples);
    let answer = examples::run_measured(Api::Classify, served, examples, &outputs, deadline).await;
    let results = answer.and_then(|answer| results(served, &answer, count));
    if let Some(log) = log {
        log.end_examples(|examples| Exchange::Classify { examples, outcome: results.clone() });
    }
    results
}

/// Checks that a signature can classify (`PreProcessClassification`). Returns the outputs to fetch.
pub(super) fn check(servable: &Servable, served: &Arc<ServedSignature>) -> Result<Vec<&'static str>, Status> {
    let definition = served.signature.definition();
    check_method(servable, definition, "classification", CLASSIFY)?;
    if definition.inputs.len() != 1 {
        return Err(Status::invalid_argument("Expected one input Tensor."));
    }
    if !(1..=2).contains(&definition.outputs.len()) {
        let found = definition.outputs.len();
        return Err(Status::invalid_argument(format!("Expected one or two output Tensors, found {found}")));
    }
    if definition.input(INPUTS).is_none() {
        let text = debug_text(servable, &definition.name);
        return Err(Status::invalid_argument(format!("No classification inputs found in SignatureDef: {text}")));
    }
    let mut outputs = vec![CLASSES, SCORES];
    outputs.retain(|name| definition.output(name).is_some());
    if outputs.is_empty() {
        return Err(Status::invalid_argument(format!(
            "Expected classification signature outputs to contain at least one of \"{CLASSES}\" or \"{SCORES}\". Signature was: {}",
            debug_text(servable, &definition.name)
        )));
    }
    Ok(outputs)
}

/// The classes of a run (`PostProcessClassificationResult`).
pub(super) fn results(
    served: &ServedSignature,
    answer: &InferenceResponse,
    examples: usize,
) -> Result<Vec<Vec<Class>>, Status> {
    let definition = served.signature.definition();
    let classes = output(answer, CLASSES);
    // If both outputs are the same tensor of the graph, it has the labels.
    let names = |output: &str| definition.output(output).map(|info| info.tensor_names());
    let scores = output(answer, SCORES).filter(|_| names(CLASSES) != names(SCORES));
    if let Some(classes) = classes {
        check_output("classes", classes, DType::String, examples)?;
    }
    if let Some(scores) = scores {
        check_output("scores", scores, DType::Float32, examples)?;
    }
    let width = match (classes, scores) {
        (Some(classes), Some(scores)) if classes.shape()[1] != scores.shape()[1] => {
            return Err(Status::invalid_argument(format!(
                "Tensors class and score should match in dim_size(1). Got {} vs. {}",
                classes.shape()[1],
                scores.shape()[1]
            )));
        }
        (Some(tensor), _) | (None, Some(tensor)) => tensor.shape()[1],
        (None, None) => 0,
    };
    let labels = classes.map(Tensor::strings).transpose()?;
    let scores = scores.map(Tensor::view::<f32>).transpose()?;
    let class = |at: usize| Class {
        label: labels.and_then(|labels| labels.get(at)).unwrap_or_default().to_vec(),
        score: scores.and_then(|scores| scores.get(at)).copied().unwrap_or_default(),
    };
    Ok((0..examples).map(|example| (example * width..(example + 1) * width).map(class).collect()).collect())
}

fn check_output(what: &str, tensor: &Tensor, dtype: DType, examples: usize) -> Result<(), Status> {
    let [batch, _] = *tensor.shape() else {
        let shape = shape_text(tensor.shape());
        return Err(Status::invalid_argument(format!(
            "Expected Tensor shape: [batch_size num_classes] but got {shape}"
        )));
    };
    if tensor.dtype() != dtype {
        let (wanted, got) = (dtype.enum_name(), tensor.dtype().enum_name());
        return Err(Status::invalid_argument(format!("Expected {what} Tensor of {wanted}. Got: {got}")));
    }
    if batch != examples {
        return Err(Status::invalid_argument(format!("Expected {what} output batch size of {examples}. Got: {batch}")));
    }
    Ok(())
}
