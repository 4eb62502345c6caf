//! Any bytes as a file of golden examples, and as the data of one record.
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
    // What was read is what was written.
    assert!(data.starts_with(&written));
});
