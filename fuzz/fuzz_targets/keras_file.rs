//! Arbitrary bytes as a Keras file: an error, or a model that is described and converted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_keras::fuzzing;

fuzz_target!(|data: &[u8]| {
    let _ = fuzzing::convert(data.to_vec());
});
