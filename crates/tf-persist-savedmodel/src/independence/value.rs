//! The abstract value of a tensor.

use std::rc::Rc;

use super::Dependence;
use super::size::Size;

/// The abstract value of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// It does not depend on the inputs. Its sizes may be known.
    Fixed(Option<Vec<Size>>),
    /// The handle of a variable, whose sizes may be known.
    Variable(Option<Vec<Size>>),
    /// The handle of a table from single keys to single values.
    Table,
    /// Integers that are sizes or constants: the shape of their tensor, and the integers in row-major order.
    Ints { shape: Vec<i64>, items: Vec<Size> },
    /// Rows of the batch along an axis: that dimension is a multiple of the number of rows, and each row has equally
    /// many adjacent entries. No other dimension depends on the number of rows or on their contents.
    Rows { axis: usize, dims: Vec<Size> },
    /// A list of tensors with this value; `None` while it is empty.
    List { element: Option<Box<Value>>, count: Size },
    /// Rows may be mixed in it.
    Mixed(Rc<Dependence>),
}

impl Value {
    pub(super) fn rows(axis: usize, dims: Vec<Size>) -> Self {
        Self::Rows { axis, dims }
    }

    pub(super) fn scalar(size: Size) -> Self {
        Self::Ints { shape: Vec::new(), items: vec![size] }
    }

    pub(super) fn vector(items: Vec<Size>) -> Self {
        Self::Ints { shape: vec![i64::try_from(items.len()).unwrap_or(i64::MAX)], items }
    }

    /// Whether it depends neither on the inputs' values nor on the number of rows.
    pub(super) fn is_fixed(&self) -> bool {
        match self {
            Self::Fixed(_) | Self::Variable(_) | Self::Table => true,
            Self::Ints { items, .. } => items.iter().all(|item| !item.is_batch()),
            Self::Rows { .. } | Self::List { .. } | Self::Mixed(_) => false,
        }
    }

    /// The sizes of a fixed tensor or of integers.
    pub(super) fn fixed_dims(&self) -> Option<Vec<Size>> {
        match self {
            Self::Fixed(dims) => dims.clone(),
            Self::Ints { shape, .. } => Some(shape.iter().map(|size| Size::known(*size)).collect()),
            _ => None,
        }
    }

    /// The sizes of a tensor, if they are known.
    pub(super) fn dims(&self) -> Option<Vec<Size>> {
        match self {
            Self::Rows { dims, .. } => Some(dims.clone()),
            _ => self.fixed_dims(),
        }
    }

    /// Its integers, if it is a scalar or a vector of integers.
    pub(super) fn ints(&self) -> Option<&[Size]> {
        match self {
            Self::Ints { shape, items } if shape.len() < 2 => Some(items),
            _ => None,
        }
    }

    /// Its numbers, if all are known.
    pub(super) fn numbers(&self) -> Option<Vec<i64>> {
        self.ints()?.iter().map(Size::number).collect()
    }

    /// Its only number.
    pub(super) fn number(&self) -> Option<i64> {
        match self.numbers()?.as_slice() {
            [number] => Some(*number),
            _ => None,
        }
    }

    /// The value of a tensor that is either of the two; `None` if there is none.
    pub(super) fn join(self, other: Self) -> Option<Self> {
        if self == other {
            return Some(self);
        }
        match (self, other) {
            (Self::List { element: None, count }, Self::List { element, count: other })
            | (Self::List { element, count }, Self::List { element: None, count: other })
                if count == other =>
            {
                Some(Self::List { element, count })
            }
            (a, b) if a.is_fixed() && b.is_fixed() => {
                let is_value = |value: &Self| matches!(value, Self::Fixed(_) | Self::Ints { .. });
                if !is_value(&a) || !is_value(&b) {
                    return None;
                }
                let (a, b) = (a.fixed_dims(), b.fixed_dims());
                Some(Self::Fixed(if a == b { a } else { None }))
            }
            _ => None,
        }
    }
}

/// The sizes of two broadcast tensors that are independent of the batch.
pub(super) fn broadcast_fixed(a: &[Size], b: &[Size]) -> Option<Vec<Size>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Size], index: usize| (index + dims.len()).checked_sub(rank).map(|index| dims[index].clone());
    (0..rank)
        .map(|index| match (at(a, index), at(b, index)) {
            (Some(one), Some(other)) if one.is(1) || one == other => Some(other),
            (Some(one), Some(other)) if other.is(1) => Some(one),
            // Either is 1, or they are equal. If one is a number other than 1, the result is known.
            (Some(one), Some(_)) if one.number().is_some() => Some(one),
            (Some(_), Some(other)) if other.number().is_some() => Some(other),
            (Some(_), Some(_)) => None,
            (one, other) => one.or(other),
        })
        .collect()
}
