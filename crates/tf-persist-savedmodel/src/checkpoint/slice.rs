//! Slices: the parts in which a partitioned variable is stored.

use tf_persist_proto::wire::{Value, try_fields};

use super::assemble::for_each_run;
use crate::shape::MAX_RANK;
use crate::tensor::Tensor;

/// A range of one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// The first index.
    pub start: u64,
    /// The number of indices; `None` for the whole dimension.
    pub length: Option<u64>,
}

/// A box of a tensor: a range of each dimension (`tensorflow/core/framework/tensor_slice.proto`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slice(pub Vec<Extent>);

impl Slice {
    /// Reads a `TensorSliceProto`.
    pub(super) fn read(message: &[u8]) -> Result<Self, String> {
        let mut extents = Vec::new();
        for field in try_fields(message) {
            let (1, Value::Bytes(message)) = field.map_err(|error| error.to_string())? else { continue };
            if extents.len() == MAX_RANK {
                return Err(format!("the rank of one of its slices is above TensorFlow's limit of {MAX_RANK}"));
            }
            let mut extent = Extent { start: 0, length: None };
            for field in try_fields(message) {
                match field.map_err(|error| error.to_string())? {
                    (1, Value::Varint(start)) => extent.start = start,
                    // A length of -1 is one way to say "all of it" (`TensorSlice::kFullExtent`).
                    (2, Value::Varint(length)) => extent.length = (length != u64::MAX).then_some(length),
                    _ => {}
                }
            }
            extents.push(extent);
        }
        Ok(Self(extents))
    }

    /// Parses the slice of a `RestoreV2`: the whole tensor's shape, a space, and a range for each dimension, such as
    /// `10 3 0,5:-` (`ParseShapeAndSlice` in `tensorflow/core/util/saved_tensor_slice_util.cc`).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let ranges = text.rsplit(' ').next()?.split(':');
        let extent = |range: &str| match range {
            "-" => Some(Extent { start: 0, length: None }),
            range => {
                let (start, length) = range.split_once(',')?;
                Some(Extent { start: start.parse().ok()?, length: Some(length.parse().ok()?) })
            }
        };
        ranges.map(extent).collect::<Option<Vec<_>>>().filter(|extents| extents.len() <= MAX_RANK).map(Self)
    }

    /// The elements of the slice in a tensor of numbers; `None` if it does not lie inside.
    pub(crate) fn cut(&self, tensor: &Tensor) -> Option<Tensor> {
        let shape = self.shape_in(tensor.shape())?;
        let size = tensor.dtype().size()?;
        let bytes = tensor.bytes().ok()?;
        let mut cut = Vec::new();
        for_each_run(self, tensor.shape(), |run| {
            cut.extend_from_slice(bytes.get(run.start * size..run.end * size).ok_or(())?);
            Ok::<(), ()>(())
        })
        .ok()?;
        Tensor::from_bytes(tensor.dtype(), &shape, &cut).ok()
    }

    /// The shape of the slice in a tensor of this shape; `None` if it does not lie inside.
    #[must_use]
    pub fn shape_in(&self, shape: &[usize]) -> Option<Vec<usize>> {
        if self.0.len() != shape.len() {
            return None;
        }
        let lengths = self.0.iter().zip(shape).map(|(extent, size)| match extent.length {
            None if extent.start == 0 => Some(*size),
            None => None,
            Some(length) => {
                let inside = extent.start.checked_add(length)? <= *size as u64;
                usize::try_from(length).ok().filter(|_| inside)
            }
        });
        lengths.collect()
    }

    /// The key under which this slice of the tensor `name` is stored (`EncodeTensorNameSlice` in
    /// `tensorflow/core/util/saved_tensor_slice_util.cc`, in the encoding of
    /// `tensorflow/tsl/lib/strings/ordered_code.cc`).
    pub(super) fn key(&self, name: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(name.len() + 8 + 4 * self.0.len());
        push_number(&mut key, 0);
        push_string(&mut key, name.as_bytes());
        push_number(&mut key, self.0.len() as u64);
        for extent in &self.0 {
            push_signed(&mut key, extent.start.cast_signed());
            push_signed(&mut key, extent.length.map_or(-1, u64::cast_signed));
        }
        key
    }
}

