//! Limits on hostile files: a walk over the structure of a `saved_model.pb` before anything is decoded.
//!
//! The walk follows every message down to its leaves, which it skips. It never touches the bytes of constants, so it
//! costs almost nothing compared with reading the file. It limits two things that a small hostile file could make
//! large:
//!
//! - **Depth.** Decoding recurses. More than [`MAX_DEPTH`] nested messages are refused, as in C++ protobuf and
//!   TensorFlow.
//! - **Decoded size.** An empty message takes two bytes on disk and hundreds in memory. The walk adds up the memory of
//!   decoding, and refuses a file that would take far more than its own size.

use tf_persist_proto::wire::{Reader, Value, WireError};

use super::schema::{Field, Kind};

/// The deepest nesting of messages: the default of C++ protobuf (`io::CodedInputStream`), which TensorFlow uses.
/// Entries of maps are messages.
pub(crate) const MAX_DEPTH: usize = 100;

/// The largest message that protobuf reads (`INT_MAX` bytes). TensorFlow splits larger models into a `saved_model.cpb`.
pub(crate) const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// The memory that a model of any size may take when it is decoded.
const DECODED_BASE: u64 = 64 << 20;

/// A larger model may take this many bytes for each of its own. The graphs of real models take 30 to 70, nearly all of
/// it for attributes; a file of empty messages would take more than a thousand.
const DECODED_PER_BYTE: u64 = 128;

/// A graph that takes more than this, a million nodes, is not decoded. Opening it does not decode it.
const DECODED_MOST: u64 = 4 << 30;

/// The memory for signatures and asset names, which are decoded when a model is opened.
const MAX_SIGNATURE_BYTES: u64 = 256 << 20;

/// The first capacity of a repeated field (`Vec`), and of a map's first node (`BTreeMap`).
const FIRST_ELEMENTS: u64 = 4;
const FIRST_ENTRIES: u64 = 11;

/// The overhead of an allocation.
const ALLOCATION: u64 = 16;

/// The size of an unknown field, which is kept in a map of four vectors.
const UNKNOWN_FIELD: u64 = 512;

/// The result of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SizeSurvey {
    /// An upper bound of the memory of the decoded file, without bytes that are shared with the file.
    decoded_bytes: u64,
    /// The part of it for signatures and asset names.
    signature_bytes: u64,
    /// Whether field 1 is a message, as in a bare `GraphDef`.
    pub(crate) looks_like_graph: bool,
}

/// The memory that a model of this size may take when it is decoded.
pub(crate) fn decoded_limit(bytes: u64) -> u64 {
    DECODED_BASE + DECODED_PER_BYTE * bytes
}

/// Walks over a serialized `SavedModel`.
///
/// # Errors
/// A sentence with the reason.
pub(crate) fn survey(bytes: &[u8]) -> Result<SizeSurvey, String> {
    survey_as(Kind::SavedModel, bytes)
}

/// Walks over a serialized `GraphDef`, in the same way.
pub(super) fn survey_graph(bytes: &[u8]) -> Result<SizeSurvey, String> {
    survey_as(Kind::GraphDef, bytes)
}

fn survey_as(kind: Kind, bytes: &[u8]) -> Result<SizeSurvey, String> {
    let survey = walk(kind, bytes)?;
    let limit = decoded_limit(bytes.len() as u64);
    if survey.decoded_bytes > limit {
        let (length, needed, limit) = (bytes.len(), survey.decoded_bytes >> 20, limit >> 20);
        return Err(format!(
            "its {length} bytes would take {needed} MB in memory, out of all proportion: the limit is {limit} MB"
        ));
    }
    if survey.signature_bytes > MAX_SIGNATURE_BYTES {
        let (needed, limit) = (survey.signature_bytes >> 20, MAX_SIGNATURE_BYTES >> 20);
        return Err(format!("its signatures would take {needed} MB in memory: the limit is {limit} MB"));
    }
    Ok(survey)
}

