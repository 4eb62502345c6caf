//! Writing protobuf's wire format and LevelDB's masked checksums.

/// A number of 7 bits a byte, lowest first.
pub(crate) fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A field that holds a number.
pub(crate) fn number(message: &mut Vec<u8>, field: u64, value: u64) {
    varint(message, field << 3);
    varint(message, value);
}

/// A field that holds a string, bytes or a message.
pub(crate) fn delimited(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(message, field << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// A field that holds four bytes.
pub(crate) fn fixed32(message: &mut Vec<u8>, field: u64, value: u32) {
    varint(message, field << 3 | 5);
    message.extend(value.to_le_bytes());
}

/// Checksums are stored rotated and shifted, so that a checksum over bytes that contain checksums still detects errors
/// (`tensorflow/tsl/lib/hash/crc32c.h`).
pub(crate) fn mask(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The checksum before masking.
pub(crate) fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(0xa282_ead8).rotate_left(15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_go_round() {
        for checksum in [0, 1, 0x8000_0000, u32::MAX, 0x1234_5678] {
            assert_eq!(unmask(mask(checksum)), checksum);
            assert_ne!(mask(checksum), checksum);
        }
    }
}
