//! Arbitrary bytes over a UNIX socket. The rewriting of `:authority` does not depend on how the bytes are split into
//! reads, changes bytes only to `-`, and leaves a rewritten stream as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tf_persist_serve::internals::UdsAuthorityRewriter;

fn rewrite(bytes: &[u8], size: usize) -> Vec<u8> {
    let (mut bytes, mut rewriter) = (bytes.to_vec(), UdsAuthorityRewriter::default());
    bytes.chunks_mut(size).for_each(|piece| rewriter.rewrite(piece));
    bytes
}

fuzz_target!(|data: &[u8]| {
    let whole = rewrite(data, data.len().max(1));
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(rewrite(data, size), whole, "{size}");
    }
    assert!(data.iter().zip(&whole).all(|(before, after)| before == after || *after == b'-'));
    assert_eq!(rewrite(&whole, 5), whole);
});