/// `OrderedCode::WriteString`: zeros and 255s escaped, 0 1 at the end.
fn push_string(key: &mut Vec<u8>, string: &[u8]) {
    for byte in string {
        match byte {
            0 => key.extend([0, 0xff]),
            0xff => key.extend([0xff, 0]),
            other => key.push(*other),
        }
    }
    key.extend([0, 1]);
}

/// `OrderedCode::WriteNumIncreasing`: the number of bytes, and the bytes, highest first.
fn push_number(key: &mut Vec<u8>, number: u64) {
    let bytes = number.to_be_bytes();
    let bytes = &bytes[number.leading_zeros() as usize / 8..];
    key.push(bytes.len() as u8);
    key.extend(bytes);
}

/// `OrderedCode::WriteSignedNumIncreasing`: as many one bits (zero bits of a negative number) as there are bytes, and
/// the number after them, so that the bytes compare as the numbers do.
fn push_signed(key: &mut Vec<u8>, number: i64) {
    let bits = 64 - (if number < 0 { !number } else { number }).leading_zeros();
    let length = bits as usize / 7 + 1;
    let sign = if number < 0 { 0xff } else { 0 };
    let mut buffer = [sign; 10];
    buffer[2..].copy_from_slice(&number.to_be_bytes());
    let code = &mut buffer[10 - length..];
    let header = 0xffff_u16.checked_shl(16 - length as u32).unwrap_or(0);
    for (byte, mask) in code.iter_mut().zip(header.to_be_bytes()) {
        *byte ^= mask;
    }
    key.extend_from_slice(code);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(number: i64) -> Vec<u8> {
        let mut key = Vec::new();
        push_signed(&mut key, number);
        key
    }

    #[test]
    fn codes_are_those_of_tensorflow() {
        assert_eq!(signed(0), [0x80]);
        assert_eq!(signed(3), [0x83]);
        assert_eq!(signed(63), [0xbf]);
        assert_eq!(signed(64), [0xc0, 0x40]);
        assert_eq!(signed(100), [0xc0, 0x64]);
        assert_eq!(signed(8191), [0xdf, 0xff]);
        assert_eq!(signed(8192), [0xe0, 0x20, 0x00]);
        assert_eq!(signed(-1), [0x7f]);
        assert_eq!(signed(i64::MAX), [0xff, 0xc0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        // From the index that TensorFlow 2.21 wrote for a variable `w` of shape [7, 3] in three parts.
        let slice = Slice(vec![Extent { start: 3, length: Some(2) }, Extent { start: 0, length: Some(3) }]);
        assert_eq!(slice.key("w"), [0, b'w', 0, 1, 1, 2, 0x83, 0x82, 0x80, 0x83]);
    }

    #[test]
    fn codes_sort_as_numbers_do() {
        let numbers = [i64::MIN, -8193, -8192, -65, -64, -1, 0, 1, 63, 64, 8191, 8192, 1 << 40, i64::MAX];
        assert!(numbers.windows(2).all(|pair| signed(pair[0]) < signed(pair[1])));
    }

    #[test]
    fn cuts_as_restore_does() {
        let tensor = Tensor::from_slice(&[4, 3], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11_i32]).unwrap();
        let cut = Slice::parse("4 3 1,2:-").unwrap().cut(&tensor).unwrap();
        assert_eq!((cut.shape(), cut.view::<i32>().unwrap()), (&[2, 3][..], &[3, 4, 5, 6, 7, 8][..]));
        let cut = Slice::parse("4 3 0,2:1,2").unwrap().cut(&tensor).unwrap();
        assert_eq!(cut.view::<i32>().unwrap(), [1, 2, 4, 5]);
        assert!(Slice::parse("4 3 3,2:-").unwrap().cut(&tensor).is_none());
        assert!(Slice::parse("4 3 x").is_none());
    }

    #[test]
    fn a_slice_lies_inside_its_tensor() {
        let slice = Slice(vec![Extent { start: 3, length: Some(2) }, Extent { start: 0, length: None }]);
        assert_eq!(slice.shape_in(&[7, 3]), Some(vec![2, 3]));
        assert_eq!(slice.shape_in(&[4, 3]), None);
        assert_eq!(slice.shape_in(&[7]), None);
    }
}
