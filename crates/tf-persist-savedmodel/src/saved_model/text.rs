//! `saved_model.pbtxt`: the same model in protobuf's text format.

use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow as pb;
use tf_persist_proto::text_format::{Options, UnknownFields, parse_with};

use super::limits::decoded_limit;

/// The longest text. Text is for graphs that people read; constants take four characters a byte.
pub(super) const MAX_TEXT_BYTES: u64 = 256 << 20;

/// The memory that reading a text may take, which decodes every message, at up to 5 KB each: as much as a binary form
/// of this size.
fn memory(text: &[u8]) -> u64 {
    /// The graph of a million nodes.
    const MOST: u64 = 2 << 30;
    decoded_limit(text.len() as u64).min(MOST)
}

/// Converts a text to the binary form. Fields of newer TensorFlows are skipped.
///
/// # Errors
/// A sentence.
pub(super) fn to_binary(text: &[u8]) -> Result<Vec<u8>, String> {
    let options = Options { unknown_fields: UnknownFields::Skip, memory: memory(text), ..Options::default() };
    let parsed = parse_with::<pb::SavedModel>(text, &options);
    let model = parsed.map_err(|error| format!("it is not a SavedModel's text: {error}"))?.message;
    model.write_to_bytes().map_err(|error| format!("it cannot be put in binary form: {error}"))
}

/// The error for a text in place of a protobuf; `None` if it is not text. Tags and lengths of a protobuf are not text
/// for long.
pub(super) fn instead_of_protobuf(bytes: &[u8]) -> Option<String> {
    /// The bytes that are checked, and the characters that are shown.
    const LOOKED_AT: usize = 1000;
    const SHOWN: usize = 40;
    let beginning = &bytes[..bytes.len().min(LOOKED_AT)];
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // A character may be cut.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&beginning[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let is_text = text.chars().all(|character| !character.is_control() || "\t\r\n".contains(character));
    let line = text.trim().lines().next().filter(|_| is_text)?;
    let shown: String = line.chars().take(SHOWN).collect();
    let cut = if shown.len() < text.trim().len() { "…" } else { "" };
    Some(format!("it is text, and should be a protobuf: `{shown}{cut}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: impl AsRef<[u8]>) -> String {
        to_binary(text.as_ref()).unwrap_err()
    }

    #[test]
    fn reads_text() {
        let text = r#"
            # A comment with a { in it, and a "quote.
            saved_model_schema_version: 1
            meta_graphs { meta_info_def { tags: "a\"{" tags: 'b' "c\303\244" } graph_def < node { op: "Add" } > }
            of_tomorrow { x: 1 }
        "#;
        let model = pb::SavedModel::parse_from_bytes(&to_binary(text.as_ref()).unwrap()).unwrap();
        assert_eq!(model.meta_graphs[0].meta_info_def.tags, ["a\"{", "bcä"]);
        assert_eq!(model.meta_graphs[0].graph_def.node[0].op, "Add");
    }

    #[test]
    fn tells_text_from_a_protobuf() {
        let said = |bytes: &[u8]| instead_of_protobuf(bytes);
        assert_eq!(said(b"truncated").unwrap(), "it is text, and should be a protobuf: `truncated`");
        assert_eq!(said(b"\n<html>\n<p>no").unwrap(), "it is text, and should be a protobuf: `<html>…`");
        assert!(said("ä".repeat(1000).as_bytes()).is_some());
        assert_eq!((said(b"\x08\x01\x12\x00"), said(b"\xff\xff"), said(b"\n\n")), (None, None, None));
    }

    #[test]
    fn refuses_what_is_no_text() {
        assert!(refusal(b"\xff\xfe").contains("line 1, column 1"));
        assert!(refusal("meta_graphs {").contains("not a SavedModel's text"));
        assert!(refusal("meta_graphs { meta_info_def { tags: \"a").contains("line 1"));
    }

    #[test]
    fn refuses_depth_and_swelling() {
        let deep = "meta_graphs { graph_def { node { attr { value { func {".to_owned()
            + &"attr { value { func {".repeat(10_000);
        assert!(refusal(deep).contains("deep"));
        let swelling = format!("meta_graphs {{ graph_def {{ {} }} }}", "node{attr{}}".repeat(1_000_000));
        assert!(refusal(swelling).contains("memory"));
    }
}
