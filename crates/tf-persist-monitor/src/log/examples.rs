//! The features of serialized `tf.Example`s, as tensors of their own.
//!
//! Schema: `tensorflow/core/example/example.proto` and `feature.proto`.

use std::collections::BTreeMap;

use tf_persist_proto::wire::{Reader, Value, WireError, try_fields};

use super::{Columns, Elements};

/// The input of requests to classify and regress.
const INPUTS: &str = "inputs";

/// The most elements of a feature in a request. Shorter lists are filled up, so a few bytes could become many.
const MAX_ELEMENTS: usize = 1 << 24;

/// The values of a feature in one example.
enum List<'e> {
    Texts(Vec<&'e [u8]>),
    Numbers(Elements, Vec<f64>),
}

impl List<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Numbers(_, numbers) => numbers.len(),
        }
    }
}

/// Replaces the examples of a request by their features, each with a row for each example. A feature that an example
/// does not have, or has fewer values of, is missing there.
///
/// # Errors
/// A sentence, if one is not an example.
pub(super) fn expand(columns: &mut Columns) -> Result<(), String> {
    let Some(examples) = columns.get(0, INPUTS).filter(|column| column.elements == Elements::Texts) else {
        return Ok(());
    };
    let texts: Vec<Vec<u8>> =
        (0..examples.len()).filter_map(|index| examples.text(index).map(<[u8]>::to_vec)).collect();
    let mut features: BTreeMap<&str, Vec<Option<List<'_>>>> = BTreeMap::new();
    for (row, text) in texts.iter().enumerate() {
        read(text, |name, list| {
            let lists = features.entry(name).or_default();
            lists.resize_with(row, || None);
            lists.push(Some(list));
        })
        .map_err(|error| format!("a tf.Example: {error}"))?;
    }
    columns.clear();
    for (name, mut lists) in features {
        lists.resize_with(texts.len(), || None);
        let width = lists.iter().flatten().map(List::len).max().unwrap_or(0);
        if width == 0 || width.saturating_mul(lists.len()) > MAX_ELEMENTS {
            continue;
        }
        let column = columns.push(name);
        column.shape.extend([lists.len(), width]);
        let are_texts = lists.iter().flatten().any(|list| matches!(list, List::Texts(texts) if !texts.is_empty()));
        column.elements = if are_texts { Elements::Texts } else { Elements::Unknown };
        for list in &lists {
            match list {
                Some(List::Texts(texts)) if are_texts => texts.iter().for_each(|text| column.push_text(text)),
                Some(List::Numbers(elements, numbers)) if !are_texts => {
                    column.set_elements(*elements)?;
                    column.numbers.extend_from_slice(numbers);
                }
                _ => {}
            }
            let filled = list.as_ref().map_or(0, |list| match list {
                List::Texts(texts) if are_texts => texts.len(),
                List::Numbers(_, numbers) if !are_texts => numbers.len(),
                _ => 0,
            });
            for _ in filled..width {
                if are_texts {
                    column.push_text(b"");
                } else {
                    column.numbers.push(f64::NAN);
                }
            }
        }
    }
    Ok(())
}

/// Passes on the features of an example.
fn read<'e>(example: &'e [u8], mut take: impl FnMut(&'e str, List<'e>)) -> Result<(), WireError> {
    // The last of several values of a name counts, as in every map.
    let mut all: BTreeMap<&str, List<'_>> = BTreeMap::new();
    for field in try_fields(example) {
        let (1, Value::Bytes(features)) = field? else { continue };
        for entry in try_fields(features) {
            let (1, Value::Bytes(entry)) = entry? else { continue };
            let (mut name, mut feature): (&str, &[u8]) = ("", &[]);
            for field in try_fields(entry) {
                match field? {
                    (1, value @ Value::Bytes(_)) => name = value.text(),
                    (2, Value::Bytes(bytes)) => feature = bytes,
                    _ => {}
                }
            }
            if let Some(list) = list(feature)? {
                all.insert(name, list);
            }
        }
    }
    all.into_iter().for_each(|(name, list)| take(name, list));
    Ok(())
}

/// A `Feature`; `None` if it has no list.
fn list(feature: &[u8]) -> Result<Option<List<'_>>, WireError> {
    let mut found = None;
    for field in try_fields(feature) {
        let (kind, Value::Bytes(bytes)) = field? else { continue };
        found = match kind {
            1 => Some(List::Texts(texts(bytes)?)),
            2 => Some(List::Numbers(Elements::Floats, floats(bytes)?)),
            3 => Some(List::Numbers(Elements::Integers, integers(bytes)?)),
            _ => found,
        };
    }
    Ok(found)
}

fn texts(list: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    let mut all = Vec::new();
    for field in try_fields(list) {
        if let (1, Value::Bytes(text)) = field? {
            all.push(text);
        }
    }
    Ok(all)
}

fn floats(list: &[u8]) -> Result<Vec<f64>, WireError> {
    let mut all = Vec::new();
    for field in try_fields(list) {
        match field? {
            (1, Value::Fixed32(bits)) => all.push(f64::from(f32::from_bits(bits))),
            (1, Value::Bytes(packed)) => {
                all.extend(packed.as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))));
            }
            _ => {}
        }
    }
    Ok(all)
}

fn integers(list: &[u8]) -> Result<Vec<f64>, WireError> {
    let mut all = Vec::new();
    for field in try_fields(list) {
        match field? {
            (1, Value::Varint(value)) => all.push(value.cast_signed() as f64),
            (1, Value::Bytes(packed)) => {
                let mut reader = Reader::new(packed);
                while reader.position() < packed.len() {
                    all.push(reader.varint()?.cast_signed() as f64);
                }
            }
            _ => {}
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::*;

    /// A length-delimited field of at most 127 bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
    }

    fn example(features: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let entry = |(name, kind, list): &(&str, u8, &[u8])| {
            let feature = field(*kind, &field(1, list));
            field(1, &[field(1, name.as_bytes()), field(2, &feature)].concat())
        };
        field(1, &features.iter().flat_map(entry).collect::<Vec<u8>>())
    }

    #[test]
    fn features_become_tensors() {
        let floats: Vec<u8> = [1.5_f32, 2.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        let rows = [
            example(&[("x", 2, &floats), ("age", 3, &[7]), ("kind", 1, b"web")]),
            example(&[("x", 2, &floats[..4]), ("kind", 1, b"shop")]),
        ];
        let mut columns = Columns::default();
        let column = columns.push("inputs");
        column.elements = Elements::Texts;
        column.shape.push(2);
        rows.iter().for_each(|row| column.push_text(row));
        expand(&mut columns).unwrap();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["age", "kind", "x"]);
        let get = |name: &str| -> &Column { columns.get(0, name).unwrap() };
        assert_eq!(get("x").shape, [2, 2]);
        assert_eq!(get("x").numbers[..3], [1.5, 2.5, 1.5]);
        assert!(get("x").numbers[3].is_nan() && get("age").numbers[1].is_nan());
        assert_eq!((get("age").numbers[0], get("age").elements), (7.0, Elements::Integers));
        assert_eq!(get("kind").text(1), Some(&b"shop"[..]));

        let column = columns.push("inputs");
        column.elements = Elements::Texts;
        column.push_text(b"no example");
        assert!(expand(&mut columns).is_err());
    }
}
