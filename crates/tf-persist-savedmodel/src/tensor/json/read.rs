//! Requests, read in two passes: the first finds what there is and which signature it is for, the second decodes the
//! tensors with the dtypes of that signature.

use std::ops::Range;

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

use super::cell::{Refusal, Refused, describe};
use super::decode::Builder;
use super::inputs::Inputs;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// How tensors stand in a request or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `{"instances": […]}` and `{"predictions": […]}`: row by row, the first dimension of every tensor being the
    /// batch.
    Row,
    /// `{"inputs": …}` and `{"outputs": …}`: tensor by tensor.
    Column,
}

/// What becomes of inputs in the column form that the signature does not have. In the row form they are always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExtraInputs {
    /// They are an error by name.
    #[default]
    Refuse,
    /// They are skipped, as TensorFlow Serving does.
    Ignore,
}

/// A request, of which only the outline has been read: it is JSON throughout, and its signature is known by name.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    text: Text<'a>,
    signature_name: Option<String>,
    inputs: Option<Range<usize>>,
    instances: Option<Range<usize>>,
}

/// A text and its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) source: &'a str,
    pub(super) bytes: &'a [u8],
}

/// A key of a request that means something.
enum Key {
    SignatureName,
    Inputs,
    Instances,
    Other,
}

impl<'a> Request<'a> {
    /// Reads the outline of a request. `source` names it in errors.
    ///
    /// # Errors
    /// [`TensorError::InvalidData`](crate::TensorError::InvalidData) if it is not one JSON object and nothing else, if
    /// one of the keys that mean something is there twice, or if the signature's name is not a string.
    pub fn parse(source: &'a str, bytes: &'a [u8]) -> Result<Self> {
        let text = Text { source, bytes };
        let mut request = Self { text, signature_name: None, inputs: None, instances: None };
        request.outline(&mut text.reader(bytes)).map_err(|refused| text.refuse("", *refused, 0))?;
        Ok(request)
    }

    fn outline(&mut self, jiter: &mut Jiter<'_>) -> Result<(), Refused> {
        let peek = jiter.peek()?;
        if peek != Peek::Object {
            let found = describe(peek).unwrap_or("something else");
            return Err(format!("a request is a JSON object with `inputs` or `instances`, not {found}").into());
        }
        let mut key = jiter.known_object()?.map(Key::of);
        while let Some(known) = key {
            let peek = jiter.peek()?;
            let start = jiter.current_index();
            let twice = match known {
                Key::SignatureName if peek != Peek::String => {
                    return Err("`signature_name` must be a string".to_owned().into());
                }
                Key::SignatureName => self.signature_name.replace(jiter.known_str()?.to_owned()).is_some(),
                Key::Inputs => {
                    jiter.known_skip(peek)?;
                    self.inputs.replace(start..jiter.current_index()).is_some()
                }
                Key::Instances => {
                    jiter.known_skip(peek)?;
                    self.instances.replace(start..jiter.current_index()).is_some()
                }
                Key::Other => {
                    jiter.known_skip(peek)?;
                    false
                }
            };
            if twice {
                return Err("`signature_name`, `inputs` or `instances` is given twice".to_owned().into());
            }
            key = jiter.next_key()?.map(Key::of);
        }
        Ok(jiter.finish()?)
    }

    /// The signature that the request names.
    #[must_use]
    pub fn signature_name(&self) -> Option<&str> {
        self.signature_name.as_deref()
    }

    /// The form of the request, which is also that of its answer.
    ///
    /// # Errors
    /// [`TensorError::InvalidData`](crate::TensorError::InvalidData) if it has neither `inputs` nor `instances`, or
    /// both.
    pub fn form(&self) -> Result<Form> {
        self.body().map(|(form, _)| form)
    }

