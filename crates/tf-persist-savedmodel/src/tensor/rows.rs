//! Concatenating tensors along their first dimension, and taking rows out of them, for batching.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::Aligned;
use super::{ALIGNMENT, Buffer, Data, ForeignMemory, Strings, Tensor, byte_len};
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::shape::{InvalidShape, element_count};

/// A part of a tensor's memory, which keeps all of it alive.
struct Part {
    of: Buffer,
    range: Range<usize>,
}

impl ForeignMemory for Part {
    fn bytes(&self) -> &[u8] {
        // The range was cut to the memory when this was made, and the memory neither grows nor shrinks while it is
        // shared.
        self.of.bytes().get(self.range.clone()).unwrap_or_default()
    }
}

impl Tensor {
    /// The size of the first dimension; `None` for a scalar.
    #[must_use]
    pub fn row_count(&self) -> Option<usize> {
        self.shape.first().copied()
    }

    /// Concatenates tensors along the first dimension, copied once into aligned memory. A single one is shared.
    ///
    /// # Errors
    /// If there are none, one is a scalar, dtypes or the sizes of other dimensions differ, or there is no memory.
    pub fn concatenate(parts: &[&Self]) -> Result<Self> {
        let (first, rest) = match parts {
            [] => {
                return Err(Error::Tensor(TensorError::InvalidTensor {
                    reason: "there is nothing to concatenate".into(),
                }));
            }
            [one] if !one.shape.is_empty() => return Ok((*one).clone()),
            [first, rest @ ..] => (*first, rest),
        };
        if let Some(other) =
            rest.iter().find(|other| !first.has_rows_like(other)).or(first.shape.is_empty().then_some(&first))
        {
            let (a, b) = (&first.shape, &other.shape);
            let reason = format!("{} {a:?} and {} {b:?} cannot be concatenated", first.dtype, other.dtype);
            return Err(Error::Tensor(TensorError::InvalidTensor { reason }));
        }
        let too_many = || {
            Error::Tensor(TensorError::InvalidShape(InvalidShape {
                shape: first.shape.clone(),
                reason: "there are too many rows".into(),
            }))
        };
        let rows = parts.iter().try_fold(0_usize, |rows, part| rows.checked_add(part.shape[0])).ok_or_else(too_many)?;
        let mut shape = first.shape.clone();
        shape[0] = rows;
        let data = if first.dtype == DType::String {
            let bytes = parts.iter().filter_map(|part| part.strings().ok()).map(Strings::total_bytes).sum();
            let mut all = Strings::with_capacity(element_count(&shape)?, bytes);
            for part in parts {
                part.strings()?.iter().for_each(|string| all.push(string));
            }
            Data::Strings(Arc::new(all))
        } else {
            let bytes = byte_len(first.dtype, &shape)?;
            let mut memory = Aligned::new(ALIGNMENT);
            memory.try_reserve_exact(bytes).map_err(|_| Error::OutOfMemory { bytes })?;
            for part in parts {
                memory.extend_from_slice(part.bytes()?);
            }
            Data::Bytes(Buffer::Owned(Arc::new(memory)))
        };
        Ok(Self { dtype: first.dtype, shape, data })
    }

    /// Whether this tensor and another can be concatenated: the same dtype, no scalars, the same sizes except for the
    /// first.
    #[must_use]
    pub fn has_rows_like(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && matches!((self.shape.as_slice(), other.shape.as_slice()), ([_, a @ ..], [_, b @ ..]) if a == b)
    }

