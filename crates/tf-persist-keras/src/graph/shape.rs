//! Shapes of known rank, whose sizes may be unknown until the graph runs.

use std::fmt;
use std::sync::Arc;

use crate::reason::{Result, refuse};

/// The size of a dimension; `None` if it is known only when the graph runs.
pub(crate) type Dim = Option<u64>;

/// A shape of known rank.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Shape(Arc<[Dim]>);

impl Shape {
    pub(crate) fn new(dims: impl Into<Vec<Dim>>) -> Self {
        Self(dims.into().into())
    }

    pub(crate) fn scalar() -> Self {
        Self::new([])
    }

    /// A shape whose sizes are all known.
    pub(crate) fn of_sizes(sizes: &[usize]) -> Self {
        Self(sizes.iter().map(|size| Some(*size as u64)).collect())
    }

    pub(crate) fn dims(&self) -> &[Dim] {
        &self.0
    }

    pub(crate) fn rank(&self) -> usize {
        self.0.len()
    }

    /// The sizes, if all are known.
    pub(crate) fn sizes(&self) -> Option<Vec<u64>> {
        self.0.iter().copied().collect()
    }

    /// The number of elements, if all sizes are known and the product fits.
    pub(crate) fn element_count(&self) -> Option<u64> {
        element_count(&self.0)
    }

    /// The same with another size of one dimension.
    pub(crate) fn with(&self, axis: usize, dim: Dim) -> Self {
        let mut dims = self.0.to_vec();
        dims[axis] = dim;
        Self::new(dims)
    }

    /// The shape of an elementwise result of two tensors.
    pub(crate) fn broadcast(&self, other: &Self) -> Result<Self> {
        let rank = self.rank().max(other.rank());
        let at = |shape: &Self, axis: usize| match (axis + shape.rank()).checked_sub(rank) {
            Some(index) => shape.0[index],
            None => Some(1),
        };
        let mut dims = Vec::with_capacity(rank);
        for axis in 0..rank {
            dims.push(match (at(self, axis), at(other, axis)) {
                (Some(1), dim) | (dim, Some(1)) => dim,
                (Some(a), Some(b)) if a != b => refuse!("the shapes {self} and {other} do not fit"),
                (Some(size), _) | (_, Some(size)) => Some(size),
                (None, None) => None,
            });
        }
        Ok(Self::new(dims))
    }

    /// What is known of a shape that must be both.
    pub(crate) fn merge(&self, other: &Self) -> Result<Self> {
        if self.rank() != other.rank() {
            refuse!("the shapes {self} and {other} do not fit");
        }
        let mut dims = Vec::with_capacity(self.rank());
        for (a, b) in self.0.iter().zip(other.dims()) {
            match (a, b) {
                (Some(a), Some(b)) if a != b => refuse!("the shapes {self} and {other} do not fit"),
                _ => dims.push(a.or(*b)),
            }
        }
        Ok(Self::new(dims))
    }
}

/// The product of sizes, if all are known and it fits.
pub(crate) fn element_count(dims: &[Dim]) -> Option<u64> {
    dims.iter().try_fold(1_u64, |product, dim| product.checked_mul((*dim)?))
}

/// As in messages of TensorFlow: `[?,3]`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.0.iter().map(|dim| dim.map_or("?".to_owned(), |size| size.to_string()));
        write!(f, "[{}]", sizes.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The index of an axis that may count from the end.
pub(crate) fn axis_index(axis: i64, rank: usize) -> Result<usize> {
    let index = if axis < 0 { i64::try_from(rank).unwrap_or(i64::MAX).checked_add(axis) } else { Some(axis) };
    match index.and_then(|index| usize::try_from(index).ok()).filter(|index| *index < rank) {
        Some(index) => Ok(index),
        None => refuse!("axis {axis} does not exist in a tensor of rank {rank}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[i64]) -> Shape {
        Shape::new(dims.iter().map(|dim| u64::try_from(*dim).ok()).collect::<Vec<_>>())
    }

    #[test]
    fn broadcasts_as_numpy() {
        let broadcast = |a: &[i64], b: &[i64]| shape(a).broadcast(&shape(b));
        assert_eq!(broadcast(&[-1, 3], &[3]).unwrap(), shape(&[-1, 3]));
        assert_eq!(broadcast(&[-1, 1, 4], &[5, 1]).unwrap(), shape(&[-1, 5, 4]));
        assert_eq!(broadcast(&[-1], &[7]).unwrap(), shape(&[7]));
        assert_eq!(broadcast(&[1], &[-1]).unwrap(), shape(&[-1]));
        assert_eq!(broadcast(&[2], &[3]).unwrap_err().to_string(), "the shapes [2] and [3] do not fit");
    }

    #[test]
    fn counts_axes_from_either_end() {
        assert_eq!((axis_index(-1, 3), axis_index(2, 3)), (Ok(2), Ok(2)));
        assert!(axis_index(3, 3).is_err() && axis_index(-4, 3).is_err() && axis_index(i64::MIN, 3).is_err());
    }
}
