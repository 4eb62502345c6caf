//! The form of string tensors in checkpoints (`WriteStringTensor` in
//! `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`).
//!
//! ```text
//! lengths   a varint a string
//! checksum  masked CRC-32C of the lengths: of each as a u32, or as a u64 if it does not fit
//! strings   the bytes, one string after the other
//! ```
//!
//! The entry's checksum continues that of the lengths, over the four bytes of that checksum and the bytes of the
//! strings.

use tf_persist_proto::wire::Reader;

use super::checksum::Checksum;
use super::encode::{unmask, varint};
use crate::error::{Error, Result};
use crate::tensor::Strings;

/// Why bytes cannot be parsed as a string tensor.
pub(super) enum StringTensorError {
    /// A sentence, without the tensor's name.
    Reason(&'static str),
    /// The size of the allocation that failed.
    Memory(usize),
}

/// Parses `count` strings out of these bytes, which must have this masked checksum.
///
/// Memory is linear in the bytes if `count` is at most their number.
pub(super) fn decode(mut bytes: Vec<u8>, count: usize, checksum: u32) -> Result<Strings, StringTensorError> {
    let wrong = StringTensorError::Reason("the checksum is wrong");
    if bytes.is_empty() && count == 0 {
        return if unmask(checksum) == 0 { Ok(Strings::default()) } else { Err(wrong) };
    }
    let mut ends = Vec::new();
    ends.try_reserve_exact(count).map_err(|_| StringTensorError::Memory(count.saturating_mul(size_of::<usize>())))?;
    let mut reader = Reader::new(&bytes);
    let (mut sum, mut end) = (Checksum::new(), 0_usize);
    for _ in 0..count {
        let length = reader.varint().map_err(|_| StringTensorError::Reason("the length of a string cannot be read"))?;
        add_length(&mut sum, length);
        let next = usize::try_from(length).ok().and_then(|length| end.checked_add(length));
        end = next.ok_or(StringTensorError::Reason("a string goes beyond the end of its bytes"))?;
        ends.push(end);
    }
    let start = reader.position();
    let Some((stored, text)) = bytes[start..].split_first_chunk::<4>() else {
        return Err(StringTensorError::Reason("the checksum of the strings' lengths is cut off"));
    };
    if u32::from_le_bytes(*stored) != sum.masked() {
        return Err(StringTensorError::Reason("the checksum of the strings' lengths is wrong"));
    }
    if text.len() != end {
        return Err(StringTensorError::Reason("the lengths of the strings are not those of its bytes"));
    }
    sum.update(stored);
    sum.update(text);
    if sum.masked() != checksum {
        return Err(wrong);
    }
    bytes.drain(..start + stored.len());
    Ok(Strings::from_parts(bytes, ends))
}

/// The bytes in front of the strings, and the masked checksum of everything.
///
/// # Errors
/// If there is no memory for the lengths.
pub(super) fn encode(strings: &Strings) -> Result<(Vec<u8>, u32)> {
    let mut lengths = Vec::new();
    lengths.try_reserve(strings.len()).map_err(|_| Error::OutOfMemory { bytes: strings.len() })?;
    let mut sum = Checksum::new();
    for string in strings.iter() {
        varint(&mut lengths, string.len() as u64);
        add_length(&mut sum, string.len() as u64);
    }
    let stored = sum.masked().to_le_bytes();
    lengths.extend(stored);
    sum.update(&stored);
    sum.update(strings.all_bytes());
    Ok((lengths, sum.masked()))
}

/// Lengths were 32-bit numbers once, and enter the checksum as such if they fit.
fn add_length(sum: &mut Checksum, length: u64) {
    match u32::try_from(length) {
        Ok(length) => sum.update(&length.to_le_bytes()),
        Err(_) => sum.update(&length.to_le_bytes()),
    }
}
