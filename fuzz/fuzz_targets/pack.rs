//! Arbitrary bytes as a pack, unchanged and with the digest corrected: an error, or a model whose parts can all be
//! read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use tf_persist_core::SavedModel;

/// Characters of a digest in hexadecimal.
const DIGEST: usize = 64;
/// Bytes of the end record with its comment.
const END: usize = 22 + 80;

fuzz_target!(|data: &[u8]| {
    read_all(data.to_vec());
    // Corrects the digest, without which every changed table would be refused.
    let mut signed = data.to_vec();
    let Some(end) = data.len().checked_sub(END) else { return };
    let header = |window: &[u8]| window.starts_with(b"PK\x03\x04") && window.ends_with(b"SHA256SUMS");
    let Some(table) = data[..end].windows(40).rposition(header) else { return };
    let digest = Sha256::digest(&signed[table..data.len() - DIGEST]);
    let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    signed[data.len() - DIGEST..].copy_from_slice(text.as_bytes());
    read_all(signed);
});

fn read_all(bytes: Vec<u8>) {
    let Ok(model) = SavedModel::from_bytes(bytes.clone()) else { return };
    for meta_graph in model.meta_graphs() {
        let _ = (model.check(meta_graph), model.assets(meta_graph), model.training(meta_graph).to_string());
    }
    let _ = (model.variables().is_ok(), model.fingerprint().is_ok());
    // Packing again drops files that do not belong to the model, and adds nothing.
    if let Ok(again) = model.to_bytes() {
        assert!(again.len() <= bytes.len());
    }
}
