//! Lines of JSON, read into an exchange without a tree in between.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, NumberAny, Peek};
use tf_persist_savedmodel::internals::{LoggedResults, ResultsSink, read_results};

use super::record::{time_of, unwatched};
use super::{Column, Columns, Elements, Exchange};

/// The deepest nesting of an array: more than any tensor in JSON needs.
const MAX_DEPTH: usize = 64;

/// The kind of requests with several answers.
const MULTI_INFERENCE: &str = "multi_inference";

/// Reads a line. Unknown keys are skipped, and `null` is a tensor that could not be written.
///
/// # Errors
/// If the line is not an object as a server logs it.
pub(super) fn read(line: &[u8], exchange: &mut Exchange) -> Result<(), String> {
    exchange.clear();
    let mut json = Jiter::new(line).with_allow_inf_nan();
    let mut key = json.next_object().map_err(|error| error.to_string())?.map(key_of);
    while let Some(name) = key {
        member(&mut json, name, exchange)?;
        key = json.next_key().map_err(|error| error.to_string())?.map(key_of);
    }
    json.finish().map_err(|error| error.to_string())?;
    if exchange.has_several_answers && exchange.failure.is_empty() {
        return Err(unwatched(MULTI_INFERENCE));
    }
    // A failed request counts as one, even if it failed because its examples cannot be read.
    if exchange.has_examples && exchange.failure.is_empty() {
        super::examples::expand(&mut exchange.inputs)
    } else {
        Ok(())
    }
}

/// The keys of a line that are read.
#[derive(Clone, Copy)]
enum Key {
    Time,
    Id,
    Model,
    Version,
    Api,
    Signature,
    Inputs,
    Outputs,
    Results,
    Latency,
    Status,
    Other,
}

fn key_of(name: &str) -> Key {
    match name {
        "time" => Key::Time,
        "id" => Key::Id,
        "model" => Key::Model,
        "version" => Key::Version,
        "api" => Key::Api,
        "signature_name" => Key::Signature,
        "inputs" => Key::Inputs,
        "outputs" => Key::Outputs,
        "results" => Key::Results,
        "latency_ms" => Key::Latency,
        "status" => Key::Status,
        _ => Key::Other,
    }
}

