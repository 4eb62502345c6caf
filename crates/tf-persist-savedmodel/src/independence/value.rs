//! What is known of a tensor.

use std::rc::Rc;

use super::Dependence;
use super::size::Size;

/// What is known of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// It does not depend on the inputs. Its sizes, if they are known.
    Fixed(Option<Vec<Size>>),
    /// The handle of a variable, whose sizes may be known.
    Variable(Option<Vec<Size>>),
    /// The handle of a table of single values by single keys.
    Table,
    /// Integers that are sizes, or constants: the sizes of the tensor that holds them, and they in row-major order.
    Ints { shape: Vec<i64>, items: Vec<Size> },
    /// Rows of the batch along an axis: that dimension is a multiple of the number of rows, and each row has as many entries next to each
    /// other. No other dimension depends on the number of rows or on what is in them.
    Rows { axis: usize, dims: Vec<Size> },
    /// A list of tensors, all of which are like this; `None` so long as none was put in.
    List { element: Option<Box<Value>>, count: Size },
    /// Rows meet in it, or nobody knows.
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

    /// The sizes of a tensor that is fixed, or of integers.
    pub(super) fn fixed_dims(&self) -> Option<Vec<Size>> {
        match self {
            Self::Fixed(dims) => dims.clone(),
            Self::Ints { shape, .. } => Some(shape.iter().map(|size| Size::known(*size)).collect()),
            _ => None,
        }
    }

    /// The sizes of a tensor, if it has any that are known.
    pub(super) fn dims(&self) -> Option<Vec<Size>> {
        match self {
            Self::Rows { dims, .. } => Some(dims.clone()),
            _ => self.fixed_dims(),
        }
    }

    /// The integers that it holds, if it is a scalar or a vector of such.
    pub(super) fn ints(&self) -> Option<&[Size]> {
        match self {
            Self::Ints { shape, items } if shape.len() < 2 => Some(items),
            _ => None,
        }
    }

    /// The numbers that it holds, if all are known.
    pub(super) fn numbers(&self) -> Option<Vec<i64>> {
        self.ints()?.iter().map(Size::number).collect()
    }

    /// The only number that it holds.
    pub(super) fn number(&self) -> Option<i64> {
        match self.numbers()?.as_slice() {
            [number] => Some(*number),
            _ => None,
        }
    }

    /// What holds of both, if anything does: of a tensor that is either of them.
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

/// The sizes of two tensors that are broadcast against each other, both of which are independent of the batch.
pub(super) fn broadcast_fixed(a: &[Size], b: &[Size]) -> Option<Vec<Size>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Size], place: usize| (place + dims.len()).checked_sub(rank).map(|place| dims[place].clone());
    (0..rank)
        .map(|place| match (at(a, place), at(b, place)) {
            (Some(one), Some(other)) if one.is(1) || one == other => Some(other),
            (Some(one), Some(other)) if other.is(1) => Some(one),
            // One of both is 1 or they are equal: which is known where one is another number.
            (Some(one), Some(_)) if one.number().is_some() => Some(one),
            (Some(_), Some(other)) if other.number().is_some() => Some(other),
            (Some(_), Some(_)) => None,
            (one, other) => one.or(other),
        })
        .collect()
}
