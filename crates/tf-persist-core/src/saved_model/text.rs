//! `saved_model.pbtxt`: the same model in protobuf's text format.
//!
//! The parser in the protobuf crate recurses as deep as the text says, and a message of seven characters takes hundreds of
//! bytes in memory. A look at the braces comes first.

use tf_persist_proto::protobuf::{Message, text_format};
use tf_persist_proto::tensorflow as pb;

use super::limits::MAX_DEPTH;

/// The longest text that is read. Text is for graphs that people read; constants take four characters a byte.
pub(super) const MAX_TEXT_BYTES: u64 = 64 << 20;

/// How many messages a text may have: decoded, each takes up to 5 KB, so 2.5 GB. Real models have one in 30 characters.
const MAX_TEXT_MESSAGES: usize = 500_000;

/// Reads a text, and gives the model in binary form.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(super) fn to_binary(text: Vec<u8>) -> Result<Vec<u8>, String> {
    let text = String::from_utf8(text)
        .map_err(|error| format!("it is not text: byte {} is not UTF-8", error.utf8_error().valid_up_to()))?;
    check(text.as_bytes())?;
    let model: pb::SavedModel =
        text_format::parse_from_str(&text).map_err(|error| format!("it is not a SavedModel's text: {error}"))?;
    model.write_to_bytes().map_err(|error| format!("it cannot be put in binary form: {error}"))
}

/// Counts braces outside of strings and comments, as the parser will meet them.
fn check(text: &[u8]) -> Result<(), String> {
    let mut bytes = text.iter().copied().enumerate().peekable();
    let (mut depth, mut messages) = (0_usize, 0_usize);
    while let Some((position, byte)) = bytes.next() {
        match byte {
            b'{' | b'<' => {
                depth += 1;
                messages += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("its messages are nested more than {MAX_DEPTH} deep, at byte {position}"));
                }
                if messages > MAX_TEXT_MESSAGES {
                    return Err(format!("it has more than {MAX_TEXT_MESSAGES} messages: store it as `saved_model.pb`"));
                }
            }
            b'}' | b'>' => depth = depth.saturating_sub(1),
            b'#' => while bytes.next().is_some_and(|(_, byte)| byte != b'\n') {},
            b'"' | b'\'' => string(&mut bytes, byte).map_err(|reason| format!("{reason}, at byte {position}"))?,
            _ => {}
        }
    }
    Ok(())
}

/// Goes to the end of a string, whose opening quote was read.
fn string(bytes: &mut std::iter::Peekable<impl Iterator<Item = (usize, u8)>>, quote: u8) -> Result<(), &'static str> {
    const UNENDED: &str = "a string does not end";
    loop {
        match bytes.next().ok_or(UNENDED)?.1 {
            b'\n' => return Err(UNENDED),
            b'\\' => {
                let (_, escaped) = bytes.next().ok_or(UNENDED)?;
                if escaped.is_ascii_digit() {
                    octal(bytes, escaped)?;
                }
            }
            byte if byte == quote => return Ok(()),
            _ => {}
        }
    }
}

/// Up to three octal digits. The parser takes 8 and 9 for octal digits, and overflows on `\778`.
fn octal(bytes: &mut std::iter::Peekable<impl Iterator<Item = (usize, u8)>>, first: u8) -> Result<(), &'static str> {
    let mut digits = vec![first];
    while digits.len() < 3
        && let Some((_, digit)) = bytes.next_if(|(_, byte)| byte.is_ascii_digit())
    {
        digits.push(digit);
    }
    let too_large = digits.len() == 3 && digits[0] > b'3';
    if too_large || digits.iter().any(|digit| *digit > b'7') {
        return Err("a string has an octal escape that is none: write three digits, up to 377");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        to_binary(text.as_bytes().to_vec()).unwrap_err()
    }

    #[test]
    fn reads_text() {
        let text = r#"
            # A comment with a { in it, and a "quote.
            saved_model_schema_version: 1
            meta_graphs { meta_info_def { tags: "a\"{" tags: 'b' "c\303\244" } graph_def < node { op: "Add" } > }
        "#;
        let model = pb::SavedModel::parse_from_bytes(&to_binary(text.into()).unwrap()).unwrap();
        assert_eq!(model.meta_graphs[0].meta_info_def.tags, ["a\"{", "bcä"]);
        assert_eq!(model.meta_graphs[0].graph_def.node[0].op, "Add");
    }

    #[test]
    fn refuses_what_is_no_text() {
        assert!(to_binary(vec![b'a', 0xff]).unwrap_err().contains("byte 1 is not UTF-8"));
        assert!(refusal("meta_graphs {").contains("not a SavedModel's text"));
        assert!(refusal("no_such_field: 1").contains("no_such_field"));
        assert!(refusal("meta_graphs { meta_info_def { tags: \"a").contains("a string does not end"));
        assert!(refusal("a: \"\n\"").contains("a string does not end"));
    }

    #[test]
    fn refuses_depth_before_parsing() {
        let deep = |count: usize| "meta_graphs {".repeat(count);
        assert!(refusal(&deep(10_000)).contains("nested more than 100 deep"));
        assert!(refusal(&"a <".repeat(101)).contains("nested more than 100 deep"));
        assert!(refusal(&"a { }".repeat(MAX_TEXT_MESSAGES + 1)).contains("more than 500000 messages"));
    }

    #[test]
    fn refuses_escapes_that_the_parser_would_trip_over() {
        for escape in ["\\778", "\\8", "\\18", "\\400", "\\777"] {
            assert!(refusal(&format!("meta_graphs {{ meta_info_def {{ tags: \"{escape}\" }} }}")).contains("octal"));
        }
    }
}
