//! Checksums of tensors, which may have gigabytes.

use crc_fast::{CrcAlgorithm, Digest};

use super::encode::mask;

/// A CRC-32C that is computed piece by piece. `crc32c` is faster for short data in one piece.
pub(super) struct Checksum(Digest);

impl Checksum {
    pub(super) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The masked form that an index has.
    pub(super) fn masked(&self) -> u32 {
        mask(self.0.finalize() as u32)
    }
}

/// The masked checksum of these bytes.
pub(super) fn masked(bytes: &[u8]) -> u32 {
    let mut checksum = Checksum::new();
    checksum.update(bytes);
    checksum.masked()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_crc32c() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number.wrapping_mul(number) as u8).collect();
        for length in [0, 1, 3, 63, 64, 65, 127, 128, 255, 256, 257, 1023, 4096, 100_000] {
            let bytes = &bytes[..length];
            assert_eq!(masked(bytes), mask(crc32c::crc32c(bytes)), "{length}");
            let mut pieces = Checksum::new();
            bytes.chunks(97).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.masked(), masked(bytes), "{length}");
        }
        // RFC 3720, B.4.
        assert_eq!(masked(&[0; 32]), mask(0x8a91_36aa));
    }
}
