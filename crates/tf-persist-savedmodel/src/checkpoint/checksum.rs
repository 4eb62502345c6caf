//! CRC-32C, the checksum of checkpoints and of TFRecord files.

use crc_fast::{CrcAlgorithm, Digest};

use super::encode::mask;

/// A CRC-32C that is computed piece by piece.
pub struct Checksum(Digest);

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checksum({:08x})", self.value())
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}

impl Checksum {
    /// The checksum of no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of the bytes so far.
    pub(super) fn value(&self) -> u32 {
        self.0.finalize() as u32
    }

    /// The checksum of the bytes so far, as files store it.
    #[must_use]
    pub fn masked(&self) -> u32 {
        mask(self.value())
    }
}

/// The checksum of these bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The checksum of these bytes, as files store it.
pub(crate) fn masked(bytes: &[u8]) -> u32 {
    mask(crc32c(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32C bit by bit, by its reversed polynomial.
    fn bitwise(bytes: &[u8]) -> u32 {
        let step = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
        !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
    }

    #[test]
    fn is_crc32c() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number.wrapping_mul(number) as u8).collect();
        for length in [0, 1, 3, 63, 64, 65, 127, 128, 255, 256, 257, 1023, 4096, 100_000] {
            let bytes = &bytes[..length];
            assert_eq!(crc32c(bytes), bitwise(bytes), "{length}");
            let mut pieces = Checksum::new();
            bytes.chunks(97).for_each(|piece| pieces.update(piece));
            assert_eq!((pieces.value(), pieces.masked()), (crc32c(bytes), masked(bytes)), "{length}");
        }
        // RFC 3720, B.4.
        assert_eq!((crc32c(&[0; 32]), crc32c(&[0xff; 32])), (0x8a91_36aa, 0x62a8_ab43));
    }
}
