//! `tf.Example`s out of JSON: `[{"age": 3, "name": "x", "v": [0.5, 1]}]`, an object of features an example.

use std::collections::HashSet;

use jiter::{Jiter, Peek};
use tf_persist_proto::protobuf::Message;
use tf_persist_proto::tensorflow::feature::feature::Kind;
use tf_persist_proto::tensorflow::{BytesList, Example, Feature, FloatList, Int64List};

use super::cell::{Cell, Refused, describe, read_string};
use super::read::Text;
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Strings;

/// The kind of list of a feature's values (`tensorflow/core/example/feature.proto`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FeatureKind {
    /// `BytesList`.
    Bytes,
    /// `FloatList`, of float32.
    Float,
    /// `Int64List`.
    Int64,
}

impl FeatureKind {
    /// The kind of list for a parsed dtype; `None` for dtypes without a list in `tf.Example`.
    pub(crate) fn from_dtype(dtype: DType) -> Option<Self> {
        match dtype {
            DType::String => Some(Self::Bytes),
            DType::Float32 => Some(Self::Float),
            DType::Int64 => Some(Self::Int64),
            _ => None,
        }
    }
}

/// Examples, and their unknown features.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReadExamples {
    /// The serialized examples.
    pub examples: Strings,
    /// The features of unknown kind, each once, in the order of the text.
    pub unknown: Vec<String>,
}

/// Reads a list of objects of features. A feature is a value or a list of values: numbers, strings, `{"b64": "…"}` for
/// bytes, and `true` and `false` for 1 and 0. `kind` returns the kind of a feature's list; if it is unknown, strings
/// make a list of bytes, integers a list of int64, other numbers a list of float32. Errors name `source`.
///
/// # Errors
/// [`TensorError::InvalidData`](crate::TensorError::InvalidData) with the example and the feature if it is no such
/// list, an example has a feature twice, a value is not of the feature's kind or out of its range, or a list has values
/// of several kinds.
pub fn read_examples(source: &str, bytes: &[u8], kind: impl Fn(&str) -> Option<FeatureKind>) -> Result<ReadExamples> {
    let text = Text { source, bytes };
    let (examples, location) = (Strings::default(), String::new());
    let mut reading = Reading { kind, unknown: Vec::new(), seen: HashSet::new(), examples, location };
    let mut jiter = text.reader(bytes);
    let read = reading.list(&mut jiter).and_then(|()| Ok(jiter.finish()?));
    read.map_err(|refused| text.refuse(&reading.location, *refused, 0))?;
    Ok(ReadExamples { examples: reading.examples, unknown: reading.unknown })
}

struct Reading<F> {
    kind: F,
    unknown: Vec<String>,
    /// The set of `unknown`.
    seen: HashSet<String>,
    examples: Strings,
    /// The position, for errors.
    location: String,
}

/// The values of a feature.
#[derive(Default)]
struct Values {
    bytes: Vec<Vec<u8>>,
    floats: Vec<f32>,
    /// The numbers, as long as all are integers.
    integers: Vec<i64>,
}

impl<F: Fn(&str) -> Option<FeatureKind>> Reading<F> {
    fn list(&mut self, jiter: &mut Jiter<'_>) -> Result<(), Refused> {
        let peek = jiter.peek()?;
        if peek != Peek::Array {
            let found = describe(peek).unwrap_or("something else");
            return Err(
                format!("examples are a list of objects of features, such as [{{\"age\": 3}}], not {found}").into()
            );
        }
        let mut item = jiter.known_array()?;
        if item.is_none() {
            return Err("there are no examples in it".to_owned().into());
        }
        while let Some(peek) = item {
            self.location = format!("[{}]", self.examples.len());
            let example = self.example(jiter, peek)?;
            self.examples.push(&example.write_to_bytes().map_err(|error| Refused::from(error.to_string()))?);
            item = jiter.array_step()?;
        }
        self.location.clear();
        Ok(())
    }

