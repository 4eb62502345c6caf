//! Records of TensorFlow Serving's `PredictionLog`, read into an exchange.

use std::fmt::Display;

use half::{bf16, f16};
use jiff::Timestamp;
use tf_persist_savedmodel::warmup::{Kind, Record};
use tf_persist_savedmodel::{DType, Tensor};

use super::{Column, Columns, Elements, Exchange};

/// Reads a record. Its answer is there: failed requests have no records.
///
/// # Errors
/// If it is not a `PredictionLog`.
pub(super) fn read(number: usize, data: Vec<u8>, exchange: &mut Exchange) -> Result<(), String> {
    exchange.clear();
    let record = Record::parse(number, data)?;
    match record.kind() {
        Kind::Predict | Kind::Classify | Kind::Regress => {}
        kind => return Err(unwatched(kind)),
    }
    exchange.model.push_str(&record.origin.model);
    exchange.version = record.origin.version;
    exchange.signature.push_str(record.signature());
    exchange.time = record.origin.seconds.and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1_000_000));
    for (name, tensor) in record.inputs() {
        put(&mut exchange.inputs, name, tensor);
    }
    if record.kind() != Kind::Predict {
        super::examples::expand(&mut exchange.inputs)?;
    }
    for (name, tensor) in record.answer.iter().flatten() {
        put(&mut exchange.outputs, name, tensor);
    }
    Ok(())
}

/// How the reason begins why requests of a kind are left out.
pub(crate) const UNWATCHED: &str = "requests of the kind";

/// Why requests of a kind are left out.
pub(super) fn unwatched(kind: impl Display) -> String {
    format!("{UNWATCHED} `{kind}` are not watched")
}

/// Microseconds since 1970 of a time as RFC 3339 has it.
pub(super) fn time_of(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

/// Adds a tensor. One of complex numbers or of an opaque type has nothing to watch.
pub(crate) fn put(columns: &mut Columns, name: &str, tensor: &Tensor) {
    let column = columns.push(name);
    column.shape.extend_from_slice(tensor.shape());
    if fill(column, tensor).is_none() {
        columns.pop();
    }
}

fn fill(column: &mut Column, tensor: &Tensor) -> Option<()> {
    if let Ok(strings) = tensor.strings() {
        column.elements = Elements::Texts;
        strings.iter().for_each(|text| column.push_text(text));
        return Some(());
    }
    let numbers = &mut column.numbers;
    column.elements = match tensor.dtype() {
        DType::Float32 => floats(tensor.view::<f32>().ok()?, numbers, |value| f64::from(*value)),
        DType::Float64 => floats(tensor.view::<f64>().ok()?, numbers, |value| *value),
        DType::Float16 => floats(tensor.view::<f16>().ok()?, numbers, |value| value.to_f64()),
        DType::BFloat16 => floats(tensor.view::<bf16>().ok()?, numbers, |value| value.to_f64()),
        DType::Int8 => integers(tensor.view::<i8>().ok()?, numbers, |value| f64::from(*value)),
        DType::Int16 => integers(tensor.view::<i16>().ok()?, numbers, |value| f64::from(*value)),
        DType::Int32 => integers(tensor.view::<i32>().ok()?, numbers, |value| f64::from(*value)),
        DType::Int64 => integers(tensor.view::<i64>().ok()?, numbers, |value| *value as f64),
        DType::UInt8 => integers(tensor.view::<u8>().ok()?, numbers, |value| f64::from(*value)),
        DType::UInt16 => integers(tensor.view::<u16>().ok()?, numbers, |value| f64::from(*value)),
        DType::UInt32 => integers(tensor.view::<u32>().ok()?, numbers, |value| f64::from(*value)),
        DType::UInt64 => integers(tensor.view::<u64>().ok()?, numbers, |value| *value as f64),
        DType::Bool => {
            floats(tensor.view::<bool>().ok()?, numbers, |value| f64::from(u8::from(*value)));
            Elements::Bools
        }
        _ => return None,
    };
    Some(())
}

fn floats<T>(values: &[T], numbers: &mut Vec<f64>, number: impl Fn(&T) -> f64) -> Elements {
    numbers.extend(values.iter().map(number));
    Elements::Floats
}

fn integers<T>(values: &[T], numbers: &mut Vec<f64>, number: impl Fn(&T) -> f64) -> Elements {
    numbers.extend(values.iter().map(number));
    Elements::Integers
}
