//! Element types: HDF5's, and the dtypes of tensors.

use hdf5_reader::error::ByteOrder;
use hdf5_reader::messages::datatype::{Datatype, StringPadding, StringSize, VarLenKind};
use tf_persist_savedmodel::DType;

use crate::reason::{self, refuse};

/// The elements of a dataset or an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Elements {
    /// Numbers or bools, each of the dtype's size.
    Numbers { dtype: DType, big_endian: bool },
    /// Texts of this many bytes.
    FixedTexts { length: usize, padding: StringPadding },
    /// References to texts in a global heap.
    VariableTexts,
}

impl Elements {
    /// The elements of an HDF5 type. `encoded` are its bytes in the file; they have what `datatype` leaves out.
    /// `name` is the value of the attribute `dtype` beside it, which Keras gives to types that HDF5 does not have.
    pub(super) fn new(datatype: &Datatype, encoded: &[u8], name: Option<&str>) -> reason::Result<Self> {
        let numbers = |dtype, order: &ByteOrder| Self::Numbers { dtype, big_endian: *order == ByteOrder::BigEndian };
        Ok(match datatype {
            Datatype::FixedPoint { size, signed, byte_order } => {
                let Some(dtype) = integer(*size, *signed) else { refuse!("integers of {size} bytes") };
                if encoded.get(8..12) != Some(&[0, 0, size.saturating_mul(8), 0]) {
                    refuse!("integers that do not use all of their {size} bytes");
                }
                numbers(dtype, byte_order)
            }
            Datatype::FloatingPoint { size, byte_order } => numbers(float(*size, encoded)?, byte_order),
            Datatype::Enum { base, members } => {
                let values: Vec<(&str, &[u8])> =
                    members.iter().map(|member| (member.name.as_str(), member.value.as_slice())).collect();
                let is_byte = matches!(**base, Datatype::FixedPoint { size: 1, .. });
                if !is_byte || values != [("FALSE", &[0][..]), ("TRUE", &[1])] {
                    refuse!("an enumeration that is no bool");
                }
                Self::Numbers { dtype: DType::Bool, big_endian: false }
            }
            Datatype::Opaque { size: 2, .. } if name == Some("bfloat16") => {
                Self::Numbers { dtype: DType::BFloat16, big_endian: false }
            }
            Datatype::Opaque { size, .. } => match name {
                Some(name) => refuse!("opaque elements of {size} bytes with the dtype `{name}`"),
                None => refuse!("opaque elements of {size} bytes without an attribute `dtype`"),
            },
            Datatype::String { size: StringSize::Fixed(length), padding, .. } => {
                Self::FixedTexts { length: *length as usize, padding: *padding }
            }
            Datatype::VarLen { base, kind: VarLenKind::String, .. } if base.is_vlen_string_base() => {
                Self::VariableTexts
            }
            Datatype::String { size: StringSize::Variable, .. } | Datatype::VarLen { .. } => {
                refuse!("lists of a variable length")
            }
            Datatype::Compound { .. } => refuse!("compound elements"),
            Datatype::Array { .. } => refuse!("arrays as elements"),
            Datatype::Reference { .. } => refuse!("references to other objects"),
            Datatype::Bitfield { .. } => refuse!("bit fields"),
        })
    }

    /// The dtype of a tensor of these elements.
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::Numbers { dtype, .. } => dtype,
            Self::FixedTexts { .. } | Self::VariableTexts => DType::String,
        }
    }
}

fn integer(size: u8, signed: bool) -> Option<DType> {
    Some(match (size, signed) {
        (1, true) => DType::Int8,
        (2, true) => DType::Int16,
        (4, true) => DType::Int32,
        (8, true) => DType::Int64,
        (1, false) => DType::UInt8,
        (2, false) => DType::UInt16,
        (4, false) => DType::UInt32,
        (8, false) => DType::UInt64,
        _ => return None,
    })
}

/// The float of an encoded type, by the positions and sizes of its sign, exponent and mantissa.
fn float(size: u8, encoded: &[u8]) -> reason::Result<DType> {
    let Some(([_, flags, sign, ..], properties)) = encoded.split_at_checked(8) else {
        refuse!("floats of an unknown form")
    };
    // Bit 0 is the byte order, bit 6 the one of VAX; the rest must be an implied leading 1 and no padding.
    if flags & 0xFE != 0x20 || usize::from(*sign) + 1 != 8 * usize::from(size) {
        refuse!("floats of {size} bytes that are not IEEE 754's");
    }
    Ok(match (size, properties.get(..12)) {
        (2, Some([0, 0, 16, 0, 10, 5, 0, 10, 15, 0, 0, 0])) => DType::Float16,
        (2, Some([0, 0, 16, 0, 7, 8, 0, 7, 127, 0, 0, 0])) => DType::BFloat16,
        (4, Some([0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0])) => DType::Float32,
        (8, Some([0, 0, 64, 0, 52, 11, 0, 52, 0xFF, 3, 0, 0])) => DType::Float64,
        _ => refuse!("floats of {size} bytes that are not IEEE 754's"),
    })
}

/// Makes big-endian elements little-endian.
pub(super) fn swap_bytes(bytes: &mut [u8], size: usize) {
    if size > 1 {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
}

/// Refuses bools that are neither 0 nor 1.
pub(super) fn check_bools(bytes: &[u8]) -> reason::Result<()> {
    match bytes.iter().find(|byte| **byte > 1) {
        Some(byte) => refuse!("one of its bools is {byte}"),
        None => Ok(()),
    }
}

/// A text without its padding.
pub(super) fn unpadded(text: &[u8], padding: StringPadding) -> &[u8] {
    match padding {
        StringPadding::NullTerminate => text.split(|byte| *byte == 0).next().unwrap_or_default(),
        StringPadding::NullPad => &text[..text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)],
        StringPadding::SpacePad => &text[..text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_cut_off() {
        assert_eq!(unpadded(b"a\0b\0\0", StringPadding::NullTerminate), b"a");
        assert_eq!(unpadded(b"a\0b\0\0", StringPadding::NullPad), b"a\0b");
        assert_eq!(unpadded(b"a b  ", StringPadding::SpacePad), b"a b");
        for padding in [StringPadding::NullTerminate, StringPadding::NullPad, StringPadding::SpacePad] {
            assert_eq!(unpadded(b"", padding), b"");
        }
    }

    #[test]
    fn floats_are_known_by_their_bits() {
        let half = [0x11, 0x20, 15, 0, 2, 0, 0, 0, 0, 0, 16, 0, 10, 5, 0, 10, 15, 0, 0, 0];
        assert_eq!(float(2, &half).unwrap(), DType::Float16);
        let mut brain = half;
        (brain[12], brain[13], brain[15], brain[16]) = (7, 8, 7, 127);
        assert_eq!(float(2, &brain).unwrap(), DType::BFloat16);
        let mut vax = half;
        vax[1] |= 0x41;
        assert!(float(2, &vax).is_err() && float(2, &half[..19]).is_err() && float(2, &[]).is_err());
        assert!(float(1, &half).is_err());
    }
}
