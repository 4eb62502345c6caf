//! Every number of every sample, replaced by those at which arithmetic goes wrong.

use serde_json::Value;
use tf_persist_keras::fuzzing;

use crate::config::read;
use crate::measure::{Watch, convert};
use crate::samples;

/// The numbers: too small, too large for memory, for int32, for float32's integers, for int64.
const NUMBERS: [i64; 13] =
    [0, 1, 2, -1, -2, 1 << 20, 1 << 24, 1_000_000_000, (1 << 31) - 1, 1 << 31, 1 << 40, 1 << 62, i64::MIN];

#[test]
fn every_number_of_every_layer() {
    let watch = Watch::new();
    let mut wrong = Vec::new();
    let (mut count, mut converted) = (0, 0);
    for (config, version) in samples::configs() {
        let mut original = config.clone();
        let places = numbers(&mut original).len();
        for place in 0..places {
            for number in NUMBERS {
                let mut changed = config.clone();
                *numbers(&mut changed).swap_remove(place) = Value::from(number);
                let text = changed.to_string();
                watch.begin(text.clone());
                count += 1;
                match read(&changed, version.as_deref()) {
                    Ok(error) => converted += usize::from(error.is_none()),
                    Err(problem) => wrong.push(format!("{problem}\n    {text}")),
                }
            }
        }
    }
    println!("numbers: {converted} of {count} changed configs are converted");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong[..wrong.len().min(30)].join("\n"));
}

/// The numbers in a config, of layers and of nodes.
fn numbers(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(items) => items.iter_mut().flat_map(numbers).collect(),
        Value::Object(items) => items.values_mut().flat_map(numbers).collect(),
        Value::Number(_) => vec![value],
        _ => Vec::new(),
    }
}

/// Unchanged, the samples of layers that are known are converted.
#[test]
fn samples_are_converted() {
    let mut refused = Vec::new();
    for (config, version) in samples::configs() {
        let bytes = fuzzing::keras_file(config.to_string().as_bytes(), version.as_deref()).unwrap();
        if let Some(error) = convert(bytes).unwrap() {
            refused.push(error);
        }
    }
    println!("{} samples are refused:\n{}", refused.len(), refused.join("\n"));
}
