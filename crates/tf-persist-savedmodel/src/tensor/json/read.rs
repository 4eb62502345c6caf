//! Reading requests in two passes: the first finds the keys and the signature, the second decodes the tensors with the
//! dtypes of that signature.

use std::ops::Range;

use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

use super::cell::{Refusal, Refused, describe};
use super::decode::Builder;
use super::inputs::Inputs;
use super::{misfit, plain};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The form of a request or a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `{"instances": […]}` and `{"predictions": […]}`: row by row. The first dimension of every tensor is the batch.
    Row,
    /// `{"inputs": …}` and `{"outputs": …}`: tensor by tensor.
    Column,
}

/// The handling of unknown inputs in the column form. In the row form they are always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExtraInputs {
    /// They are an error by name.
    #[default]
    Refuse,
    /// They are skipped, as TensorFlow Serving does.
    Ignore,
}

/// A request after the first pass: the name of its signature is known, and it is valid JSON, but for lists of plain
/// numbers, which [`Request::tensors`] checks.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    text: Text<'a>,
    signature_name: Option<String>,
    inputs: Option<Range<usize>>,
    instances: Option<Range<usize>>,
    outputs: Option<Range<usize>>,
    output_filter: Option<Vec<String>>,
}

/// A text and its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) source: &'a str,
    pub(super) bytes: &'a [u8],
}

/// A known key of a request.
enum Key {
    SignatureName,
    Inputs,
    Instances,
    Outputs,
    OutputFilter,
    Other,
}

impl<'a> Request<'a> {
    /// Finds the members of a request, without decoding tensors. Errors name `source`.
    ///
    /// # Errors
    /// [`TensorError::InvalidData`](crate::TensorError::InvalidData) if it is not exactly one JSON object, a known key
    /// is a duplicate, or the signature's name is not a string.
    pub fn parse(source: &'a str, bytes: &'a [u8]) -> Result<Self> {
        let text = Text { source, bytes };
        let (signature_name, inputs, instances, outputs, output_filter) = (None, None, None, None, None);
        let mut request = Self { text, signature_name, inputs, instances, outputs, output_filter };
        let mut start = 0;
        request.find_members(&mut start).map_err(|refused| text.refuse("", *refused, start))?;
        Ok(request)
    }

    /// `read_from` is where the reader began, which an error is relative to.
    fn find_members(&mut self, read_from: &mut usize) -> Result<(), Refused> {
        let bytes = self.text.bytes;
        let mut reader = self.text.reader(bytes);
        let jiter = &mut reader;
        // Skips a value, and returns its place.
        let mut skip = |jiter: &mut Jiter<'a>, peek| -> Result<Range<usize>, Refused> {
            let start = *read_from + jiter.current_index();
            match bytes.get(start..).and_then(plain::list_length) {
                Some(length) => {
                    *read_from = start + length;
                    *jiter = self.text.reader(bytes.get(*read_from..).unwrap_or_default());
                }
                None => jiter.known_skip(peek)?,
            }
            Ok(start..*read_from + jiter.current_index())
        };
        let peek = jiter.peek()?;
        if peek != Peek::Object {
            let found = match describe(peek) {
                Some(found) => found,
                // What is no JSON at all is refused as that.
                None => jiter.known_skip(peek).map(|()| "something else")?,
            };
            return Err(format!("a request is a JSON object with `inputs` or `instances`, not {found}").into());
        }
        let mut key = jiter.known_object()?.map(Key::from_name);
        while let Some(known) = key {
            let peek = jiter.peek()?;
            let twice = match known {
                Key::SignatureName if peek != Peek::String => {
                    return Err("`signature_name` must be a string".to_owned().into());
                }
                Key::SignatureName => self.signature_name.replace(jiter.known_str()?.to_owned()).is_some(),
                Key::Inputs => self.inputs.replace(skip(jiter, peek)?).is_some(),
                Key::Instances => self.instances.replace(skip(jiter, peek)?).is_some(),
                // Part of a logged request, and of no other, so it may be anything.
                Key::Outputs => {
                    self.outputs = Some(skip(jiter, peek)?);
                    false
                }
                Key::OutputFilter => {
                    self.output_filter = Some(names(jiter, peek)?);
                    false
                }
                Key::Other => {
                    jiter.known_skip(peek)?;
                    false
                }
            };
            if twice {
                return Err("`signature_name`, `inputs` or `instances` is given twice".to_owned().into());
            }
            key = jiter.next_key()?.map(Key::from_name);
        }
        Ok(jiter.finish()?)
    }

    /// The signature that the request names.
    #[must_use]
    pub fn signature_name(&self) -> Option<&str> {
        self.signature_name.as_deref()
    }

    /// Whether the request has an `output_filter`, which gRPC has and TensorFlow Serving's REST does not look at.
    #[must_use]
    pub fn has_output_filter(&self) -> bool {
        self.output_filter.is_some()
    }

    /// The names in the request's `output_filter`; none if it is no list of names.
    #[must_use]
    pub fn output_filter(&self) -> &[String] {
        self.output_filter.as_deref().unwrap_or_default()
    }

    /// The form of the request, which is also that of its response.
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

    /// Decodes the given tensors, in the order of `inputs`, which are all inputs of the signature with their dtypes.
    /// The signature decides whether one may be left out.
    ///
    /// # Errors
    /// [`SignatureError::UnknownInput`](crate::SignatureError::UnknownInput) and
    /// [`SignatureError::ConflictingInput`](crate::SignatureError::ConflictingInput) if the names are not those of the
    /// signature; [`TensorError::UnsupportedDType`](crate::TensorError::UnsupportedDType) if a given input has an
    /// unsupported dtype; [`TensorError::InvalidData`](crate::TensorError::InvalidData) with the position if a value
    /// does not match its dtype, lists are ragged or rows differ in shape.
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

