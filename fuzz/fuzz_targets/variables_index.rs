//! Arbitrary bytes as `variables.index`, beside a shard of 4 KiB.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use tf_persist_core::checkpoint::CheckpointIndex;

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(folder.path().join("variables.data-00000-of-00001"), [0; 4096]).unwrap();
    fs::write(folder.path().join("variables.index"), data).unwrap();
    let _ = CheckpointIndex::open(folder.path().join("variables"));
});
