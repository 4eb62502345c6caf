//! Slices.

use super::super::{Dim, Graph, Shape, TensorRef, axis_index};
use crate::reason::{Result, refuse};

/// What a slice takes of one dimension, as in Python: `[index]`, `[begin:end:stride]`, or a new dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slice {
    Index(i64),
    Range { begin: Option<i64>, end: Option<i64>, stride: i64 },
    NewAxis,
}

impl Slice {
    /// All elements.
    pub(crate) const ALL: Self = Self::Range { begin: None, end: None, stride: 1 };

    pub(crate) fn range(begin: impl Into<Option<i64>>, end: impl Into<Option<i64>>) -> Self {
        Self::Range { begin: begin.into(), end: end.into(), stride: 1 }
    }
}

impl Graph {
    /// One element of a vector, as a scalar.
    pub(crate) fn element(&self, x: &TensorRef, index: i64) -> Result<TensorRef> {
        self.strided_slice(x, &[Slice::Index(index)])
    }

    /// Slices the first dimensions; the others stay.
    pub(crate) fn strided_slice(&self, x: &TensorRef, slices: &[Slice]) -> Result<TensorRef> {
        let (mut begins, mut ends, mut strides) = (Vec::new(), Vec::new(), Vec::new());
        let (mut begin_mask, mut end_mask, mut new_axis_mask, mut shrink_mask) = (0_i64, 0_i64, 0_i64, 0_i64);
        if slices.len() > 32 {
            refuse!("a slice of {} dimensions is impossible", slices.len());
        }
        let (mut dims, mut axis) = (Vec::new(), 0);
        for (position, slice) in slices.iter().enumerate() {
            let bit = 1 << position;
            if *slice != Slice::NewAxis && axis >= x.rank() {
                refuse!("a slice of {} dimensions does not fit shape {}", slices.len(), x.shape);
            }
            let (begin, end, stride) = match *slice {
                Slice::NewAxis => {
                    new_axis_mask |= bit;
                    dims.push(Some(1));
                    (0, 0, 1)
                }
                Slice::Index(index) => {
                    if x.dims()[axis].is_some() {
                        axis_index(index, usize::try_from(x.dims()[axis].unwrap_or(0)).unwrap_or(usize::MAX))?;
                    }
                    shrink_mask |= bit;
                    axis += 1;
                    (index, index.wrapping_add(1), 1)
                }
                Slice::Range { begin, end, stride } => {
                    if stride == 0 {
                        refuse!("a slice has stride 0");
                    }
                    dims.push(sliced(x.dims()[axis], begin, end, stride));
                    axis += 1;
                    begin_mask |= if begin.is_none() { bit } else { 0 };
                    end_mask |= if end.is_none() { bit } else { 0 };
                    (begin.unwrap_or(0), end.unwrap_or(0), stride)
                }
            };
            begins.push(begin);
            ends.push(end);
            strides.push(stride);
        }
        dims.extend(&x.dims()[axis..]);
        let (begins, ends, strides) = (self.vector_i32(&begins)?, self.vector_i32(&ends)?, self.vector_i32(&strides)?);
        let attrs = vec![
            ("T", x.dtype.into()),
            ("Index", begins.dtype.into()),
            ("begin_mask", begin_mask.into()),
            ("end_mask", end_mask.into()),
            ("new_axis_mask", new_axis_mask.into()),
            ("shrink_axis_mask", shrink_mask.into()),
        ];
        self.add("StridedSlice", &[x, &begins, &ends, &strides], attrs, x.dtype, Shape::new(dims))
    }
}

impl Graph {
    /// Slices dimensions between bounds that are computed, int32 scalars; `None` takes the whole dimension.
    pub(crate) fn strided_slice_by(
        &self,
        x: &TensorRef,
        bounds: &[Option<(TensorRef, TensorRef)>],
        shape: Shape,
    ) -> Result<TensorRef> {
        if bounds.len() > x.rank() || bounds.is_empty() || shape.rank() != x.rank() {
            refuse!("a slice of {} dimensions does not fit shape {}", bounds.len(), x.shape);
        }
        let zero = self.scalar_i32(0)?;
        let (mut begins, mut ends, mut mask) = (Vec::new(), Vec::new(), 0_i64);
        for (position, bound) in bounds.iter().enumerate() {
            let (begin, end) = bound.clone().unwrap_or_else(|| (zero.clone(), zero.clone()));
            mask |= if bound.is_none() { 1 << position } else { 0 };
            begins.push(begin);
            ends.push(end);
        }
        let begins = self.pack(&begins.iter().collect::<Vec<_>>(), 0)?;
        let ends = self.pack(&ends.iter().collect::<Vec<_>>(), 0)?;
        let strides = self.vector_i32(&vec![1; bounds.len()])?;
        let attrs = vec![
            ("T", x.dtype.into()),
            ("Index", begins.dtype.into()),
            ("begin_mask", mask.into()),
            ("end_mask", mask.into()),
        ];
        self.add("StridedSlice", &[x, &begins, &ends, &strides], attrs, x.dtype, shape)
    }
}

/// The size of a sliced dimension.
fn sliced(dim: Dim, begin: Option<i64>, end: Option<i64>, stride: i64) -> Dim {
    let size = i64::try_from(dim?).ok()?;
    let (lowest, highest) = if stride > 0 { (0, size) } else { (-1, size - 1) };
    let bound = |bound: Option<i64>, default: i64| match bound {
        None => default,
        Some(bound) => (if bound < 0 { bound.saturating_add(size) } else { bound }).clamp(lowest, highest),
    };
    let (begin, end) =
        if stride > 0 { (bound(begin, 0), bound(end, size)) } else { (bound(begin, size - 1), bound(end, -1)) };
    let count = if stride > 0 {
        (end - begin + stride - 1).div_euclid(stride)
    } else {
        (begin - end - stride - 1).div_euclid(-stride)
    };
    u64::try_from(count.max(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::sliced;

    #[test]
    fn counts_as_python() {
        assert_eq!(sliced(Some(5), None, None, 1), Some(5));
        assert_eq!(sliced(Some(5), Some(1), Some(-1), 1), Some(3));
        assert_eq!(sliced(Some(5), None, None, 2), Some(3));
        assert_eq!(sliced(Some(5), None, None, -1), Some(5));
        assert_eq!(sliced(Some(5), Some(-1), Some(0), -2), Some(2));
        assert_eq!(sliced(Some(5), Some(4), Some(2), 1), Some(0));
        assert_eq!(sliced(None, Some(1), None, 1), None);
    }
}
