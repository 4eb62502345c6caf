//! What a `saved_model.pb` may make this library do: a walk over the file's structure before anything is decoded.
//!
//! The walk follows every message down to its leaves, which it skips: the bytes of constants are never touched, so it costs
//! next to nothing beside reading the file. It bounds two things that a small hostile file could otherwise make large:
//!
//! - **Depth.** Decoding recurses. More than [`MAX_DEPTH`] messages within each other are refused, as C++ protobuf and so
//!   TensorFlow itself refuse them.
//! - **Decoded size.** An empty message is two bytes on disk and some hundreds in memory. The walk adds up what decoding would
//!   take, and refuses what is above [`decoded_limit`].

use super::schema::{Field, Kind};
use crate::checkpoint::wire::{Reader, Value, WireError};

/// How many messages may stand within each other: the default of C++ protobuf (`io::CodedInputStream`), which TensorFlow
/// reads the same file with. Entries of maps are messages.
pub(crate) const MAX_DEPTH: usize = 100;

/// The largest message that protobuf reads (`INT_MAX` bytes). TensorFlow splits larger models into a `saved_model.cpb`.
pub(crate) const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// A small model may take this much decoded, however much that is for each of its bytes.
const DECODED_BASE: u64 = 64 << 20;

/// A larger one may take this many bytes for each of its own. The graphs of real models take 30 to 50, nearly all of it room
/// for attributes; a file of empty messages would take more than a thousand.
const DECODED_PER_BYTE: u64 = 128;

/// And none may take more than this beside what its own constants are: a graph of a million nodes.
const DECODED_MOST: u64 = 4 << 30;

/// Signatures and asset names are decoded when a model is opened; the rest only for work on the graph.
const MAX_SIGNATURE_BYTES: u64 = 256 << 20;

/// What a repeated field makes room for at first (`Vec`), and a map's first node (`BTreeMap`).
const FIRST_ELEMENTS: u64 = 4;
const FIRST_ENTRIES: u64 = 11;

/// An allocation's own overhead.
const ALLOCATION: u64 = 16;

/// A field that the schema does not know is kept in a map of four vectors.
const UNKNOWN_FIELD: u64 = 512;

/// What a walk found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Survey {
    /// The memory that all of the file takes when it is decoded, from above; bytes that are shared with the file not counted.
    pub(crate) decoded_bytes: u64,
    /// Of this, what signatures and asset names take.
    signature_bytes: u64,
    /// Whether field 1 is a message, as it is in a bare `GraphDef`.
    pub(crate) looks_like_graph: bool,
}

/// The most memory that a file of this size may take when it is decoded.
pub(crate) fn decoded_limit(file_bytes: u64) -> u64 {
    let by_size = DECODED_BASE + DECODED_PER_BYTE * file_bytes;
    by_size.min(DECODED_MOST + 2 * file_bytes)
}

/// Walks over a serialized `SavedModel`.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(crate) fn survey(bytes: &[u8]) -> Result<Survey, String> {
    let survey = walk(bytes)?;
    let limit = decoded_limit(bytes.len() as u64);
    if survey.decoded_bytes > limit {
        return Err(format!(
            "its {} bytes would take {} MB in memory, far more than any real model's: the limit is {} MB",
            bytes.len(),
            survey.decoded_bytes >> 20,
            limit >> 20
        ));
    }
    if survey.signature_bytes > MAX_SIGNATURE_BYTES {
        let (needed, limit) = (survey.signature_bytes >> 20, MAX_SIGNATURE_BYTES >> 20);
        return Err(format!("its signatures would take {needed} MB in memory: the limit is {limit} MB"));
    }
    Ok(survey)
}

/// A message that the walk is inside of.
struct Frame {
    kind: Kind,
    end: usize,
    /// A bit for each field that came already: the first of a repeated field makes room for several.
    seen: u64,
    /// Whether it belongs to what is decoded on opening.
    signature: bool,
}

fn walk(bytes: &[u8]) -> Result<Survey, String> {
    let mut survey = Survey::default();
    let mut reader = Reader::new(bytes);
    let mut frames = vec![Frame { kind: Kind::SavedModel, end: bytes.len(), seen: 0, signature: false }];
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

/// What a field takes in memory, and what kind of message it is.
fn cost(field: Option<Field>, value: Value<'_>, first: bool) -> Result<(u64, Option<Kind>), &'static str> {
    let size = |kind: Kind| kind.message().size as u64;
    // A vector doubles when it is full.
    let element = |size: u64| if first { FIRST_ELEMENTS * size + ALLOCATION } else { 2 * size };
    let length = value.bytes().map_or(0, <[u8]>::len) as u64;
    let text = || match value.bytes().map(std::str::from_utf8) {
        Some(Err(_)) => Err("a text that is not UTF-8"),
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
        // Room is made for as many numbers as there are bytes.
        (Some(Field::Varints(size)), Value::Bytes(_)) => (length * u64::from(size), None),
        (Some(Field::Varints(size)), Value::Varint(_)) => (element(u64::from(size)), None),
        (Some(Field::Fixed(_)), Value::Bytes(_)) => (length, None),
        (Some(Field::Fixed(4)), Value::Fixed32(_)) | (Some(Field::Fixed(8)), Value::Fixed64(_)) => (element(8), None),
        (Some(Field::Int), Value::Varint(_))
        | (Some(Field::Float), Value::Fixed32(_))
        | (Some(Field::Double), Value::Fixed64(_))
        | (Some(Field::Bytes), Value::Bytes(_)) => (0, None),
        // Not in the schema, or there as another type.
        _ => (UNKNOWN_FIELD + length, None),
    })
}