fn member(json: &mut Jiter<'_>, key: Key, exchange: &mut Exchange) -> Result<(), String> {
    let mut text = |into: &mut String| -> Result<(), String> {
        into.clear();
        match json.next_str() {
            Ok(text) => into.push_str(text),
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    };
    match key {
        Key::Id => text(&mut exchange.id)?,
        Key::Model => text(&mut exchange.model)?,
        Key::Signature => text(&mut exchange.signature)?,
        Key::Status => {
            text(&mut exchange.failure)?;
            if exchange.failure == "OK" {
                exchange.failure.clear();
            }
        }
        Key::Api => match json.next_str() {
            Ok(api) => {
                exchange.has_examples = matches!(api, "classify" | "regress");
                exchange.has_several_answers = api == MULTI_INFERENCE;
            }
            Err(error) => return Err(error.to_string()),
        },
        Key::Time => match json.next_str() {
            Ok(time) => exchange.time = time_of(time),
            Err(error) => return Err(error.to_string()),
        },
        Key::Version => match json.next_number() {
            Ok(NumberAny::Int(jiter::NumberInt::Int(version))) => exchange.version = Some(version),
            Ok(_) => return Err("`version` is not an integer".to_owned()),
            Err(error) => return Err(error.to_string()),
        },
        Key::Latency => match json.next_number() {
            Ok(number) => exchange.latency_ms = Some(f64::from(number)),
            Err(error) => return Err(error.to_string()),
        },
        Key::Inputs => tensors(json, &mut exchange.inputs)?,
        Key::Outputs => tensors(json, &mut exchange.outputs)?,
        Key::Results if exchange.has_several_answers => json.next_skip().map_err(|error| error.to_string())?,
        Key::Results => results(json, &mut exchange.outputs)?,
        Key::Other => json.next_skip().map_err(|error| error.to_string())?,
    }
    Ok(())
}

/// `{"name": tensor, …}`, or one tensor without a name.
fn tensors(json: &mut Jiter<'_>, columns: &mut Columns) -> Result<(), String> {
    columns.clear();
    let peek = json.peek().map_err(|error| error.to_string())?;
    if peek != Peek::Object {
        columns.push("");
        return tensor(json, columns);
    }
    let mut has_more = json.known_object().map(|name| push(columns, name)).map_err(|error| error.to_string())?;
    while has_more {
        tensor(json, columns)?;
        has_more = json.next_key().map(|name| push(columns, name)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Begins a tensor, if there is another one.
fn push(columns: &mut Columns, name: Option<&str>) -> bool {
    name.map(|name| columns.push(name)).is_some()
}

/// Fills the last tensor.
fn tensor(json: &mut Jiter<'_>, columns: &mut Columns) -> Result<(), String> {
    let peek = json.peek().map_err(|error| error.to_string())?;
    if peek == Peek::Null {
        json.known_null().map_err(|error| error.to_string())?;
        columns.pop();
        return Ok(());
    }
    columns.last_mut().map_or(Ok(()), |column| value(json, peek, column, 0))
}

/// A number, a text, or an array of such whose parts have equal shapes.
fn value(json: &mut Jiter<'_>, peek: Peek, column: &mut Column, depth: usize) -> Result<(), String> {
    if peek != Peek::Array {
        return element(json, peek, column);
    }
    if depth == MAX_DEPTH {
        return Err(format!("`{}` is nested too deeply", column.name));
    }
    // The first array of a depth says how long all of that depth are.
    let is_first = column.shape.len() == depth;
    if is_first && column.len() > 0 {
        return Err(format!("`{}` has arrays and elements at one depth", column.name));
    }
    if is_first {
        column.shape.push(usize::MAX);
    }
    let mut count = 0;
    let mut next = json.known_array().map_err(|error| error.to_string())?;
    while let Some(peek) = next {
        if peek != Peek::Array && column.shape.len() > depth + 1 {
            return Err(format!("`{}` has arrays and elements at one depth", column.name));
        }
        value(json, peek, column, depth + 1)?;
        count += 1;
        next = json.array_step().map_err(|error| error.to_string())?;
    }
    match column.shape.get_mut(depth) {
        Some(size) if *size == usize::MAX => *size = count,
        Some(size) if *size == count => {}
        _ => return Err(format!("`{}` has arrays of several lengths", column.name)),
    }
    Ok(())
}

fn element(json: &mut Jiter<'_>, peek: Peek, column: &mut Column) -> Result<(), String> {
    match peek {
        Peek::Null => {
            json.known_null().map_err(|error| error.to_string())?;
            if column.elements == Elements::Texts {
                column.push_text(b"");
            } else {
                column.numbers.push(f64::NAN);
            }
        }
        Peek::True | Peek::False => {
            let value = json.known_bool(peek).map_err(|error| error.to_string())?;
            column.set_elements(Elements::Bools)?;
            column.numbers.push(f64::from(u8::from(value)));
        }
        Peek::String => match json.known_str() {
            Ok(text) => {
                column.set_elements(Elements::Texts)?;
                column.push_text(text.as_bytes());
            }
            Err(error) => return Err(error.to_string()),
        },
        Peek::Object => {
            let bytes = encoded(json)?;
            column.set_elements(Elements::Texts)?;
            column.push_text(&bytes);
        }
        _ => {
            let (elements, number) = number(json, peek)?;
            column.set_elements(elements)?;
            column.numbers.push(number);
        }
    }
    if column.elements == Elements::Texts && !column.numbers.is_empty() {
        return Err(format!("`{}` has elements of several types", column.name));
    }
    Ok(())
}

/// A number, and whether it is an integer. One that 64 bits with a sign do not hold is a uint64.
fn number(json: &mut Jiter<'_>, peek: Peek) -> Result<(Elements, f64), String> {
    match json.known_number(peek) {
        Ok(number @ NumberAny::Int(_)) => Ok((Elements::Integers, f64::from(number))),
        Ok(number @ NumberAny::Float(_)) => Ok((Elements::Floats, f64::from(number))),
        Err(JiterError { error_type: JiterErrorType::JsonError(JsonErrorType::NumberOutOfRange), .. }) => {
            let digits = json.known_number_bytes(peek).map_err(|error| error.to_string())?;
            let is_integer = digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            let number = number.ok_or_else(|| "a number is out of range".to_owned())?;
            Ok((if is_integer { Elements::Integers } else { Elements::Floats }, number))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// `{"b64": "…"}`
fn encoded(json: &mut Jiter<'_>) -> Result<Vec<u8>, String> {
    let key = json.known_object().map_err(|error| error.to_string())?.map(str::to_owned);
    if key.as_deref() != Some("b64") {
        return Err("an element is an object without `b64`".to_owned());
    }
    let text = json.next_str().map_err(|error| error.to_string())?;
    let bytes = STANDARD.decode(text).map_err(|_| "`b64` is not base64".to_owned())?;
    match json.next_key() {
        Ok(None) => Ok(bytes),
        _ => Err("an element is an object with more than `b64`".to_owned()),
    }
}

/// Classes and scores, or values.
#[derive(Default)]
struct Results {
    labels: Column,
    numbers: Vec<f64>,
}

impl ResultsSink for Results {
    fn label(&mut self, label: &[u8]) {
        self.labels.push_text(label);
    }

    fn number(&mut self, number: f64, _text: &[u8]) {
        self.numbers.push(number);
    }
}

/// The results of requests with `tf.Example`s: `classes` and `scores`, or `outputs`, as the signatures name them.
fn results(json: &mut Jiter<'_>, columns: &mut Columns) -> Result<(), String> {
    columns.clear();
    let mut found = Results::default();
    let shape = match read_results(json, &mut found).map_err(|reason| format!("`results` {reason}"))? {
        LoggedResults::Values(count) => vec![count],
        LoggedResults::Classes { examples, classes } => vec![examples, classes],
    };
    let numbers = if shape.len() == 1 { "outputs" } else { "scores" };
    if shape.len() == 2 {
        let classes = columns.push("classes");
        classes.shape.extend(&shape);
        classes.elements = Elements::Texts;
        classes.texts.append(&mut found.labels.texts);
        classes.ends.append(&mut found.labels.ends);
    }
    let kept = columns.push(numbers);
    kept.shape.extend(&shape);
    kept.elements = Elements::Floats;
    kept.numbers.append(&mut found.numbers);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Elements, read_line};

    #[test]
    fn results_need_not_be_finite() {
        let exchange = read_line(br#"{"api": "predict", "results": [1.5, NaN, -Infinity, null]}"#).unwrap();
        let outputs = &exchange.outputs.get(0, "outputs").unwrap().numbers;
        assert_eq!((outputs[0], outputs[2]), (1.5, f64::NEG_INFINITY));
        assert!(outputs[1].is_nan() && outputs[3].is_nan());
        let line = br#"{"results": [[["a", NaN], ["b", 0.5]], [["a", Infinity], ["b", null]]]}"#;
        let exchange = read_line(line).unwrap();
        let scores = exchange.outputs.get(1, "scores").unwrap();
        assert_eq!((scores.shape.as_slice(), scores.numbers[1], scores.numbers[2]), (&[2, 2][..], 0.5, f64::INFINITY));
        assert!(scores.numbers[0].is_nan() && scores.numbers[3].is_nan());
    }

    #[test]
    fn integers_may_be_beyond_64_bits_with_a_sign() {
        let read = |numbers: &str| read_line(format!(r#"{{"inputs": {{"x": {numbers}}}}}"#).as_bytes());
        let exchange = read("[0, 9223372036854775807, 9223372036854775808, 18446744073709551615]").unwrap();
        let x = exchange.inputs.get(0, "x").unwrap();
        assert_eq!((x.elements, x.shape.as_slice()), (Elements::Integers, &[4][..]));
        let two: f64 = 2.0;
        assert_eq!(x.numbers, [0.0, two.powi(63), two.powi(63), two.powi(64)]);
        let exchange = read("[[18446744073709551615], [-18446744073709551616]]").unwrap();
        assert_eq!(exchange.inputs.get(0, "x").unwrap().numbers, [two.powi(64), -two.powi(64)]);
        let exchange = read("18446744073709551615.5").unwrap();
        assert_eq!(exchange.inputs.get(0, "x").unwrap().elements, Elements::Floats);
        assert!(read("[18446744073709551615x]").is_err());
    }

    #[test]
    fn requests_with_several_answers_are_not_watched() {
        let results = r#""results": [{"classifications": []}, [[1.0]]]"#;
        let line = |status| format!(r#"{{"api": "multi_inference", {results}, "status": "{status}"}}"#);
        let reason = read_line(line("OK").as_bytes()).unwrap_err();
        assert_eq!(reason, "requests of the kind `multi_inference` are not watched");
        assert_eq!(read_line(line("NOT_FOUND").as_bytes()).unwrap().failure, "NOT_FOUND");
    }

    #[test]
    fn failed_requests_need_no_readable_examples() {
        let line = |status| format!(r#"{{"api": "classify", "inputs": {{"inputs": ["junk"]}}, "status": "{status}"}}"#);
        let exchange = read_line(line("INVALID_ARGUMENT").as_bytes()).unwrap();
        assert_eq!(exchange.failure, "INVALID_ARGUMENT");
        assert!(read_line(line("OK").as_bytes()).is_err());
        let redacted = br#"{"api": "regress", "inputs": {}, "results": [1.0], "redacted": ["inputs"], "status": "OK"}"#;
        assert!(read_line(redacted).is_ok());
    }
}