impl SizeSurvey {
    /// Whether a file of this size may be decoded.
    ///
    /// # Errors
    /// A sentence, if it would take too much memory.
    pub(crate) fn check_decoding(&self, file_bytes: usize) -> Result<(), String> {
        // Numbers that are not packed are copied: they may double the file.
        let limit = DECODED_MOST + 2 * file_bytes as u64;
        if self.decoded_bytes <= limit {
            return Ok(());
        }
        let (needed, limit) = (self.decoded_bytes >> 20, limit >> 20);
        Err(format!("its graph would take {needed} MB in memory to be worked on, and the limit is {limit} MB"))
    }
}

/// A message that the walk is in.
struct Frame {
    kind: Kind,
    end: usize,
    /// A bit for each field that was seen: the first of a repeated field allocates capacity for several.
    seen: u64,
    /// Whether it is decoded on opening.
    signature: bool,
}

fn walk(root: Kind, bytes: &[u8]) -> Result<SizeSurvey, String> {
    let mut survey = SizeSurvey::default();
    let mut reader = Reader::new(bytes);
    let mut frames = vec![Frame { kind: root, end: bytes.len(), seen: 0, signature: false }];
    while let Some(frame) = frames.last_mut() {
        if reader.position() >= frame.end {
            frames.pop();
            continue;
        }
        let start = reader.position();
        let (number, value) = reader.next_until(frame.end).map_err(|error| error.to_string())?;
        let known = frame.kind.field(number);
        let first = known.is_some() && frame.seen & 1 << number == 0;
        if known.is_some() {
            frame.seen |= 1 << number;
        }
        let (cost, child) = cost(known, value, first)
            .map_err(|reason| WireError { offset: start, reason })
            .map_err(|error| error.to_string())?;
        let signature = frame.signature
            || frame.kind == Kind::MetaGraphDef && matches!(child, Some(Kind::TextToSignature | Kind::AssetFileDef));
        survey.decoded_bytes = survey.decoded_bytes.saturating_add(cost);
        if signature {
            survey.signature_bytes = survey.signature_bytes.saturating_add(cost);
        }
        if frame.kind == Kind::SavedModel && number == 1 && matches!(value, Value::Bytes(_)) {
            survey.looks_like_graph = true;
        }
        if let (Some(kind), Value::Bytes(content)) = (child, value) {
            if frames.len() > MAX_DEPTH {
                return Err(format!("its messages are nested more than {MAX_DEPTH} deep, at byte {start}"));
            }
            let end = reader.position();
            reader.seek(end - content.len());
            frames.push(Frame { kind, end, seen: 0, signature });
        }
    }
    Ok(survey)
}

