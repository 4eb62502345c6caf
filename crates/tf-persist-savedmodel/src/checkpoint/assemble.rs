//! The positions of the slices of a partitioned tensor.

use std::ops::Range;

use super::slice::Slice;

/// Calls `visit` with each run of consecutive elements of a slice: its range of indices in a tensor of this shape, in
/// row-major order. Runs come in the order of the slice's own elements.
///
/// Nothing is visited if the element count overflows or the slice does not lie inside the shape.
pub(super) fn for_each_run<E>(
    slice: &Slice,
    shape: &[usize],
    mut visit: impl FnMut(Range<usize>) -> Result<(), E>,
) -> Result<(), E> {
    let Some(lengths) = slice.shape_in(shape).filter(|lengths| !lengths.contains(&0)) else { return Ok(()) };
    // A dimension that the slice covers whole joins the run of the dimension before it.
    let whole = lengths.iter().zip(shape).rev().take_while(|(length, size)| length == size).count();
    let outer = shape.len().saturating_sub(whole + 1);
    let run: usize = lengths[outer..].iter().product();

    let mut strides = vec![1; shape.len()];
    for dimension in (1..shape.len()).rev() {
        strides[dimension - 1] = strides[dimension] * shape[dimension];
    }
    let starts = slice.0.iter().zip(&strides).map(|(extent, stride)| extent.start as usize * stride);
    let mut position: usize = starts.sum();
    let mut indices = vec![0; outer];
    loop {
        visit(position..position + run)?;
        // The next index, counted like an odometer.
        let mut dimension = outer;
        loop {
            let Some(before) = dimension.checked_sub(1) else { return Ok(()) };
            dimension = before;
            indices[dimension] += 1;
            position += strides[dimension];
            if indices[dimension] < lengths[dimension] {
                break;
            }
            indices[dimension] = 0;
            position -= lengths[dimension] * strides[dimension];
        }
    }
}

/// A bitmap of the elements of a tensor that have a value.
pub(super) struct Coverage(Vec<u64>);

impl Coverage {
    /// An empty bitmap; `Err` is the size of the allocation that failed.
    pub(super) fn new(count: usize) -> Result<Self, usize> {
        let words = count.div_ceil(64);
        let mut bits = Vec::new();
        bits.try_reserve_exact(words).map_err(|_| words.saturating_mul(8))?;
        bits.resize(words, 0);
        Ok(Self(bits))
    }

    /// Adds a range of elements; `false` if one of them was there already.
    pub(super) fn add(&mut self, range: Range<usize>) -> bool {
        let mut index = range.start;
        while index < range.end {
            let shift = index % 64;
            let count = (64 - shift).min(range.end - index);
            let mask = (u64::MAX >> (64 - count)) << shift;
            match self.0.get_mut(index / 64) {
                Some(word) if *word & mask == 0 => *word |= mask,
                _ => return false,
            }
            index += count;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::checkpoint::Extent;

    fn runs(slice: &[(u64, Option<u64>)], shape: &[usize]) -> Vec<Range<usize>> {
        let slice = Slice(slice.iter().map(|(start, length)| Extent { start: *start, length: *length }).collect());
        let mut all = Vec::new();
        let done: Result<(), Infallible> = for_each_run(&slice, shape, |run| {
            all.push(run);
            Ok(())
        });
        done.unwrap();
        all
    }

    #[test]
    fn rows_are_one_run_and_columns_many() {
        assert_eq!(runs(&[(3, Some(2)), (0, None)], &[7, 3]), vec![9..15]);
        assert_eq!(runs(&[(0, None), (1, Some(2))], &[3, 4]), [1..3, 5..7, 9..11]);
        assert_eq!(runs(&[(1, Some(1)), (0, Some(2)), (1, Some(1))], &[2, 2, 3]), [7..8, 10..11]);
        assert_eq!(runs(&[(0, None), (1, Some(1)), (0, None)], &[2, 2, 3]), [3..6, 9..12]);
        assert_eq!(runs(&[(0, None)], &[5]), vec![0..5]);
        assert_eq!(runs(&[], &[]), vec![0..1]);
    }

    #[test]
    fn nothing_is_visited_of_what_is_empty_or_outside() {
        assert!(runs(&[(0, Some(0)), (0, None)], &[7, 3]).is_empty());
        assert!(runs(&[(0, None), (0, None)], &[7, 0]).is_empty());
        assert!(runs(&[(6, Some(2)), (0, None)], &[7, 3]).is_empty());
    }

    #[test]
    fn an_element_is_given_once() {
        let mut covered = Coverage::new(200).unwrap();
        assert!(covered.add(10..150) && covered.add(0..10) && covered.add(150..200) && covered.add(5..5));
        assert!(!covered.add(149..150) && !covered.add(63..65));
        let mut covered = Coverage::new(64).unwrap();
        assert!(covered.add(0..64) && !covered.add(0..1) && !covered.add(64..65));
    }
}