    fn body(&self) -> Result<(Form, Range<usize>)> {
        match (&self.inputs, &self.instances) {
            (Some(inputs), None) => Ok((Form::Column, inputs.clone())),
            (None, Some(instances)) => Ok((Form::Row, instances.clone())),
            (None, None) => Err(Error::data(self.text.source, "the request has neither `inputs` nor `instances`")),
            (Some(_), Some(_)) => Err(Error::data(self.text.source, "the request has both `inputs` and `instances`")),
        }
    }

    /// Decodes the tensors that are given, in the order of `inputs`, which are all inputs of the signature with their
    /// dtypes. Whether one that is not given may be left out is the signature's to know.
    ///
    /// # Errors
    /// [`SignatureError::UnknownInput`](crate::SignatureError::UnknownInput) and
    /// [`SignatureError::ConflictingInput`](crate::SignatureError::ConflictingInput) if the names are not those of the
    /// signature; [`TensorError::UnsupportedDType`](crate::TensorError::UnsupportedDType) if the signature has a dtype
    /// that no tensor can hold; [`TensorError::InvalidData`](crate::TensorError::InvalidData), which says where, if a
    /// value is not of its dtype, lists are ragged or rows differ in shape.
    pub fn tensors<S: AsRef<str>>(
        &self,
        signature: &str,
        inputs: &[(S, DType)],
        extra: ExtraInputs,
    ) -> Result<Vec<(String, Tensor)>> {
        let (form, body) = self.body()?;
        let inputs: Vec<(&str, DType)> = inputs.iter().map(|(name, dtype)| (name.as_ref(), *dtype)).collect();
        let mut inputs = Inputs::new(self.text, body, signature, inputs)?;
        match form {
            Form::Column => inputs.read_columns(extra)?,
            Form::Row => inputs.read_rows()?,
        }
        inputs.finish()
    }
}

/// Reads one value, such as `[[1, 2], [3, 4]]`, `3.5` or `{"b64": "AAE="}`, as a tensor. `source` names it in errors.
///
/// # Errors
/// [`TensorError::UnsupportedDType`](crate::TensorError::UnsupportedDType) if no tensor can hold the dtype;
/// [`TensorError::InvalidData`](crate::TensorError::InvalidData), which says where, if the text is not one JSON value
/// and nothing else, a value is not of the dtype, or lists are ragged.
pub fn read_value(source: &str, bytes: &[u8], dtype: DType) -> Result<Tensor> {
    let text = Text { source, bytes };
    let mut builder = Builder::new(source, dtype)?;
    let mut jiter = text.reader(bytes);
    let read = builder.read(&mut jiter).and_then(|()| Ok(jiter.finish()?));
    read.map_err(|refused| text.refuse(&builder.path(), *refused, 0))?;
    builder.finish(false)
}

impl Key {
    fn of(name: &str) -> Self {
        match name {
            "signature_name" => Self::SignatureName,
            "inputs" => Self::Inputs,
            "instances" => Self::Instances,
            _ => Self::Other,
        }
    }
}

impl<'a> Text<'a> {
    /// A reader of the text, or of a part of it.
    pub(super) fn reader(&self, part: &'a [u8]) -> Jiter<'a> {
        Jiter::new(part).with_allow_inf_nan()
    }

    /// The error for what was refused at a place: the path of a value, and where the part that was read begins in the
    /// text.
    pub(super) fn refuse(&self, path: &str, refusal: Refusal, start: usize) -> Error {
        let reason = match refusal {
            Refusal::Value(reason) if path.is_empty() => reason,
            Refusal::Value(reason) => format!("at {path}: {reason}"),
            Refusal::Syntax(error) => self.syntax(&error, start),
            Refusal::Memory(error) => return error,
        };
        Error::data(self.source, reason)
    }

    fn syntax(&self, error: &JiterError, start: usize) -> String {
        let place = self.reader(self.bytes).error_position(start.saturating_add(error.index));
        match &error.error_type {
            JiterErrorType::JsonError(JsonErrorType::RecursionLimitExceeded) => {
                format!("it is nested too deeply at {place}")
            }
            other => format!("it is not valid JSON at {place}: {other}"),
        }
    }
}
