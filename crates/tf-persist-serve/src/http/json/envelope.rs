//! What surrounds the tensors in requests of other contracts than TensorFlow Serving's: texts of several values, and
//! parameters beside the instances.

use super::body_index::BodyIndex;
use super::cursor::{Cursor, Fault};
use crate::status::Status;

/// Writes the values of a text, which white space separates, with commas between them, and returns their number. All of
/// the text must be valid JSON.
///
/// # Errors
/// `INVALID_ARGUMENT` at the first syntax error.
pub(in crate::http) fn join_values(text: &[u8], joined: &mut Vec<u8>) -> Result<usize, Status> {
    let mut cursor = start(text);
    let mut count = 0;
    while cursor.at < text.len() {
        let from = cursor.at;
        cursor.skip_value()?;
        if count > 0 {
            joined.push(b',');
        }
        joined.extend_from_slice(text.get(from..cursor.at).unwrap_or_default());
        count += 1;
        cursor.skip_space();
    }
    Ok(count)
}

/// Whether a text is an object with a member of one of these names. What follows the member is not read.
///
/// # Errors
/// `INVALID_ARGUMENT` at a syntax error before it.
pub(in crate::http) fn has_member(text: &[u8], names: &[&str]) -> Result<bool, Status> {
    let mut cursor = start(text);
    if cursor.peek() != b'{' || !cursor.enter() {
        return Ok(false);
    }
    loop {
        if cursor.peek() != b'"' {
            cursor.fault(Fault::ObjectMissName)?;
        }
        let name = cursor.string()?;
        if names.iter().any(|wanted| wanted.as_bytes() == name.as_ref()) {
            return Ok(true);
        }
        cursor.colon()?;
        cursor.skip_value()?;
        if !cursor.next_member()? {
            return Ok(false);
        }
    }
}

/// Whether a value is a list whose first element is a list.
pub(in crate::http) fn is_list_of_lists(value: &[u8]) -> bool {
    let mut cursor = start(value);
    cursor.peek() == b'[' && cursor.enter() && cursor.peek() == b'['
}

/// The member `parameters` of a body may name the signature, and nothing else. Returns the signature's name, unless the
/// body has no parameters, or names the same signature itself.
///
/// # Errors
/// `INVALID_ARGUMENT` if the body is not a JSON object, or there are other parameters.
pub(in crate::http) fn signature_parameter(body: &[u8]) -> Result<Option<String>, Status> {
    let index = BodyIndex::parse(body, ["parameters", "signature_name"], |_, _| None)?;
    let [Some(mut cursor), _] = index.members else { return Ok(None) };
    if cursor.text.get(cursor.at..).is_some_and(|rest| rest.starts_with(b"null")) {
        return Ok(None);
    }
    if cursor.peek() != b'{' {
        return Err(Status::invalid_argument("`parameters` is not an object"));
    }
    let mut wanted = None;
    let mut more = cursor.enter();
    while more {
        let name = cursor.string()?;
        if name.as_ref() != b"signature_name" {
            let name = String::from_utf8_lossy(&name).into_owned();
            return Err(Status::invalid_argument(format!(
                "`parameters` has {name:?}, and the only parameter is \"signature_name\""
            )));
        }
        cursor.colon()?;
        if cursor.peek() != b'"' {
            return Err(Status::invalid_argument("the parameter \"signature_name\" is not a string"));
        }
        wanted = Some(String::from_utf8_lossy(&cursor.string()?).into_owned());
        more = cursor.next_member()?;
    }
    match (wanted, index.signature_name(1)?) {
        (Some(wanted), Some(own)) if wanted != own => Err(Status::invalid_argument(format!(
            "the request names the signature {own:?}, and its parameters {wanted:?}"
        ))),
        (wanted, None) => Ok(wanted.filter(|name| !name.is_empty())),
        (_, Some(_)) => Ok(None),
    }
}

/// A cursor behind a byte order mark and white space.
fn start(text: &[u8]) -> Cursor<'_> {
    let mut cursor = Cursor { text, at: 0 };
    for byte in [0xEF, 0xBB, 0xBF] {
        cursor.eat(byte);
    }
    cursor.skip_space();
    cursor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_into_its_values() {
        let found = |text: &str| {
            let mut joined = Vec::new();
            join_values(text.as_bytes(), &mut joined).map(|count| (String::from_utf8(joined).unwrap(), count))
        };
        let several = found("\u{feff} [1, 2]\n{\"a\": [3]}  4 \"x\"\r\n").unwrap();
        assert_eq!(several, ("[1, 2],{\"a\": [3]},4,\"x\"".to_owned(), 4));
        assert_eq!(found("[1][2]").unwrap(), ("[1],[2]".to_owned(), 2));
        assert_eq!(found(" \n").unwrap(), (String::new(), 0));
        for broken in ["[1", "1,2", "{\"a\" 1}", "nul", "]", "[1]\0[2]", "\u{1}"] {
            let error = found(broken).unwrap_err();
            assert!(error.message.starts_with("JSON Parse error"), "{broken}: {error}");
        }
    }

    #[test]
    fn members_are_found_at_the_top_only() {
        let names = ["instances", "inputs"];
        for (text, expected) in [
            (r#"{"instances": [1"#, true),
            (r#" {"a": {"instances": 1}, "in\u0070uts": 2}"#, true),
            (r#"{"a": {"instances": 1}}"#, false),
            ("{}", false),
            (r#"["instances"]"#, false),
            ("", false),
        ] {
            assert_eq!(has_member(text.as_bytes(), &names), Ok(expected), "{text}");
        }
        assert!(has_member(br#"{"a" 1}"#, &names).is_err());
        assert!(has_member(br#"{1: 1}"#, &names).is_err());
    }

    #[test]
    fn only_a_signature_is_taken_as_parameter() {
        let found = |text: &str| signature_parameter(text.as_bytes());
        for (text, expected) in [
            (r#"{"instances": []}"#, None),
            (r#"{"parameters": {}, "instances": []}"#, None),
            (r#"{"parameters": null}"#, None),
            (r#"{"instances": [1], "parameters": {"signature_name": "s\n"}}"#, Some("s\n")),
            (r#"{"parameters": {"signature_name": ""}}"#, None),
            (r#"{"parameters": {"signature_name": "s"}, "signature_name": "s"}"#, None),
        ] {
            assert_eq!(found(text), Ok(expected.map(str::to_owned)), "{text}");
        }
        for (text, words) in [
            (r#"{"parameters": {"top_k": 3}}"#, "\"top_k\""),
            (r#"{"parameters": {"signature_name": "s", "x": 1}}"#, "\"x\""),
            (r#"{"parameters": {"signature_name": 1}}"#, "not a string"),
            (r#"{"parameters": [1]}"#, "not an object"),
            (r#"{"parameters": {"signature_name": "s"}, "signature_name": "t"}"#, "\"t\""),
            (r#"{"parameters": "#, "JSON Parse error"),
            ("[1]", "Is not object"),
            ("", "empty"),
        ] {
            let error = found(text).unwrap_err();
            assert!(error.message.contains(words), "{text}: {error}");
        }
    }
}
