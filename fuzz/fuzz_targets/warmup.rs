//! Arbitrary bytes as a warm-up file, and as one record of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_core::warmup::Record;
use tf_persist_core::warmup::tfrecord::{Reader, write_record};

fuzz_target!(|data: &[u8]| {
    let _ = Record::parse(1, data.to_vec());
    let mut reader = Reader::new("fuzz", data, data.len() as u64);
    let mut written = Vec::new();
    while let Ok(Some(record)) = reader.next_record() {
        write_record(&mut written, &record).unwrap();
        let _ = Record::parse(reader.number(), record);
    }
    // The records that were read are written as the same bytes.
    assert!(data.starts_with(&written));
});
