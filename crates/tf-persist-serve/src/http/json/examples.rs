//! Classify and regress requests into `tf.Example`s (`FillClassifyRegressRequestFromJson` of `util/json_tensor.cc`).
//! The examples are written as protobuf at once, features sorted by name
//! (`tensorflow/core/example/{example,feature}.proto`).

use std::collections::BTreeMap;

use tf_persist_core::tensor::Strings;

use super::body_index::BodyIndex;
use super::cursor::Cursor;
use super::diagnose::{base64, json_type};
use super::number::Number;
use super::string::c_string;
use crate::status::Status;

/// The members of a body, in the order of [`BodyIndex::members`].
const MEMBERS: [&str; 3] = ["signature_name", "context", "examples"];
const SIGNATURE: usize = 0;
const CONTEXT: usize = 1;
const EXAMPLES: usize = 2;

/// The body of a classify or regress request.
#[derive(Debug)]
pub struct ExamplesBody {
    /// The name of the signature; `None` for the default one, which an empty name means too.
    pub signature_name: Option<String>,
    /// Serialized `tf.Example`s, each with the context.
    pub examples: Strings,
}

impl ExamplesBody {
    /// Parses a body.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if it is not a JSON object, there are no examples, or one of them has a value that cannot be
    /// a feature.
    pub fn parse(body: &[u8]) -> Result<Self, Status> {
        let index = BodyIndex::parse(body, MEMBERS, |_, _| None)?;
        let signature_name = index.signature_name(SIGNATURE)?;
        let mut example = Vec::new();
        if let Some(mut context) = index.members[CONTEXT] {
            write_example(&mut context, &mut example)?;
        }
        let Some(mut cursor) = index.members[EXAMPLES] else {
            return Err(index.refuse("When method is classify, key 'examples' is expected and was not found"));
        };
        if cursor.peek() != b'[' {
            return Err(index.refuse("Expecting 'examples' value to be an list/array"));
        }
        if !cursor.enter() {
            return Err(index.refuse("'examples' value is an empty array"));
        }
        // Concatenated messages are one message: of a feature that both have, the example's own wins.
        let context = example.len();
        let mut examples = Strings::default();
        loop {
            example.truncate(context);
            write_example(&mut cursor, &mut example)?;
            examples.push(&example);
            if !cursor.next_element()? {
                return Ok(Self { signature_name, examples });
            }
        }
    }
}

/// Writes the example here.
fn write_example(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Status> {
    if cursor.peek() != b'{' {
        let reason = format!("Example must be JSON object but got JSON {}", json_type(*cursor));
        return Err(Status::invalid_argument(reason));
    }
    let mut features = BTreeMap::new();
    let mut more = cursor.enter();
    while more {
        let name = cursor.string()?;
        let name = c_string(&name).to_vec();
        cursor.colon()?;
        let feature = feature(cursor, &name)?;
        // Of several features with one name, the last counts.
        features.insert(name, feature);
        more = cursor.next_member()?;
    }
    if features.is_empty() {
        return Ok(());
    }
    let mut map = Vec::new();
    for (name, feature) in features {
        let mut value = Vec::new();
        feature.write(&mut value);
        let mut entry = Vec::new();
        write_bytes(1, &name, &mut entry);
        write_bytes(2, &value, &mut entry);
        write_bytes(1, &entry, &mut map);
    }
    write_bytes(1, &map, out);
    Ok(())
}

/// A feature, whose first value determines the kind. The values are encoded already.
#[derive(Default)]
struct Feature {
    kind: Option<Kind>,
    values: Vec<u8>,
}

/// The kinds of features, by their field number in `Feature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bytes = 1,
    Float = 2,
    Int64 = 3,
}

impl Feature {
    fn write(&self, out: &mut Vec<u8>) {
        let Some(kind) = self.kind else { return };
        let mut list = Vec::new();
        match kind {
            // Each value has its own tag.
            Kind::Bytes => list.extend_from_slice(&self.values),
            Kind::Float | Kind::Int64 => write_bytes(1, &self.values, &mut list),
        }
        write_bytes(kind as u64, &list, out);
    }

    /// Checks that a value of this kind may follow.
    fn expect(&mut self, kind: Kind, name: &[u8]) -> Result<(), Status> {
        let first = *self.kind.get_or_insert(kind);
        if first == kind {
            return Ok(());
        }
        let first = match first {
            Kind::Bytes => "bytes",
            Kind::Float => "float",
            Kind::Int64 => "int64",
        };
        let name = String::from_utf8_lossy(name);
        let reason = format!("Unexpected element type in feature: {name} expecting type: {first}");
        Err(Status::invalid_argument(reason))
    }

    /// Reads the value here.
    fn take(&mut self, cursor: &mut Cursor<'_>, name: &[u8]) -> Result<(), Status> {
        let value = *cursor;
        match value.peek() {
            b't' | b'f' => {
                self.expect(Kind::Int64, name)?;
                write_varint(u64::from(value.peek() == b't'), &mut self.values);
                cursor.skip_value()?;
            }
            b'"' => {
                self.expect(Kind::Bytes, name)?;
                write_bytes(1, &cursor.string()?, &mut self.values);
            }
            b'{' if value.base64_object()?.is_some() => {
                self.expect(Kind::Bytes, name)?;
                write_bytes(1, &base64(value)?, &mut self.values);
                cursor.skip_value()?;
            }
            b'n' | b'[' | b'{' => {
                let reason = format!("has element with unexpected JSON type: {}", json_type(value));
                return Err(refuse(name, &reason));
            }
            _ => match cursor.number()? {
                Number::Double(value) => {
                    self.expect(Kind::Float, name)?;
                    self.values.extend_from_slice(&(value as f32).to_le_bytes());
                }
                integer => {
                    self.expect(Kind::Int64, name)?;
                    let reason = "has uint64_t element. Only int64_t is supported.";
                    let value = integer.as_i64().ok_or_else(|| refuse(name, reason))?;
                    write_varint(value as u64, &mut self.values);
                }
            },
        }
        Ok(())
    }
}

fn refuse(name: &[u8], reason: &str) -> Status {
    Status::invalid_argument(format!("Feature: {} {reason}", String::from_utf8_lossy(name)))
}

/// Reads the feature here: a value or a list of values.
fn feature(cursor: &mut Cursor<'_>, name: &[u8]) -> Result<Feature, Status> {
    let mut feature = Feature::default();
    if cursor.peek() != b'[' {
        feature.take(cursor, name)?;
        return Ok(feature);
    }
    let mut more = cursor.enter();
    while more {
        feature.take(cursor, name)?;
        more = cursor.next_element()?;
    }
    Ok(feature)
}

/// Writes a field of bytes: tag, length, bytes.
fn write_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    const LENGTH_DELIMITED: u64 = 2;
    write_varint(field << 3 | LENGTH_DELIMITED, out);
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