    /// Some rows of the tensor. Numbers are not copied: the rows keep the memory of the whole tensor alive. Strings are
    /// copied.
    ///
    /// # Errors
    /// If this is a scalar, or it has fewer rows.
    pub fn rows(&self, range: Range<usize>) -> Result<Self> {
        let has = self.row_count().unwrap_or(0);
        if self.shape.is_empty() || range.start > range.end || range.end > has {
            let reason = format!("{} {:?} has no rows {} to {}", self.dtype, self.shape, range.start, range.end);
            return Err(Error::Tensor(TensorError::InvalidTensor { reason }));
        }
        if range.len() == has {
            return Ok(self.clone());
        }
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        // Of a tensor without elements any part is as empty; else the product is that of the checked shape.
        let row: usize = self.shape[1..].iter().product();
        let data = match &self.data {
            Data::Strings(strings) => {
                let some = range.start * row..range.end * row;
                Data::Strings(Arc::new(some.map(|index| strings.get(index).unwrap_or_default()).collect()))
            }
            Data::Bytes(buffer) => {
                let row = row * self.dtype.size().unwrap_or(0);
                let range = range.start * row..range.end * row;
                Data::Bytes(Buffer::foreign(Arc::new(Part { of: buffer.clone(), range })))
            }
        };
        Ok(Self { dtype: self.dtype, shape, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went_in() {
        let a = Tensor::from_slice(&[2, 3], &[1_i32, 2, 3, 4, 5, 6]).unwrap();
        let b = Tensor::from_slice(&[1, 3], &[7_i32, 8, 9]).unwrap();
        let none = Tensor::from_slice::<i32>(&[0, 3], &[]).unwrap();
        let all = Tensor::concatenate(&[&a, &none, &b]).unwrap();
        assert_eq!((all.shape(), all.view::<i32>().unwrap()), (&[3, 3][..], &[1, 2, 3, 4, 5, 6, 7, 8, 9][..]));
        assert_eq!((all.rows(0..2).unwrap(), all.rows(2..2).unwrap(), all.rows(2..3).unwrap()), (a, none, b));
        let inside = all.rows(1..3).unwrap().rows(1..2).unwrap();
        assert_eq!(inside.view::<i32>().unwrap(), &[7, 8, 9]);
    }

    #[test]
    fn rows_are_not_copied_and_keep_the_memory() {
        let all = Tensor::from_slice(&[4], &[1.0_f32, 2.0, 3.0, 4.0]).unwrap();
        let (at, mut part) = (all.bytes().unwrap().as_ptr(), all.rows(1..3).unwrap());
        assert_eq!(part.bytes().unwrap().as_ptr(), at.wrapping_add(4));
        drop(all);
        part.view_mut::<f32>().unwrap()[0] = 9.0;
        assert_eq!(part.view::<f32>().unwrap(), &[9.0, 3.0]);
    }

    #[test]
    fn strings() {
        let a = Tensor::from_strings(&[2, 1], ["a", "bc"]).unwrap();
        let b = Tensor::from_strings(&[1, 1], [b"\xff\0"]).unwrap();
        let all = Tensor::concatenate(&[&a, &b]).unwrap();
        assert_eq!((all.rows(0..2).unwrap(), all.rows(2..3).unwrap()), (a, b));
    }

    #[test]
    fn what_has_no_common_rows_is_refused() {
        let of = |shape: &[usize]| Tensor::zeros(DType::Float32, shape).unwrap();
        let other = Tensor::zeros(DType::Int32, &[2, 3]).unwrap();
        let pairs = [(of(&[2, 3]), of(&[2, 4])), (of(&[2, 3]), of(&[2])), (of(&[2, 3]), other), (of(&[]), of(&[]))];
        for (a, b) in pairs {
            assert!(Tensor::concatenate(&[&a, &b]).is_err(), "{a:?} {b:?}");
        }
        assert!(Tensor::concatenate(&[]).is_err() && Tensor::concatenate(&[&of(&[])]).is_err());
        #[expect(clippy::reversed_empty_ranges, reason = "it is to be refused")]
        let reversed = of(&[3]).rows(2..1);
        assert!(reversed.is_err() && of(&[]).rows(0..0).is_err() && of(&[3]).rows(2..4).is_err());
    }
}
