//! Arbitrary bytes as an .npz and as an .npy file; a tensor that was read is written and read again.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use tf_persist_core::tensor::{npy, npz};

fuzz_target!(|data: &[u8]| {
    if let Ok(mut archive) = npz::Npz::open("fuzz", Cursor::new(data)) {
        let _ = archive.read_all();
    }
    let Ok(tensor) = npy::from_bytes("fuzz", data) else { return };
    let mut written = Vec::new();
    if npy::write("fuzz", &mut written, &tensor).is_ok() {
        let again = npy::from_bytes("fuzz", &written).unwrap();
        assert_eq!(again.shape(), tensor.shape());
    }
});
