//! Arbitrary bytes as the config of a Keras model, with weights that fit it: an error, or a model that is converted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_keras::fuzzing;

fuzz_target!(|data: &[u8]| {
    let (version, config) = match data.split_first() {
        Some((first, rest)) if first % 2 == 0 => ("2.15.0", rest),
        Some((_, rest)) => ("3.15.1", rest),
        None => return,
    };
    if let Some(file) = fuzzing::keras_file(config, Some(version)) {
        let _ = fuzzing::convert(file);
    }
});