/// The memory of a field, and its kind of message.
fn cost(field: Option<Field>, value: Value<'_>, first: bool) -> Result<(u64, Option<Kind>), &'static str> {
    let size = |kind: Kind| kind.message().size as u64;
    // A vector doubles when it is full.
    let element = |size: u64| if first { FIRST_ELEMENTS * size + ALLOCATION } else { 2 * size };
    let length = value.bytes().map_or(0, <[u8]>::len) as u64;
    let text = || match value.bytes() {
        Some(text) if !text.is_ascii() && std::str::from_utf8(text).is_err() => Err("a text that is not UTF-8"),
        _ => Ok(if length == 0 { 0 } else { length + ALLOCATION }),
    };
    Ok(match (field, value) {
        (Some(Field::Text), Value::Bytes(_)) => (text()?, None),
        (Some(Field::Texts), Value::Bytes(_)) => (text()? + element(size_of::<String>() as u64), None),
        (Some(Field::Blobs), Value::Bytes(_)) => (element(size_of::<tf_persist_proto::bytes::Bytes>() as u64), None),
        (Some(Field::Copied), Value::Bytes(_)) => (length + ALLOCATION, None),
        (Some(Field::Boxed(kind)), Value::Bytes(_)) => (size(kind) + ALLOCATION, Some(kind)),
        (Some(Field::Inline(kind)), Value::Bytes(_)) => (0, Some(kind)),
        (Some(Field::Many(kind)), Value::Bytes(_)) => (element(size(kind)), Some(kind)),
        (Some(Field::Map(kind)), Value::Bytes(_)) => {
            let entries = if first { FIRST_ENTRIES } else { 2 };
            (entries * size(kind) + ALLOCATION, Some(kind))
        }
        // The capacity is one number for each byte.
        (Some(Field::Varints(size)), Value::Bytes(_)) => (length * u64::from(size), None),
        (Some(Field::Varints(size)), Value::Varint(_)) => (element(u64::from(size)), None),
        (Some(Field::Fixed(_)), Value::Bytes(_)) => (length, None),
        (Some(Field::Fixed(4)), Value::Fixed32(_)) | (Some(Field::Fixed(8)), Value::Fixed64(_)) => (element(8), None),
        (Some(Field::Int), Value::Varint(_))
        | (Some(Field::Float), Value::Fixed32(_))
        | (Some(Field::Double), Value::Fixed64(_))
        | (Some(Field::Bytes), Value::Bytes(_)) => (0, None),
        // An unknown field, or one of another type.
        _ => (UNKNOWN_FIELD + length, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::testing::{delimited, number};

    /// Nested messages, one for each field number.
    fn nested(fields: &[u64], content: &[u8]) -> Vec<u8> {
        fields.iter().rev().fold(content.to_vec(), |inner, field| {
            let mut outer = Vec::new();
            delimited(&mut outer, *field, &inner);
            outer
        })
    }

    #[test]
    fn depth_is_limited_as_in_tensorflow() {
        // SavedModel.meta_graphs.graph_def.node.experimental_type.args.args…: four messages, and any number.
        let with = |args: usize| survey(&nested(&[[2, 2, 1, 7].as_slice(), &vec![2; args]].concat(), &[]));
        assert!(with(96).is_ok());
        assert!(with(97).unwrap_err().contains("nested more than 100 deep"));
        assert!(with(10_000).unwrap_err().contains("nested more than 100 deep"));
        // A field that is not a message in the schema is not followed.
        assert!(survey(&nested(&[9; 10_000], &[])).is_ok());
    }

    #[test]
    fn a_file_of_empty_messages_is_refused() {
        let nodes = [0x0a, 0].repeat(1 << 22);
        assert!(survey(&nested(&[2, 2], &nodes)).unwrap_err().contains("out of all proportion"));
        let unknown = [0x78, 0].repeat(1 << 20);
        assert!(survey(&nested(&[2, 2], &unknown)).unwrap_err().contains("out of all proportion"));
        let attributes = [0x0a, 2, 0x2a, 0].repeat(1 << 17);
        assert!(survey(&nested(&[2, 2], &attributes)).unwrap_err().contains("out of all proportion"));
    }

    #[test]
    fn signatures_have_a_limit_of_their_own() {
        let mut signatures = Vec::new();
        let filler = vec![0; 8 << 20];
        for _ in 0..1 << 18 {
            delimited(&mut signatures, 5, &nested(&[2, 1], &[]));
        }
        delimited(&mut signatures, 9, &filler);
        assert!(survey(&nested(&[2], &signatures)).unwrap_err().contains("its signatures would take"));
    }

    #[test]
    fn constants_cost_nothing() {
        // …node.attr.value.tensor.tensor_content
        let constant = nested(&[2, 2, 1, 5, 2, 8, 4], &[0; 1 << 20]);
        let small = walk(Kind::SavedModel, &constant).unwrap();
        assert!(small.decoded_bytes < 16 << 10);
        assert!(small.check_decoding(constant.len()).is_ok());
        let large = SizeSurvey { decoded_bytes: 5 << 30, ..small };
        assert!(large.check_decoding(constant.len()).unwrap_err().contains("5120 MB"));
    }

    #[test]
    fn refuses_what_is_no_message() {
        assert!(survey(&nested(&[2, 1, 5], b"\xff")).unwrap_err().contains("not UTF-8"));
        assert!(survey(&[0x12, 2, 0x12, 5]).unwrap_err().contains("beyond the end of the data at byte 3"));
        assert!(survey(&[0x12, 2, 0x13, 0]).unwrap_err().contains("a group"));
        let mut graph = Vec::new();
        delimited(&mut graph, 1, b"");
        assert!(survey(&graph).unwrap().looks_like_graph);
        let mut model = Vec::new();
        number(&mut model, 1, 1);
        assert!(!survey(&model).unwrap().looks_like_graph);
    }
}
