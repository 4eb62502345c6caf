//! Lines of CSV as instances, by the rules of SageMaker's container for TensorFlow Serving: whether a field is a number
//! or a text depends on its quotes and on the first field of its line, which no CSV library tells.

use std::borrow::Cow;

use crate::status::Status;

/// A field, without its quotes.
struct Field<'a> {
    text: Cow<'a, str>,
    is_quoted: bool,
}

/// Writes the instances of a text of CSV, with commas between them, and returns their number: a list of its fields for
/// each line, or the bare value where there is one column. A text is quoted; a field without quotes is a number, unless
/// the first field of its line is a text without quotes.
///
/// # Errors
/// `INVALID_ARGUMENT` if it is not UTF-8, a quote is not closed, or a field is neither.
pub(super) fn instances(bytes: &[u8], json: &mut Vec<u8>) -> Result<usize, Status> {
    let text = std::str::from_utf8(bytes).map_err(|error| refuse(&format!("it is not UTF-8: {error}")))?;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut lines, mut instances) = (0_usize, 0_usize);
    while !rest.is_empty() {
        lines += 1;
        if let Some(after) = rest.strip_prefix("\r\n").or(rest.strip_prefix(['\n', '\r'])) {
            rest = after;
            continue;
        }
        if instances > 0 {
            json.push(b',');
        }
        rest = line(rest, json).map_err(|reason| refuse(&format!("line {lines}: {reason}")))?;
        instances += 1;
    }
    Ok(instances)
}

fn refuse(reason: &str) -> Status {
    Status::invalid_argument(format!("The body is not CSV: {reason}"))
}

/// Writes the first line as JSON. Returns what follows it.
fn line<'t>(text: &'t str, json: &mut Vec<u8>) -> Result<&'t str, String> {
    let start = json.len();
    json.push(b'[');
    let (mut fields, mut is_text, mut rest) = (0_usize, false, text);
    loop {
        let (field, after) = first_field(rest)?;
        if fields == 0 {
            is_text = !field.is_quoted && number(&field.text).is_none();
        } else {
            json.push(b',');
        }
        write_value(&field, is_text, json)?;
        fields += 1;
        if let Some(next) = after.strip_prefix(',') {
            rest = next;
            continue;
        }
        let after = match after.strip_prefix("\r\n").or(after.strip_prefix(['\n', '\r'])) {
            Some(next) => next,
            None if after.is_empty() => after,
            None => return Err("a quoted field is followed by something else than a comma".into()),
        };
        if fields == 1 {
            json.remove(start);
        } else {
            json.push(b']');
        }
        return Ok(after);
    }
}

/// The first field of a line, and what follows it.
fn first_field(text: &str) -> Result<(Field<'_>, &str), String> {
    let Some(quoted) = text.trim_start_matches([' ', '\t']).strip_prefix('"') else {
        let (text, after) = text.split_at(text.find([',', '\n', '\r']).unwrap_or(text.len()));
        return Ok((Field { text: text.trim().into(), is_quoted: false }, after));
    };
    let (text, after) = unquoted(quoted).ok_or("a quote is not closed")?;
    Ok((Field { text: text.into(), is_quoted: true }, after.trim_start_matches([' ', '\t'])))
}

/// The text up to the closing quote, with doubled quotes as one, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut whole = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        whole.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                whole.push('"');
                rest = more;
            }
            None => return Some((whole, after)),
        }
    }
}

fn write_value(field: &Field<'_>, is_text: bool, json: &mut Vec<u8>) -> Result<(), String> {
    if field.is_quoted || is_text {
        return serde_json::to_writer(json, &field.text).map_err(|error| error.to_string());
    }
    let number = number(&field.text).ok_or_else(|| {
        let text: String = field.text.chars().take(40).collect();
        format!("{text:?} is neither a number nor quoted, as its first field is")
    })?;
    json.extend_from_slice(number.as_bytes());
    Ok(())
}

/// A number as JSON has it.
fn number(text: &str) -> Option<Cow<'_, str>> {
    // Digits are kept: a large integer is not a float.
    if serde_json::from_str::<serde_json::Number>(text).is_ok() {
        return Some(text.into());
    }
    let number: f64 = text.parse().ok()?;
    Some(match number {
        number if number.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        number => format!("{number:?}").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The JSON of the instances, and their number.
    fn found(text: &str) -> (String, usize) {
        let mut json = Vec::new();
        let count = instances(text.as_bytes(), &mut json).unwrap();
        (String::from_utf8(json).unwrap(), count)
    }

    #[test]
    fn a_line_is_an_instance() {
        for (text, json, count) in [
            ("1,2.5,-3e2\r\n4, 5 ,6\n", "[1,2.5,-3e2],[4,5,6]", 2),
            ("1\n\n2", "1,2", 2),
            ("9007199254740993,.5,+1,nan,-inf", "[9007199254740993,0.5,1.0,NaN,-Infinity]", 1),
            ("\u{feff}", "", 0),
            ("\r\n\n", "", 0),
        ] {
            assert_eq!(found(text), (json.to_owned(), count), "{text:?}");
        }
    }

    #[test]
    fn texts_are_quoted() {
        for (text, json, count) in [
            ("\"a, \"\"b\"\"\",1\n\"two\nlines\"", r#"["a, \"b\"",1],"two\nlines""#, 2),
            // All fields of a line that begins with a plain text are texts.
            ("a,1\n2,3", r#"["a","1"],[2,3]"#, 2),
            ("\"1\"\n,x", r#""1",["","x"]"#, 2),
        ] {
            assert_eq!(found(text), (json.to_owned(), count), "{text:?}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let refused = |text: &[u8]| instances(text, &mut Vec::new()).unwrap_err().message;
        for (text, words) in [
            ("1\n\"2", "line 2: a quote is not closed"),
            ("\"1\"2", "than a comma"),
            ("1,a", "line 1: \"a\" is neither"),
        ] {
            assert!(refused(text.as_bytes()).contains(words), "{text}: {}", refused(text.as_bytes()));
        }
        assert!(refused(&[b'1', 0xff]).contains("UTF-8"));
    }
}
