//! Requests that consist of `tf.Example`s: classification and regression.
//!
//! TensorFlow Serving passes the serialized examples to the model as strings, and makes a response of the outputs
//! `classes` and `scores`, or `outputs` (`servables/tensorflow/classifier.cc`, `regressor.cc`, `util.cc`).

use tf_persist_proto::wire::{Value, try_fields};

use super::decode::{signature_name, text};
use super::record::{Kind, Request, Task, Tensors};
use crate::error::Result as CoreResult;
use crate::saved_model::SignatureDef;
use crate::tensor::{Strings, Tensor};

/// The input of both kinds of signatures (`kClassifyInputs`, `kRegressInputs`).
const INPUTS: &str = "inputs";
/// `kClassifyOutputClasses`, `kClassifyOutputScores`, `kRegressOutputs`.
pub(super) const CLASSES: &str = "classes";
pub(super) const SCORES: &str = "scores";
pub(super) const OUTPUTS: &str = "outputs";

/// The outputs of the signature of which a response of this kind consists.
pub fn outputs_of(kind: Kind, signature: &SignatureDef) -> Vec<String> {
    let names: &[&str] = if kind == Kind::Classify { &[CLASSES, SCORES] } else { &[OUTPUTS] };
    let there = names.iter().filter(|name| signature.output(name).is_some());
    there.map(|name| (*name).to_owned()).collect()
}

/// A `ClassifyLog` or `RegressLog`: its request, with the examples as the tensor `inputs`, and its response as tensors.
pub(super) fn log(kind: Kind, request: &[u8], response: &[u8]) -> Result<(Request, Option<Tensors>), String> {
    let (mut signature, mut input): (_, &[u8]) = (String::new(), &[]);
    for field in try_fields(request) {
        match field.map_err(text)? {
            (1, Value::Bytes(spec)) => signature = signature_name(spec)?,
            (2, Value::Bytes(bytes)) => input = bytes,
            _ => {}
        }
    }
    let inputs = vec![(INPUTS.to_owned(), examples(input)?)];
    let mut result = None;
    for field in try_fields(response) {
        if let (1, Value::Bytes(bytes)) = field.map_err(text)? {
            result = Some(bytes);
        }
    }
    let answer = match (result, kind) {
        (None, _) => None,
        (Some(result), Kind::Classify) => Some(classifications(result)?),
        (Some(result), _) => Some(regressions(result)?),
    };
    Ok((Request { kind, signature, inputs, output_filter: Vec::new(), tasks: Vec::new() }, answer))
}

/// The number of tasks in a request. TensorFlow Serving has no limit, but refuses duplicate signatures.
const MAX_TASKS: usize = 1000;

/// A `MultiInferenceRequest`: its examples as the tensor `inputs`, and its tasks.
pub(super) fn multi_inference(request: &[u8]) -> Result<Request, String> {
    let (mut tasks, mut input): (Vec<Task>, &[u8]) = (Vec::new(), &[]);
    for field in try_fields(request) {
        match field.map_err(text)? {
            (1, Value::Bytes(_)) if tasks.len() == MAX_TASKS => {
                return Err(format!("it has more than {MAX_TASKS} tasks"));
            }
            (1, Value::Bytes(bytes)) => tasks.push(task(bytes)?),
            (2, Value::Bytes(bytes)) => input = bytes,
            _ => {}
        }
    }
    let inputs = vec![(INPUTS.to_owned(), examples(input)?)];
    let signature = tasks.first().map(|task| task.signature.clone()).unwrap_or_default();
    Ok(Request { kind: Kind::MultiInference, signature, inputs, output_filter: Vec::new(), tasks })
}

/// An `InferenceTask`.
fn task(message: &[u8]) -> Result<Task, String> {
    let mut task = Task { model: String::new(), signature: String::new(), method: String::new() };
    for field in try_fields(message) {
        match field.map_err(text)? {
            (1, Value::Bytes(spec)) => {
                task.signature = signature_name(spec)?;
                for field in try_fields(spec) {
                    if let (1, value @ Value::Bytes(_)) = field.map_err(text)? {
                        value.text().clone_into(&mut task.model);
                    }
                }
            }
            (2, value @ Value::Bytes(_)) => value.text().clone_into(&mut task.method),
            _ => {}
        }
    }
    Ok(task)
}

