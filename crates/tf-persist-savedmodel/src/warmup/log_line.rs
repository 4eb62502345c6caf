//! What a line of a request log says besides the tensors: of which kind the request was, and how it ended.

use std::ops::Range;

use jiter::{Jiter, JiterResult, Peek};

use super::examples::{CLASSES, OUTPUTS, SCORES};
use super::log_results::{LoggedResults, ResultsSink, read_results};
use super::record::{Kind, Tensors};
use crate::error::Result as CoreResult;
use crate::tensor::json::not_json;
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
        found.read(&mut json).map_err(|error| not_json(line, &error, 0))?;
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
        let kind = self.kind();
        if !matches!(kind, Kind::Classify | Kind::Regress) {
            return Ok(None);
        }
        let answer = outputs(kind, &mut Jiter::new(results).with_allow_inf_nan());
        answer.map(Some).map_err(|reason| format!("`results` {reason}"))
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

/// Labels, and numbers as 32-bit floats.
#[derive(Default)]
struct Answer {
    labels: Strings,
    numbers: Vec<f32>,
}

impl ResultsSink for Answer {
    fn label(&mut self, label: &[u8]) {
        self.labels.push(label);
    }

    fn number(&mut self, number: f64, text: &[u8]) {
        // From the text: rounding to f64 in between could give the neighbour of the float.
        let exact = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        self.numbers.push(exact.unwrap_or(number as f32));
    }
}

/// The results of a request of this kind as the outputs of its signature.
fn outputs(kind: Kind, json: &mut Jiter<'_>) -> Result<Tensors, String> {
    let mut answer = Answer::default();
    let shape = match (kind, read_results(json, &mut answer)?) {
        (Kind::Classify, LoggedResults::Classes { examples, classes }) => [examples, classes],
        (Kind::Classify, LoggedResults::Values(0)) => [0, 0],
        (Kind::Regress, LoggedResults::Values(count)) => {
            return Ok(vec![(OUTPUTS.to_owned(), tensor(Tensor::from_slice(&[count], &answer.numbers))?)]);
        }
        _ => return Err("is not that of such a request".to_owned()),
    };
    Ok(vec![
        (CLASSES.to_owned(), tensor(Tensor::from_string_array(&shape, answer.labels))?),
        (SCORES.to_owned(), tensor(Tensor::from_slice(&shape, &answer.numbers))?),
    ])
}

fn tensor(made: CoreResult<Tensor>) -> Result<Tensor, String> {
    made.map_err(|error| error.to_string())
}
