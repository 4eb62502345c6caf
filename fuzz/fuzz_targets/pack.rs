//! Any bytes as a pack, as they are and with the digest that a pack of them would have: an error or a model, whose every part can
//! be asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use tf_persist_core::SavedModel;

/// A digest as text.
const DIGEST: usize = 64;
/// The end record with its comment.
const END: usize = 22 + 80;

fuzz_target!(|data: &[u8]| {
    ask(data.to_vec());
    // Without this, no changed table would get past its digest.
    let mut signed = data.to_vec();
    let Some(end) = data.len().checked_sub(END) else { return };
    let header = |window: &[u8]| window.starts_with(b"PK\x03\x04") && window.ends_with(b"SHA256SUMS");
    let Some(table) = data[..end].windows(40).rposition(header) else { return };
    let digest = Sha256::digest(&signed[table..data.len() - DIGEST]);
    let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    signed[data.len() - DIGEST..].copy_from_slice(text.as_bytes());
    ask(signed);
});

fn ask(bytes: Vec<u8>) {
    let Ok(model) = SavedModel::from_bytes(bytes.clone()) else { return };
    for meta_graph in model.meta_graphs() {
        let _ = (model.check(meta_graph), model.assets(meta_graph), model.training(meta_graph).to_string());
    }
    let _ = (model.variables().is_ok(), model.fingerprint().is_ok());
    // What can be packed again is the same, unless there are files in it that belong to no model.
    if let Ok(again) = model.to_bytes() {
        assert!(again.len() <= bytes.len());
    }
}
