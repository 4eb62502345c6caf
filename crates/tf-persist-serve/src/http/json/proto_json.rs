//! Status and metadata, which TensorFlow Serving prints as protobuf's own JSON (`ToJsonString` of
//! `model_servers/http_rest_api_util.cc`: white space is added, unset fields are printed, fields keep their names). The
//! layout is that of protobuf's `json/internal/{unparser,writer}.cc`: one space per level, fields in the order of their
//! numbers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tf_persist_proto::protobuf::MessageDyn;
use tf_persist_proto::protobuf::reflect::{FieldDescriptor, ReflectFieldRef, ReflectValueRef};
use tf_persist_proto::serving::SignatureDefMap;

use super::decimal::{write_f32, write_f64};
use crate::models::VersionStatus;

/// The response to a status request: `GetModelStatusResponse`.
#[must_use]
pub fn status_response(versions: &[VersionStatus]) -> Vec<u8> {
    let mut json = Json::default();
    json.begin(b'{');
    json.name("model_version_status");
    json.begin(b'[');
    for version in versions {
        json.element();
        json.begin(b'{');
        json.name("version");
        json.string(&version.version.to_string());
        json.name("state");
        json.string(version.state.for_clients().name());
        json.name("status");
        json.begin(b'{');
        json.name("error_code");
        json.string(version.error.as_ref().map_or("OK", |error| error.code.name()));
        json.name("error_message");
        json.string(version.error.as_ref().map_or("", |error| &error.message));
        json.end(b'}');
        json.end(b'}');
    }
    json.end(b']');
    json.end(b'}');
    json.out.push(b'\n');
    json.out
}

/// The response to a metadata request: parts of `GetModelMetadataResponse`, combined as in TensorFlow Serving.
#[must_use]
pub fn metadata_response(model: &str, version: i64, signatures: &SignatureDefMap) -> Vec<u8> {
    let mut json = Json::default();
    json.out.extend_from_slice(b"{\n\"model_spec\":");
    json.begin(b'{');
    json.name("name");
    json.string(model);
    json.name("version");
    json.string(&version.to_string());
    json.name("signature_name");
    json.string("");
    json.end(b'}');
    json.out.extend_from_slice(b"\n,\n\"metadata\": {\"signature_def\": ");
    json.message(signatures);
    json.out.extend_from_slice(b"\n}\n}\n");
    json.out
}

/// A JSON text in protobuf's layout.
#[derive(Default)]
struct Json {
    out: Vec<u8>,
    /// For each open list and object: whether it has any content yet.
    open: Vec<bool>,
}

impl Json {
    fn begin(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.open.push(false);
    }

    fn end(&mut self, bracket: u8) {
        if self.open.pop() == Some(true) {
            self.new_line();
        }
        self.out.push(bracket);
    }

    fn new_line(&mut self) {
        self.out.push(b'\n');
        self.out.resize(self.out.len() + self.open.len(), b' ');
    }

    /// Begins an element or a member.
    fn element(&mut self) {
        if self.open.last_mut().is_some_and(|filled| std::mem::replace(filled, true)) {
            self.out.push(b',');
        }
        self.new_line();
    }

    /// Begins a member of this name.
    fn name(&mut self, name: &str) {
        self.element();
        self.string(name);
        self.out.extend_from_slice(b": ");
    }

    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        for character in text.chars() {
            self.character(character);
        }
        self.out.push(b'"');
    }

    fn character(&mut self, character: char) {
        let short = match character {
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            '\x0c' => b'f',
            '\x08' => b'b',
            '"' | '\\' => character as u8,
            _ if is_escaped(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    self.out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
                return;
            }
            _ => {
                self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return;
            }
        };
        self.out.extend([b'\\', short]);
    }

    /// Writes all fields that are set or have no presence. The parser has limited the depth of the message.
    fn message(&mut self, message: &dyn MessageDyn) {
        self.begin(b'{');
        let descriptor = message.descriptor_dyn();
        let mut fields: Vec<FieldDescriptor> = descriptor.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        for field in fields {
            match field.get_reflect(message) {
                ReflectFieldRef::Repeated(values) => {
                    self.name(field.name());
                    self.begin(b'[');
                    for value in &values {
                        self.element();
                        self.value(&value);
                    }
                    self.end(b']');
                }
                ReflectFieldRef::Map(entries) => {
                    self.name(field.name());
                    self.begin(b'{');
                    for (key, value) in &entries {
                        self.name(&key.to_string());
                        self.value(&value);
                    }
                    self.end(b'}');
                }
                ReflectFieldRef::Optional(value) => {
                    let has_presence = field.containing_oneof_including_synthetic().is_some()
                        || matches!(field.singular_default_value(), ReflectValueRef::Message(_));
                    match value.value() {
                        Some(value) => {
                            self.name(field.name());
                            self.value(&value);
                        }
                        None if has_presence => {}
                        None => {
                            self.name(field.name());
                            self.value(&field.get_singular_field_or_default(message));
                        }
                    }
                }
            }
        }
        self.end(b'}');
    }

    fn value(&mut self, value: &ReflectValueRef<'_>) {
        match value {
            ReflectValueRef::U32(value) => self.out.extend_from_slice(value.to_string().as_bytes()),
            ReflectValueRef::I32(value) => self.out.extend_from_slice(value.to_string().as_bytes()),
            ReflectValueRef::U64(value) => self.string(&value.to_string()),
            ReflectValueRef::I64(value) => self.string(&value.to_string()),
            ReflectValueRef::F32(value) if value.is_finite() => self.number(|out| write_f32(*value, out)),
            ReflectValueRef::F64(value) if value.is_finite() => self.number(|out| write_f64(*value, out)),
            ReflectValueRef::F32(value) => self.special(f64::from(*value)),
            ReflectValueRef::F64(value) => self.special(*value),
            ReflectValueRef::Bool(value) => self.out.extend_from_slice(if *value { b"true" } else { b"false" }),
            ReflectValueRef::String(value) => self.string(value),
            ReflectValueRef::Bytes(value) => self.string(&STANDARD.encode(value)),
            ReflectValueRef::Enum(descriptor, number) => match descriptor.value_by_number(*number) {
                Some(known) => self.string(known.name()),
                None => self.out.extend_from_slice(number.to_string().as_bytes()),
            },
            ReflectValueRef::Message(message) => self.message(&**message),
        }
    }

    /// Writes a float. protobuf writes whole numbers without a point.
    fn number(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
        if self.out.ends_with(b".0") {
            self.out.truncate(self.out.len() - 2);
        }
    }

    fn special(&mut self, value: f64) {
        self.string(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        });
    }
}

/// Characters that protobuf escapes besides those that JSON wants escaped: what is not seen, and what HTML could take
/// for a tag.
fn is_escaped(character: char) -> bool {
    matches!(
        u32::from(character),
        0..=0x1f
            | 0x3c
            | 0x3e
            | 0x7f..=0x9f
            | 0xad
            | 0x600..=0x603
            | 0x6dd
            | 0x70f
            | 0x17b4..=0x17b5
            | 0x200b..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x2064
            | 0x206a..=0x206f
            | 0xfeff
            | 0xfff9..=0xfffb
            | 0x1_d173..=0x1_d17a
            | 0xe_0001
            | 0xe_0020..=0xe_007f
    )
}