impl Request<'_> {
    /// As [`tensors`](Self::tensors), of a logged request, which may be one to another version of the model: tensors in
    /// the column form that the signature does not have, or has with another dtype, are there with what they are.
    pub(crate) fn logged_inputs<S: AsRef<str>>(
        &self,
        signature: &str,
        inputs: &[(S, DType)],
    ) -> Result<Vec<(String, Tensor)>> {
        match (self.tensors(signature, inputs, ExtraInputs::Refuse), self.body()?) {
            (Err(error), (Form::Column, body)) if misfit::may_be_one(&error) => {
                misfit::read(self.text, "input", self.text.part(body), inputs)
            }
            (tensors, _) => tensors,
        }
    }

    /// Decodes the outputs of a logged request, which are under `outputs` in the column form, sorted by name. `None` if
    /// it has none. `outputs` are those of the signature with their dtypes; others, which another version of the model
    /// gave, are there as well, with what they are.
    ///
    /// # Errors
    /// Those of [`tensors`](Self::tensors), but for names and dtypes.
    pub fn logged_outputs<S: AsRef<str>>(
        &self,
        signature: &str,
        outputs: &[(S, DType)],
    ) -> Result<Option<Vec<(String, Tensor)>>> {
        let Some(body) = self.outputs.clone() else { return Ok(None) };
        let names: Vec<(&str, DType)> = outputs.iter().map(|(name, dtype)| (name.as_ref(), *dtype)).collect();
        let mut tensors = Inputs::new(self.text, body.clone(), signature, names)?;
        let read = tensors.read_columns(ExtraInputs::Refuse).and_then(|()| tensors.finish());
        let mut tensors = match read {
            Err(error) if misfit::may_be_one(&error) => {
                misfit::read(self.text, "output", self.text.part(body), outputs)?
            }
            read => read?,
        };
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Some(tensors))
    }
}

/// The text without the byte order mark that some programs of Windows write before it.
#[must_use]
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Reads one value, such as `[[1, 2], [3, 4]]`, `3.5` or `{"b64": "AAE="}`, as a tensor. Errors name `source`.
///
/// # Errors
/// [`TensorError::UnsupportedDType`](crate::TensorError::UnsupportedDType) if the dtype is unsupported;
/// [`TensorError::InvalidData`](crate::TensorError::InvalidData) with the position if the text is not exactly one JSON
/// value, a value does not match the dtype, or lists are ragged.
pub fn read_value(source: &str, bytes: &[u8], dtype: DType) -> Result<Tensor> {
    let text = Text { source, bytes };
    let mut builder = Builder::new(source, dtype)?;
    let start = builder.read_plain(bytes).unwrap_or(0);
    let mut jiter = text.reader(bytes.get(start..).unwrap_or_default());
    let read = if start > 0 { Ok(()) } else { builder.read(&mut jiter) };
    let read = read.and_then(|()| Ok(jiter.finish()?));
    read.map_err(|refused| text.refuse(&builder.path(), *refused, start))?;
    builder.finish(false)
}

/// The strings of a list, or none if the value is anything else.
fn names(jiter: &mut Jiter<'_>, peek: Peek) -> Result<Vec<String>, Refused> {
    let mut names = Vec::new();
    if peek != Peek::Array {
        jiter.known_skip(peek)?;
        return Ok(names);
    }
    let mut next = jiter.known_array()?;
    while let Some(peek) = next {
        match peek {
            Peek::String => names.push(jiter.known_str()?.to_owned()),
            _ => jiter.known_skip(peek)?,
        }
        next = jiter.array_step()?;
    }
    Ok(names)
}

impl Key {
    fn from_name(name: &str) -> Self {
        match name {
            "signature_name" => Self::SignatureName,
            "output_filter" => Self::OutputFilter,
            "inputs" => Self::Inputs,
            "instances" => Self::Instances,
            "outputs" => Self::Outputs,
            _ => Self::Other,
        }
    }
}

impl<'a> Text<'a> {
    /// A reader of the text, or of a part of it.
    pub(super) fn reader(&self, part: &'a [u8]) -> Jiter<'a> {
        Jiter::new(part).with_allow_inf_nan()
    }

    /// The error for a refused value: `place` is its path, and the offset is the begin of the part in the text.
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
        not_json(self.bytes, error, start)
    }

    /// A part of the text.
    fn part(&self, range: Range<usize>) -> &'a [u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

/// Why a text is not JSON. `start` is where the reader of the error began.
pub(crate) fn not_json(text: &[u8], error: &JiterError, start: usize) -> String {
    let at = start.saturating_add(error.index);
    // What ends too early ends with its last line, and not after it.
    let text = text.trim_ascii_end();
    // A text of one line is often one of many, whose number is in the name of the source.
    let place = match text.contains(&b'\n') {
        true => Jiter::new(text).error_position(at).to_string(),
        false => format!("column {}", at.min(text.len()) + 1),
    };
    match &error.error_type {
        JiterErrorType::JsonError(JsonErrorType::RecursionLimitExceeded) => {
            format!("it is nested too deeply at {place}")
        }
        other => format!("it is not valid JSON at {place}: {other}"),
    }
}
