//! Arbitrary bytes as a `.keras` archive: an error, or all entries are read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_keras::fuzzing;

fuzz_target!(|data: &[u8]| {
    let _ = fuzzing::read_zip(data.to_vec());
});