    fn example(&mut self, jiter: &mut Jiter<'_>, peek: Peek) -> Result<Example, Refused> {
        if peek != Peek::Object {
            let found = describe(peek).unwrap_or("something else");
            return Err(format!("{found} where an object of features is expected").into());
        }
        let mut example = Example::new();
        let features = &mut example.features.mut_or_insert_default().feature;
        let row = self.location.clone();
        let mut key = jiter.known_object()?.map(str::to_owned);
        while let Some(name) = key {
            self.location = format!("{row}, feature `{name}`");
            let kind = (self.kind)(&name);
            if kind.is_none() && !self.seen.contains(&name) {
                self.seen.insert(name.clone());
                self.unknown.push(name.clone());
            }
            let feature = feature(jiter, kind)?;
            if features.insert(name, feature).is_some() {
                return Err("it is given twice".to_owned().into());
            }
            key = jiter.next_key()?.map(str::to_owned);
        }
        Ok(example)
    }
}

/// A value, or a list of some.
fn feature(jiter: &mut Jiter<'_>, kind: Option<FeatureKind>) -> Result<Feature, Refused> {
    let mut values = Values::default();
    let peek = jiter.peek()?;
    if peek == Peek::Array {
        let mut item = jiter.known_array()?;
        while let Some(peek) = item {
            values.take(jiter, peek, kind)?;
            item = jiter.array_step()?;
        }
    } else {
        values.take(jiter, peek, kind)?;
    }
    Ok(values.into_feature(kind))
}

impl Values {
    fn take(&mut self, jiter: &mut Jiter<'_>, peek: Peek, kind: Option<FeatureKind>) -> Result<(), Refused> {
        match (kind, peek) {
            (Some(FeatureKind::Float), _) => self.floats.push(f32::read(jiter, peek)?),
            (Some(FeatureKind::Int64), Peek::True | Peek::False) => self.integers.push(jiter.known_bool(peek)?.into()),
            (Some(FeatureKind::Int64), _) => self.integers.push(i64::read(jiter, peek)?),
            (Some(FeatureKind::Bytes), _) => self.string(jiter, peek)?,
            (None, Peek::String | Peek::Object) if self.floats.is_empty() => self.string(jiter, peek)?,
            (None, Peek::True | Peek::False) if self.bytes.is_empty() => {
                let value = jiter.known_bool(peek)?;
                self.number(Some(value.into()), value.into());
            }
            (None, _) if peek.is_num() && self.bytes.is_empty() => {
                let start = jiter.current_index();
                let float = f32::read(jiter, peek)?;
                let token = jiter.slice_to_current(start);
                let integer = std::str::from_utf8(token).ok().and_then(|token| token.parse().ok());
                self.number(integer, float);
            }
            (None, _) => {
                let found = describe(peek).unwrap_or("something else");
                let expected = match (self.bytes.is_empty(), self.floats.is_empty()) {
                    (false, _) => "a string, as the one before it,",
                    (_, false) => "a number, as the one before it,",
                    _ => "a number or a string",
                };
                return Err(format!("{found} where {expected} is expected").into());
            }
        }
        Ok(())
    }

    fn string(&mut self, jiter: &mut Jiter<'_>, peek: Peek) -> Result<(), Refused> {
        let mut bytes = Vec::new();
        read_string(jiter, peek, &mut bytes)?;
        self.bytes.push(bytes);
        Ok(())
    }

    /// Reads a number of unknown kind.
    fn number(&mut self, integer: Option<i64>, float: f32) {
        let all_before = self.integers.len() == self.floats.len();
        self.floats.push(float);
        self.integers.extend(integer.filter(|_| all_before));
    }

    fn into_feature(self, kind: Option<FeatureKind>) -> Feature {
        let kind = kind.or(match () {
            () if !self.bytes.is_empty() => Some(FeatureKind::Bytes),
            () if self.floats.is_empty() => None,
            () if self.integers.len() == self.floats.len() => Some(FeatureKind::Int64),
            () => Some(FeatureKind::Float),
        });
        let kind = kind.map(|kind| match kind {
            FeatureKind::Bytes => {
                let value = self.bytes.into_iter().map(Into::into).collect();
                Kind::BytesList(BytesList { value, ..Default::default() })
            }
            FeatureKind::Float => Kind::FloatList(FloatList { value: self.floats, ..Default::default() }),
            FeatureKind::Int64 => Kind::Int64List(Int64List { value: self.integers, ..Default::default() }),
        });
        Feature { kind, ..Default::default() }
    }
}
