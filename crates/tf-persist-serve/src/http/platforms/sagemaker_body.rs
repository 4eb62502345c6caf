//! Bodies of SageMaker's `/invocations` as bodies of TensorFlow Serving's REST API, by the rules of AWS's container.

use bytes::Bytes;

use super::super::json::{has_member, is_list_of_lists, join_values};
use super::csv;
use crate::api::Api;
use crate::status::Status;

/// The members by which a body is known to be one of TensorFlow Serving.
const OWN_MEMBERS: [&str; 3] = ["instances", "inputs", "examples"];

/// How the values of a body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentType {
    Json,
    /// `application/jsonlines` and `application/jsons`: each value is an instance.
    JsonLines,
    Csv,
}

impl ContentType {
    /// The type that a header names; JSON without one. Parameters such as a character set have no effect.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let essence = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" | "application/json" => Some(Self::Json),
            "application/jsonlines" | "application/jsons" => Some(Self::JsonLines),
            "text/csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// A body as one of TensorFlow Serving.
///
/// # Errors
/// `INVALID_ARGUMENT` if it is not of its type.
pub(super) fn translate(body: Bytes, content_type: ContentType, api: Api) -> Result<Bytes, Status> {
    if content_type == ContentType::Json && has_member(&body, &OWN_MEMBERS)? {
        return Ok(body);
    }
    let member = if api == Api::Predict { "instances" } else { "examples" };
    let mut whole = Vec::with_capacity(body.len() + 32);
    whole.extend_from_slice(format!("{{\"{member}\":[").as_bytes());
    let start = whole.len();
    let count = match content_type {
        ContentType::Csv => csv::instances(&body, &mut whole)?,
        ContentType::Json | ContentType::JsonLines => join_values(&body, &mut whole)?,
    };
    let is_whole = content_type == ContentType::Json && count == 1 && whole.get(start..).is_some_and(is_list_of_lists);
    match (count, is_whole) {
        (0, _) => return Err(Status::invalid_argument("The body has no instances")),
        // The value is the list of the instances itself.
        (_, true) => drop(whole.remove(start - 1)),
        _ => whole.push(b']'),
    }
    whole.push(b'}');
    Ok(whole.into())
}

/// An answer on one line. A text in JSON has no line breaks of its own.
pub(super) fn on_one_line(answer: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(answer.len());
    for (number, part) in answer.split(|byte| *byte == b'\n').enumerate() {
        line.extend_from_slice(if number == 0 { part } else { part.trim_ascii_start() });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(body: &'static str, content_type: ContentType, api: Api) -> Result<String, Status> {
        let translated = translate(Bytes::from_static(body.as_bytes()), content_type, api);
        translated.map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn bodies_become_those_of_tensorflow_serving() {
        use ContentType::{Csv, Json, JsonLines};
        for (body, content_type, expected) in [
            (r#"{"instances": [1.0]}"#, Json, r#"{"instances": [1.0]}"#),
            (r#"{"signature_name": "s", "inputs": 1}"#, Json, r#"{"signature_name": "s", "inputs": 1}"#),
            ("[[1, 2], [3, 4]]", Json, r#"{"instances":[[1, 2], [3, 4]]}"#),
            (" [1, 2]\n", Json, r#"{"instances":[[1, 2]]}"#),
            ("7", Json, r#"{"instances":[7]}"#),
            (r#"{"x": 1}"#, Json, r#"{"instances":[{"x": 1}]}"#),
            ("[1, 2]\n[3, 4]\n", Json, r#"{"instances":[[1, 2],[3, 4]]}"#),
            (r#"{"x": 1} {"x": 2}"#, Json, r#"{"instances":[{"x": 1},{"x": 2}]}"#),
            ("[[1, 2]]\n", JsonLines, r#"{"instances":[[[1, 2]]]}"#),
            ("1\n\n2", JsonLines, r#"{"instances":[1,2]}"#),
            ("1,2\n3,4\n", Csv, r#"{"instances":[[1,2],[3,4]]}"#),
            ("5", Csv, r#"{"instances":[5]}"#),
        ] {
            assert_eq!(translated(body, content_type, Api::Predict).unwrap(), expected, "{body}");
        }
        assert_eq!(translated(r#"[{"x": 1}]"#, Json, Api::Classify).unwrap(), r#"{"examples":[[{"x": 1}]]}"#);
        assert_eq!(translated(r#"{"x": 1}"#, JsonLines, Api::Regress).unwrap(), r#"{"examples":[{"x": 1}]}"#);
    }

    #[test]
    fn bodies_of_another_type_are_refused() {
        for (body, content_type, words) in [
            ("", ContentType::Json, "no instances"),
            (" \n", ContentType::JsonLines, "no instances"),
            ("\n", ContentType::Csv, "no instances"),
            ("[1", ContentType::Json, "JSON Parse error"),
            ("1,2", ContentType::JsonLines, "JSON Parse error"),
            ("\"", ContentType::Csv, "not CSV"),
        ] {
            let error = translated(body, content_type, Api::Predict).unwrap_err();
            assert!(error.message.contains(words), "{body}: {error}");
        }
    }

    #[test]
    fn content_types_may_have_parameters() {
        for (header, expected) in [
            ("application/json", Some(ContentType::Json)),
            ("Application/JSON; charset=utf-8", Some(ContentType::Json)),
            ("", Some(ContentType::Json)),
            ("application/jsonlines", Some(ContentType::JsonLines)),
            ("application/jsons", Some(ContentType::JsonLines)),
            ("text/csv;header=absent", Some(ContentType::Csv)),
            ("application/x-npy", None),
            ("text/csvx", None),
        ] {
            assert_eq!(ContentType::parse(header), expected, "{header}");
        }
    }

    #[test]
    fn an_answer_fits_on_a_line() {
        let answer = b"{\n    \"predictions\": [1.0, \"a  b\"\n    ]\n}";
        assert_eq!(on_one_line(answer), b"{\"predictions\": [1.0, \"a  b\"]}");
    }
}
