//! What a line of a request log says besides the tensors: of which kind the request was, and how it ended.

use std::ops::Range;

use jiter::{Jiter, JiterResult, NumberAny, Peek};

use super::examples::{CLASSES, OUTPUTS, SCORES};
use super::record::{Kind, Tensors};
use crate::error::Result as CoreResult;
use crate::tensor::{Strings, Tensor};

/// The keys of a line that are not tensors. A file of requests that is no log has none of them.
#[derive(Default)]
pub(super) struct LogLine {
    api: String,
    status: String,
    /// The inputs that were left out.
    redacted: Vec<String>,
    /// Where the results of a request with examples are.
    results: Option<Range<usize>>,
}

impl LogLine {
    /// Reads a line that is known to be an object.
    ///
    /// # Errors
    /// A sentence, if it is not JSON.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let mut found = Self::default();
        let mut json = Jiter::new(line).with_allow_inf_nan();
        found.read(&mut json).map_err(|error| format!("it is not valid JSON: {}", error.description(&json)))?;
        Ok(found)
    }

    fn read(&mut self, json: &mut Jiter<'_>) -> JiterResult<()> {
        let mut key = json.next_object()?.map(key_of);
        while let Some(known) = key {
            let peek = json.peek()?;
            match (known, peek) {
                (Key::Api, Peek::String) => json.known_str()?.clone_into(&mut self.api),
                (Key::Status, Peek::String) => json.known_str()?.clone_into(&mut self.status),
                (Key::Redacted, Peek::Array) => {
                    let mut next = json.known_array()?;
                    while let Some(peek) = next {
                        match peek {
                            Peek::String => self.redacted.push(json.known_str()?.to_owned()),
                            _ => json.known_skip(peek)?,
                        }
                        next = json.array_step()?;
                    }
                }
                (Key::Results, _) => {
                    let start = json.current_index();
                    json.known_skip(peek)?;
                    self.results = Some(start..json.current_index());
                }
                _ => json.known_skip(peek)?,
            }
            key = json.next_key()?.map(key_of);
        }
        Ok(())
    }

    /// The kind of the request.
    pub(super) fn kind(&self) -> Kind {
        match self.api.as_str() {
            "classify" => Kind::Classify,
            "regress" => Kind::Regress,
            "multi_inference" => Kind::MultiInference,
            _ => Kind::Predict,
        }
    }

    /// Why the request cannot be compared.
    pub(super) fn reason_to_skip(&self) -> Option<String> {
        if !self.redacted.is_empty() {
            return Some(format!("its inputs were redacted: `{}`", self.redacted.join("`, `")));
        }
        let has_failed = !self.status.is_empty() && self.status != "OK";
        has_failed.then(|| format!("it failed when it was logged: {}", self.status))
    }

    /// The results of a classification or regression as tensors, sorted by name.
    ///
    /// # Errors
    /// A sentence, if they are not as a server writes them.
    pub(super) fn answer(&self, line: &[u8]) -> Result<Option<Tensors>, String> {
        let Some(results) = self.results.clone().and_then(|range| line.get(range)) else { return Ok(None) };
        let mut json = Jiter::new(results).with_allow_inf_nan();
        let answer = match self.kind() {
            Kind::Classify => classes(&mut json),
            Kind::Regress => values(&mut json),
            _ => return Ok(None),
        };
        answer.map(Some).map_err(|reason| format!("`results`: {reason}"))
    }
}

enum Key {
    Api,
    Status,
    Redacted,
    Results,
    Other,
}

fn key_of(name: &str) -> Key {
    match name {
        "api" => Key::Api,
        "status" => Key::Status,
        "redacted" => Key::Redacted,
        "results" => Key::Results,
        _ => Key::Other,
    }
}

/// `[[["label", score], …], …]`: `classes` and `scores` of the shape `[examples, classes]`.
fn classes(json: &mut Jiter<'_>) -> Result<Tensors, String> {
    let bad = |_| "they are not lists of labels with scores".to_owned();
    let (mut labels, mut scores) = (Strings::default(), Vec::new());
    let (mut rows, mut width) = (0, None);
    let mut example = json.next_array().map_err(bad)?;
    while example.is_some() {
        rows += 1;
        let before = scores.len();
        let mut class = json.next_array().map_err(bad)?;
        while class.is_some() {
            json.next_array().map_err(bad)?;
            labels.push(json.next_str().map_err(bad)?.as_bytes());
            json.array_step().map_err(bad)?;
            let peek = json.peek().map_err(bad)?;
            scores.push(float(json, peek).map_err(bad)?);
            if json.array_step().map_err(bad)?.is_some() {
                return Err("a class has more than a label and a score".to_owned());
            }
            class = json.array_step().map_err(bad)?;
        }
        let count = scores.len() - before;
        if *width.get_or_insert(count) != count {
            return Err("they have not as many classes for each example".to_owned());
        }
        example = json.array_step().map_err(bad)?;
    }
    let shape = [rows, width.unwrap_or(0)];
    Ok(vec![
        (CLASSES.to_owned(), tensor(Tensor::from_string_array(&shape, labels))?),
        (SCORES.to_owned(), tensor(Tensor::from_slice(&shape, &scores))?),
    ])
}

/// `[value, …]`: `outputs` of the shape `[examples]`.
fn values(json: &mut Jiter<'_>) -> Result<Tensors, String> {
    let bad = |_| "they are not a list of numbers".to_owned();
    let mut values = Vec::new();
    let mut next = json.next_array().map_err(bad)?;
    while let Some(peek) = next {
        values.push(float(json, peek).map_err(bad)?);
        next = json.array_step().map_err(bad)?;
    }
    Ok(vec![(OUTPUTS.to_owned(), tensor(Tensor::from_slice(&[values.len()], &values))?)])
}

/// A float. Old logs have `null` for one that is not finite.
fn float(json: &mut Jiter<'_>, peek: Peek) -> JiterResult<f32> {
    if peek == Peek::Null {
        return json.known_null().map(|()| f32::NAN);
    }
    // From the text: rounding to f64 in between could give the neighbour of the float.
    let start = json.current_index();
    let number: NumberAny = json.known_number(peek)?;
    let text = json.slice_to_current(start);
    let exact = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    Ok(exact.unwrap_or(f64::from(number) as f32))
}

fn tensor(made: CoreResult<Tensor>) -> Result<Tensor, String> {
    made.map_err(|error| error.to_string())
}
