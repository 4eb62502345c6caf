//! Arbitrary bytes as a line of a request log, a reference and a state of `tf-persist monitor`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tf_persist_monitor::fuzzing::read(data));