/// `Input`: serialized examples. A context precedes each example: protobuf merges the two.
fn examples(input: &[u8]) -> Result<Tensor, String> {
    let mut list: (u32, &[u8]) = (1, &[]);
    for field in try_fields(input) {
        if let (kind @ (1 | 2), Value::Bytes(bytes)) = field.map_err(text)? {
            list = (kind, bytes);
        }
    }
    let (kind, list) = list;
    let (mut examples, mut context): (Vec<&[u8]>, &[u8]) = (Vec::new(), &[]);
    for field in try_fields(list) {
        match field.map_err(text)? {
            (1, Value::Bytes(example)) => examples.push(example),
            (2, Value::Bytes(bytes)) if kind == 2 => context = bytes,
            _ => {}
        }
    }
    // A context is repeated in every example, so a few bytes could become gigabytes.
    if context.len().saturating_mul(examples.len()) > MAX_CONTEXT_BYTES {
        return Err(format!("its context would take more than {MAX_CONTEXT_BYTES} bytes in its examples"));
    }
    let examples: Strings = examples.into_iter().map(|example| [context, example].concat()).collect();
    tensor(Tensor::from_string_array(&[examples.len()], examples))
}

/// The bytes that a context may take in all examples together.
const MAX_CONTEXT_BYTES: usize = 256 << 20;

/// `ClassificationResult`: `classes` and `scores`, of shape [examples, classes].
fn classifications(result: &[u8]) -> Result<Tensors, String> {
    let (mut labels, mut scores) = (Strings::default(), Vec::new());
    let (mut rows, mut columns) = (0, None);
    for field in try_fields(result) {
        let (1, Value::Bytes(row)) = field.map_err(text)? else { continue };
        rows += 1;
        let before = scores.len();
        for field in try_fields(row) {
            let (1, Value::Bytes(class)) = field.map_err(text)? else { continue };
            let (mut label, mut score): (&[u8], f32) = (&[], 0.0);
            for field in try_fields(class) {
                match field.map_err(text)? {
                    (1, Value::Bytes(bytes)) => label = bytes,
                    (2, Value::Fixed32(bits)) => score = f32::from_bits(bits),
                    _ => {}
                }
            }
            labels.push(label);
            scores.push(score);
        }
        let count = scores.len() - before;
        if *columns.get_or_insert(count) != count {
            return Err("its answer has not as many classes for each example".into());
        }
    }
    let shape = [rows, columns.unwrap_or(0)];
    Ok(vec![
        (CLASSES.to_owned(), tensor(Tensor::from_string_array(&shape, labels))?),
        (SCORES.to_owned(), tensor(Tensor::from_slice(&shape, &scores))?),
    ])
}

/// `RegressionResult`: `outputs`, of shape `[examples]`.
fn regressions(result: &[u8]) -> Result<Tensors, String> {
    let mut values = Vec::new();
    for field in try_fields(result) {
        let (1, Value::Bytes(regression)) = field.map_err(text)? else { continue };
        let mut value = 0.0;
        for field in try_fields(regression) {
            if let (1, Value::Fixed32(bits)) = field.map_err(text)? {
                value = f32::from_bits(bits);
            }
        }
        values.push(value);
    }
    Ok(vec![(OUTPUTS.to_owned(), tensor(Tensor::from_slice(&[values.len()], &values))?)])
}

fn tensor(made: CoreResult<Tensor>) -> Result<Tensor, String> {
    made.map_err(|error| error.to_string())
}

/// The tensors of a response of this kind, from all outputs of the signature. Without `classes` the labels are empty,
/// and without `scores` the scores are 0. Numbers may be in a column.
pub fn answer(kind: Kind, outputs: Tensors) -> CoreResult<Tensors> {
    let get = |name: &str| outputs.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor.clone());
    let mut answer = Tensors::new();
    if kind == Kind::Regress {
        if let Some(values) = get(OUTPUTS) {
            let flat = matches!(values.shape(), [_, 1]);
            let count = values.len();
            answer.push((OUTPUTS.to_owned(), if flat { values.reshape(&[count])? } else { values }));
        }
        return Ok(answer);
    }
    let (classes, scores) = (get(CLASSES), get(SCORES));
    if let Some(known) = classes.as_ref().or(scores.as_ref()) {
        let shape = known.shape().to_vec();
        let none = |dtype| Tensor::zeros(dtype, &shape);
        answer.push((CLASSES.to_owned(), classes.map_or_else(|| none(crate::DType::String), Ok)?));
        answer.push((SCORES.to_owned(), scores.map_or_else(|| none(crate::DType::Float32), Ok)?));
    }
    Ok(answer)
}
