//! Numeric tensors whose elements arrive one by one.

use std::fmt;

use super::{AlignedBuf, Element, Tensor};
use crate::dtype::DType;
use crate::error::Result;
use crate::shape::element_count;

/// Elements are moved to the tensor's memory in groups of this size.
const CHUNK: usize = 128;

/// Builds a numeric tensor of a known element type: elements arrive one by one, the shape at the end. They are written
/// directly into the tensor's aligned memory, which grows.
pub struct TensorBuilder<T: Element> {
    memory: AlignedBuf,
    moved: usize,
    pending: Vec<T>,
}

impl<T: Element> fmt::Debug for TensorBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorBuilder").field("elements", &(self.moved + self.pending.len())).finish_non_exhaustive()
    }
}

impl<T: Element> TensorBuilder<T> {
    /// A builder with capacity for this many elements; more may follow.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn with_capacity(elements: usize) -> Result<Self> {
        let mut memory = AlignedBuf::new();
        memory.reserve(elements.saturating_mul(size_of::<T>()))?;
        Ok(Self { memory, moved: 0, pending: Vec::with_capacity(elements.clamp(1, CHUNK)) })
    }

    /// Adds an element.
    ///
    /// # Errors
    /// If there is no memory.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<()> {
        if self.pending.len() == self.pending.capacity() {
            self.flush()?;
        }
        self.pending.push(value);
        Ok(())
    }

    #[cold]
    fn flush(&mut self) -> Result<()> {
        self.memory.extend(&self.pending)?;
        self.moved += self.pending.len();
        self.pending.clear();
        Ok(())
    }

    /// The number of elements so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.moved + self.pending.len()
    }

    /// Whether it has no elements yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tensor of the first elements, as many as the shape has. The dtype is one of [`Element::DTYPES`].
    ///
    /// # Errors
    /// If there are fewer elements, or the element type is not the dtype's.
    pub fn finish(mut self, dtype: DType, shape: &[usize]) -> Result<Tensor> {
        self.flush()?;
        self.memory.truncate(element_count(shape)?.saturating_mul(size_of::<T>()));
        let tensor = self.memory.into_tensor(dtype, shape)?;
        tensor.expect_element::<T>()?;
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_one_by_one() {
        for count in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 3] {
            for capacity in [0, 1, count, 2 * count] {
                let mut builder = TensorBuilder::with_capacity(capacity).unwrap();
                let values: Vec<f32> = (0..count).map(|index| index as f32).collect();
                for value in &values {
                    builder.push(*value).unwrap();
                }
                assert_eq!((builder.len(), builder.is_empty()), (count, count == 0));
                let tensor = builder.finish(DType::Float32, &[count]).unwrap();
                assert_eq!(tensor, Tensor::from_slice(&[count], &values).unwrap());
            }
        }
    }

    #[test]
    fn elements_beyond_the_shape_are_dropped_and_missing_ones_refused() {
        let three = || {
            let mut builder = TensorBuilder::<u8>::with_capacity(0).unwrap();
            (0..3).for_each(|value| builder.push(value).unwrap());
            builder
        };
        assert_eq!(three().finish(DType::UInt8, &[2]).unwrap().view::<u8>().unwrap(), [0, 1]);
        assert!(three().finish(DType::UInt8, &[4]).is_err());
        assert!(three().finish(DType::Int8, &[3]).is_err());
        assert!(three().finish(DType::Int16, &[1]).is_err());
    }
}
