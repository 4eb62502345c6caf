//! Arbitrary bytes as an HDF5 file: an error, or all groups, datasets and attributes are read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_keras::fuzzing;

fuzz_target!(|data: &[u8]| {
    let _ = fuzzing::read_hdf5(data.to_vec());
});
